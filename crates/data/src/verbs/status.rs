use crate::status::{self, OutputStatus};
use crate::targets::{Targets, select};
use crate::{Error, Repository, Stage, TrackedOutput};

/// What differs from what is recorded, of the outputs that the targets name.
pub fn status(repository: &Repository, stages: &[Stage], targets: &Targets) -> Result<Vec<OutputStatus>, Error> {
    let selected = select(repository, stages, targets)?;
    let outputs: Vec<TrackedOutput> = selected.into_iter().map(|selection| selection.output).collect();
    let workspace = repository.workspace()?;
    let differing = status::status(&repository.cache()?, &workspace, &outputs)?;
    workspace.save()?;
    Ok(differing)
}
