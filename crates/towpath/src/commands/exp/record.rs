//! A run or a workspace becomes an experiment: a commit on top of the one it began from.

use std::path::{Path, PathBuf};

use towpath_core::{Digest, Kind};
use towpath_data::Repository;
use towpath_git::{CommitId, Experiment, Snapshot, WorkTree, experiments};
use towpath_plan::lock::LockedStage;
use towpath_plan::paths;
use towpath_yaml::Value;

use super::names;
use crate::error::Error;
use crate::view::View;
use crate::workspace::lock_file;

/// The beginning of an experiment.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub baseline: CommitId,
    pub name: String,
    /// In place of an experiment of that name.
    pub force: bool,
}

impl Beginning {
    /// # Errors
    /// The name is none, or it is taken and `force` is not given.
    pub fn new(tree: &WorkTree, baseline: CommitId, name: Option<&str>, force: bool) -> Result<Self, Error> {
        let all = tree.experiments()?;
        let is_taken = |name: &str| all.iter().any(|one| one.baseline == baseline && one.name == name);
        let name = match name {
            Some(name) if !experiments::is_valid_name(name) => {
                return Err(Error::invalid(format!("'{name}' cannot be the name of an experiment"))
                    .hint("the rules are those of Git's branches, without '/'"));
            }
            Some(name) if is_taken(name) && !force => return Err(exists(name)),
            Some(name) => name.to_owned(),
            None => names::invented(is_taken),
        };
        Ok(Self { baseline, name, force })
    }

    /// What stages see of it, as DVC tells them.
    pub fn variables(&self, root: &Path) -> Vec<(String, String)> {
        vec![
            ("DVC_EXP_BASELINE_REV".to_owned(), self.baseline.to_string()),
            ("DVC_EXP_NAME".to_owned(), self.name.clone()),
            ("DVC_ROOT".to_owned(), root.display().to_string()),
        ]
    }
}

pub fn exists(name: &str) -> Error {
    Error::new(Kind::Conflict, format!("there is an experiment '{name}' already"))
        .hint("give it another --name, or replace it with --force")
}

/// Where the files of an experiment lie.
pub struct Place<'p> {
    /// The clone that keeps it.
    pub tree: &'p WorkTree,
    /// Its work tree, or a checkout.
    pub files: &'p Path,
    /// The repository in there.
    pub repository: &'p Repository,
}

impl Place<'_> {
    /// Commits what is there. `stages` are those that ran; `also` are files to take though Git does
    /// not track them, relative to the root.
    pub fn record(
        &self,
        beginning: &Beginning,
        stages: &[(String, LockedStage)],
        also: Vec<String>,
        message: Option<&str>,
    ) -> Result<Experiment, Error> {
        let hash = hash(stages);
        let message = message.map_or_else(|| format!("dvc: commit experiment {hash}"), str::to_owned);
        let also = self.seen_from_top(also.into_iter().chain(pipeline_paths(self.repository)?));
        let snapshot = Snapshot { files: self.files, also: &also, replaced: &[] };
        let commit = self.tree.commit_snapshot(&snapshot, &beginning.baseline, &message)?;
        let experiment =
            Experiment { name: beginning.name.clone(), baseline: beginning.baseline.clone(), commit: commit.clone() };
        let reference = experiment.reference();
        let expected = (!beginning.force).then_some(None);
        self.tree.point(&reference, &commit, expected, "experiment").map_err(|error| {
            match self.tree.at_reference(&reference) {
                Ok(Some(_)) => exists(&beginning.name),
                _ => error.into(),
            }
        })?;
        Ok(experiment)
    }

    /// Paths from the top of the clone, as Git has them.
    pub fn seen_from_top(&self, paths: impl IntoIterator<Item = String>) -> Vec<String> {
        let prefix = self.repository.root().strip_prefix(self.files).unwrap_or(Path::new(""));
        let mut paths: Vec<String> =
            paths.into_iter().map(|path| prefix.join(path).to_string_lossy().into_owned()).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

/// The SHA-256 of the lock entries, as Python writes them (dvc, `dict_sha256`).
fn hash(stages: &[(String, LockedStage)]) -> String {
    let entries = Value::Map(stages.iter().map(|(name, entry)| (name.clone(), entry.to_value())).collect());
    Digest::of(entries.to_python_json().as_bytes()).to_string()
}

/// What belongs to the pipelines and goes into Git: pipeline files and locks, `.gitignore`s, what
/// stages read that is no tracked data, outputs without a cache, and what the pipelines list.
fn pipeline_paths(repository: &Repository) -> Result<Vec<String>, Error> {
    let view = View::workspace(repository)?;
    let mut paths: Vec<String> = view.metrics.iter().chain(&view.params).cloned().collect();
    for (file, plots) in &view.plots {
        paths.extend([file.clone(), lock_file(file)]);
        let folder = paths::folder(file);
        for (id, properties) in &plots.declared {
            match properties.get("y") {
                Some(Value::Map(files)) => {
                    paths.extend(files.iter().filter_map(|(written, _)| paths::resolve(folder, written)));
                }
                _ => paths.extend(paths::resolve(folder, id)),
            }
        }
    }
    for stage in &view.pipeline.stages {
        paths.extend(stage.deps.iter().map(|dep| dep.path.clone()));
        paths.extend(stage.params.iter().map(|params| params.file.path.clone()));
    }
    for output in &view.outputs {
        let beside = PathBuf::from(paths::folder(&output.path)).join(".gitignore");
        paths.push(if output.cached { beside.to_string_lossy().into_owned() } else { output.path.clone() });
    }
    let cached: Vec<&str> =
        view.outputs.iter().filter(|output| output.cached).map(|output| output.path.as_str()).collect();
    // A folder that holds tracked data would take it along.
    paths.retain(|path| !path.is_empty() && !cached.iter().any(|output| paths::overlap(path, output)));
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::{Content, HashName};
    use towpath_plan::lock::Locked;

    #[test]
    fn the_hash_of_an_experiment_is_over_its_lock_entries() {
        let content = Content { md5: "0".repeat(32), hash: HashName::Md5, size: 3, nfiles: None, isexec: false };
        let entry = LockedStage {
            cmd: Value::string("x"),
            deps: vec![Locked::new("a", content)],
            params: Vec::new(),
            outs: Vec::new(),
        };
        let text = format!(
            r#"{{"s": {{"cmd": "x", "deps": [{{"hash": "md5", "md5": "{}", "path": "a", "size": 3}}]}}}}"#,
            "0".repeat(32)
        );
        let expected = Digest::of(text.as_bytes()).to_string();
        assert_eq!(hash(&[("s".to_owned(), entry)]), expected);
    }
}
