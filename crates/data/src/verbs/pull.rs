use super::checkout::checkout_tracked;
use super::push::by_remote;
use super::tracked;
use crate::transfer::{self, Transferred};
use crate::{Error, Progress, Repository, Stage};

/// What `pull` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    pub transferred: Transferred,
    /// Outputs that changed in the workspace.
    pub checked_out: Vec<String>,
}

/// Downloads what the cache lacks, then checks it out.
pub fn pull(
    repository: &Repository,
    stages: &[Stage],
    remote: Option<&str>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let _lock = repository.lock()?;
    let tracked = tracked(repository, stages)?;
    let cache = repository.cache()?;
    let mut transferred = Transferred::default();
    for (remote, contents) in by_remote(&tracked, remote) {
        let mut wanted = Vec::new();
        for content in contents {
            if !cache.missing(&content)?.is_empty() {
                wanted.push(content);
            }
        }
        if !wanted.is_empty() {
            transferred += transfer::pull(&cache, repository.remote(remote)?.as_ref(), &wanted, progress)?;
        }
    }
    let checked_out = checkout_tracked(repository, &tracked, force, progress)?;
    Ok(Pulled { transferred, checked_out })
}
