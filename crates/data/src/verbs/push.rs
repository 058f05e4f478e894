use std::collections::BTreeMap;

use crate::targets::select;
use crate::transfer::{self, Part, Transferred};
use crate::{Error, Progress, Remote, Repository, Stage, Targets, TrackedOutput};

/// What a push, fetch or pull is about. The default is everything, and the default remote.
#[derive(Clone, Debug, Default)]
pub struct Scope<'s> {
    pub targets: Targets,
    pub remote: Option<&'s str>,
    /// At most so many requests at a time.
    pub jobs: Option<usize>,
    /// Also the run cache, as far as the remote can hold one.
    pub run_cache: bool,
    /// Only files and folders smaller than this, in bytes.
    pub max_size: Option<u64>,
    /// Outputs of other commits, which the targets do not narrow.
    pub others: Vec<TrackedOutput>,
}

impl<'s> Scope<'s> {
    /// Everything, and that remote.
    pub fn of_remote(remote: Option<&'s str>) -> Self {
        Self { remote, ..Self::default() }
    }

    /// What is to be transferred, by the remote it goes to (`None`: the default one). An output that
    /// names a remote of its own goes there, and not at all when another one is asked for.
    pub(super) fn parts(
        &self,
        repository: &Repository,
        stages: &[Stage],
    ) -> Result<BTreeMap<Option<String>, Vec<Part>>, Error> {
        let chosen = select(repository, stages, &self.targets)?.into_iter().map(|chosen| (chosen.output, chosen.below));
        let others = self.others.iter().map(|output| (output.clone(), Vec::new()));
        let mut parts: BTreeMap<Option<String>, Vec<Part>> = BTreeMap::new();
        for (output, below) in chosen.chain(others).filter(|(output, _)| output.cached && output.push) {
            let elsewhere =
                self.remote.is_some() && output.remote.as_deref().is_some_and(|own| Some(own) != self.remote);
            let Some(content) = output.content.filter(|_| !elsewhere) else { continue };
            if self.max_size.is_some_and(|most| content.size >= most) {
                continue;
            }
            let remote = output.remote.or_else(|| self.remote.map(str::to_owned));
            parts.entry(remote).or_default().push(Part { content, below });
        }
        Ok(parts)
    }

    pub(super) fn open(&self, repository: &Repository, remote: Option<&str>) -> Result<Box<dyn Remote>, Error> {
        repository.remote_with_jobs(remote, self.jobs)
    }
}

/// Uploads what the remote (the default one without a name) lacks.
pub fn push(
    repository: &Repository,
    stages: &[Stage],
    remote: Option<&str>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    push_scope(repository, stages, &Scope::of_remote(remote), progress)
}

/// As [`push`], of what the scope names.
///
/// # Errors
/// As [`transfer::push`], for the first remote that has one.
pub fn push_scope(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let cache = repository.cache()?;
    let mut sent = Transferred::default();
    if scope.run_cache {
        sent += transfer::push_run_cache(&cache, scope.open(repository, scope.remote)?.as_ref(), progress)?;
    }
    for (remote, parts) in scope.parts(repository, stages)? {
        let remote = scope.open(repository, remote.as_deref())?;
        sent += transfer::push(&cache, remote.as_ref(), &parts, progress)?;
    }
    Ok(sent)
}
