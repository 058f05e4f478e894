use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::push::{Scope, parts};
use crate::targets::select;
use crate::transfer::{absent, pull_objects};
use crate::{Error, Oid, Progress, Repository, Stage};

/// How cache and remote differ about one file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloudChange {
    /// In the cache only.
    New,
    /// On the remote only.
    Deleted,
    /// In neither.
    Missing,
}

impl fmt::Display for CloudChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Deleted => "deleted",
            Self::Missing => "missing",
        })
    }
}

/// What `dvc status --cloud` tells: by path, tracked folders and files inside them. A folder whose
/// manifest the remote has is there as a whole. Manifests that only the remote has are fetched.
pub fn cloud_status(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, CloudChange>, Error> {
    let cache = repository.cache()?;
    let mut changes = BTreeMap::new();
    for (name, selections) in scope.chosen(repository, stages)? {
        let parts = parts(selections);
        let remote = scope.open(repository, name.as_deref())?;
        let roots = parts.iter().map(|part| Oid::of(&part.content)).collect::<Result<BTreeSet<_>, _>>()?;
        let absent_roots = absent(remote.as_ref(), roots.clone(), progress)?;
        let manifests = roots.into_iter().filter(|oid| oid.is_dir() && !absent_roots.contains(oid)).collect();
        pull_objects(&cache, remote.as_ref(), manifests, progress)?;
        let mut files: Vec<(String, Oid)> = Vec::new();
        let mut sure = BTreeSet::new();
        for chosen in select(repository, stages, &scope.targets)? {
            let output = &chosen.output;
            let is_pushed = output.cached && output.push && output.kept_by().is_none();
            let Some(content) = output.content.as_ref().filter(|_| is_pushed) else { continue };
            let own = output.remote.as_deref().or(scope.remote);
            if own != name.as_deref() {
                continue;
            }
            let oid = Oid::of(content)?;
            if oid.is_dir()
                && let Some(manifest) = cache.manifest(&oid)?
            {
                for entry in manifest.entries().iter().filter(|entry| chosen.includes(&entry.relpath)) {
                    files.push((format!("{}/{}", output.path, entry.relpath), entry.oid.clone()));
                    if !absent_roots.contains(&oid) {
                        sure.insert(entry.oid.clone());
                    }
                }
            }
            files.push((output.path.clone(), oid));
        }
        let asked = files.iter().map(|(_, oid)| oid).filter(|oid| !sure.contains(oid)).cloned().collect();
        let gone = absent(remote.as_ref(), asked, progress)?;
        for (path, oid) in files {
            match (cache.has(&oid)?, !gone.contains(&oid)) {
                (true, true) => continue,
                (true, false) => changes.insert(path, CloudChange::New),
                (false, true) => changes.insert(path, CloudChange::Deleted),
                (false, false) => changes.insert(path, CloudChange::Missing),
            };
        }
    }
    Ok(changes)
}
