use super::tracked;
use crate::status::{self, OutputStatus};
use crate::{Error, Repository, Stage};

/// What differs from what is recorded.
pub fn status(repository: &Repository, stages: &[Stage]) -> Result<Vec<OutputStatus>, Error> {
    let tracked = tracked(repository, stages)?;
    let workspace = repository.workspace()?;
    let differing = status::status(&repository.cache()?, &workspace, &tracked)?;
    workspace.save()?;
    Ok(differing)
}
