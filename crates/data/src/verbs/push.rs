use std::collections::BTreeMap;

use towpath_core::Content;

use crate::config::RemoteConfig;
use crate::imports::Repositories;
use crate::pointer::PointerFile;
use crate::targets::select;
use crate::transfer::{self, Part, Recorded, Transferred, VersionedRemote};
use crate::{Error, Progress, Remote, Repository, Role, Selection, Stage, Targets, TrackedOutput, files, versions};

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
    /// Only outputs with one of these roles; none: all.
    pub roles: Vec<Role>,
    /// Outputs of other commits, which the targets do not narrow.
    pub others: Vec<TrackedOutput>,
    /// Opens the repositories that imports come from.
    pub repositories: Option<&'s dyn Repositories>,
}

impl<'s> Scope<'s> {
    /// Everything, and that remote.
    pub fn of_remote(remote: Option<&'s str>) -> Self {
        Self { remote, ..Self::default() }
    }

    /// What is to be transferred, by the remote it goes to (`None`: the default one). An output that
    /// names a remote of its own goes there, and not at all when another one is asked for.
    pub(super) fn chosen(
        &self,
        repository: &Repository,
        stages: &[Stage],
    ) -> Result<BTreeMap<Option<String>, Vec<Selection>>, Error> {
        let selections = self.selected(repository, stages)?;
        Ok(self.by_remote(selections.into_iter().filter(|s| s.output.kept_by().is_none() && s.output.push)))
    }

    /// By the remote that holds them or would.
    pub(super) fn by_remote(
        &self,
        selections: impl IntoIterator<Item = Selection>,
    ) -> BTreeMap<Option<String>, Vec<Selection>> {
        let mut by_remote: BTreeMap<Option<String>, Vec<Selection>> = BTreeMap::new();
        for selection in selections {
            let output = &selection.output;
            let elsewhere =
                self.remote.is_some() && output.remote.as_deref().is_some_and(|own| Some(own) != self.remote);
            if output.content.is_none() || elsewhere {
                continue;
            }
            let remote = output.remote.clone().or_else(|| self.remote.map(str::to_owned));
            by_remote.entry(remote).or_default().push(selection);
        }
        by_remote
    }

    /// Outputs that the targets and other options name and the cache holds, wherever they come from.
    pub(super) fn selected(&self, repository: &Repository, stages: &[Stage]) -> Result<Vec<Selection>, Error> {
        let chosen = select(repository, stages, &self.targets)?;
        let others = self.others.iter().map(|output| Selection { output: output.clone(), below: Vec::new() });
        let is_meant = |output: &TrackedOutput| {
            let size = output.content.as_ref().map_or(0, |content| content.size);
            output.cached
                && self.max_size.is_none_or(|most| size < most)
                && (self.roles.is_empty() || self.roles.contains(&output.role))
        };
        Ok(chosen.into_iter().chain(others).filter(|selection| is_meant(&selection.output)).collect())
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
    for (remote, selections) in scope.chosen(repository, stages)? {
        let config = repository.config().remote(remote.as_deref())?;
        if config.is_version_aware() {
            sent += push_to_version_aware(repository, &config, scope.jobs, &selections, progress)?;
        } else {
            let remote = scope.open(repository, remote.as_deref())?;
            sent += transfer::push(&cache, remote.as_ref(), &parts(selections), progress)?;
        }
    }
    sent += push_imports(repository, stages, scope, progress)?;
    Ok(sent)
}

/// A Towpath server gets imports, too, as far as they are here: its stages read them, and it asks no other
/// repository for data.
fn push_imports(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let cache = repository.cache()?;
    let mut sent = Transferred::default();
    let mut imports = scope.selected(repository, stages)?;
    imports.retain(|selection| selection.output.kept_by().is_some());
    for (remote, mut selections) in scope.by_remote(imports) {
        let Ok(config) = repository.config().remote(remote.as_deref()) else { continue };
        let is_here = |content: &Content| cache.missing(content).is_ok_and(|missing| missing.is_empty());
        selections.retain(|selection| selection.output.content.as_ref().is_some_and(is_here));
        if selections.is_empty() || config.is_version_aware() {
            continue;
        }
        let remote = scope.open(repository, remote.as_deref())?;
        if remote.batch()?.is_some() {
            sent += transfer::push(&cache, remote.as_ref(), &parts(selections), progress)?;
        }
    }
    Ok(sent)
}

/// What is moved of outputs that lie under their hashes.
pub(super) fn parts(selections: Vec<Selection>) -> Vec<Part> {
    let part = |Selection { output, below }: Selection| Some(Part { content: output.content?, below });
    selections.into_iter().filter_map(part).collect()
}

/// Pushes, and writes the versions that the store gave into the `.dvc` files and `dvc.lock`s.
fn push_to_version_aware(
    repository: &Repository,
    config: &RemoteConfig,
    jobs: Option<usize>,
    selections: &[Selection],
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let _lock = repository.lock()?;
    let remote = repository.open_remote(config.clone(), jobs)?;
    let to = VersionedRemote { name: &config.name, remote: remote.as_ref(), is_worktree: config.is_worktree() };
    let (sent, recorded) = transfer::push_versions(&repository.cache()?, &to, selections, progress)?;
    for Recorded { written, declared_by, versions } in recorded {
        let (file, text) = if declared_by.ends_with(".dvc") {
            let Some(pointer) = PointerFile::read(repository.root(), &declared_by)? else { continue };
            let text = pointer.with_versions(&written, &versions)?;
            (declared_by, text)
        } else {
            let (pipeline, stage) = declared_by.rsplit_once(':').unwrap_or(("dvc.yaml", &declared_by));
            let file = format!("{}lock", pipeline.strip_suffix("yaml").unwrap_or(pipeline));
            let Some(text) = files::read_text(&repository.root().join(&file))? else { continue };
            let text = versions::with_lock(&file, &text, (stage, &written), &versions)?;
            (file, text)
        };
        files::write_atomically(&repository.root().join(&file), text.as_bytes())?;
    }
    Ok(sent)
}
