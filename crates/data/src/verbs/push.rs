use std::collections::BTreeMap;

use towpath_core::Content;

use super::tracked;
use crate::transfer::{self, Transferred};
use crate::{Error, Progress, Repository, Stage, TrackedOutput};

/// Uploads what the remote (the default one without a name) lacks. Outputs that name a remote of
/// their own go there.
pub fn push(
    repository: &Repository,
    stages: &[Stage],
    remote: Option<&str>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let cache = repository.cache()?;
    let mut sent = Transferred::default();
    for (remote, contents) in by_remote(&tracked(repository, stages)?, remote) {
        sent += transfer::push(&cache, repository.remote(remote)?.as_ref(), &contents, progress)?;
    }
    Ok(sent)
}

/// What is to be transferred, by the remote it goes to (`None`: the default one).
pub(super) fn by_remote<'t>(
    tracked: &'t [TrackedOutput],
    asked: Option<&'t str>,
) -> BTreeMap<Option<&'t str>, Vec<Content>> {
    let mut groups: BTreeMap<Option<&str>, Vec<Content>> = BTreeMap::new();
    for output in tracked.iter().filter(|output| output.cached && output.push) {
        if let Some(content) = &output.content {
            groups.entry(output.remote.as_deref().or(asked)).or_default().push(content.clone());
        }
    }
    groups
}
