//! Pipelines, and what the files that they declare hold: in the workspace, or at a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use towpath_data::manifest::Manifest;
use towpath_data::pointer::PointerFile;
use towpath_data::{Cache, Oid, Repository, TrackedOutput};
use towpath_git::{CommitId, CommittedFile, WorkTree};
use towpath_pipeline::engine;
use towpath_plan::frontend::dvc_yaml::plots::{self, Plots};
use towpath_plan::frontend::dvc_yaml::{self, Sources};
use towpath_plan::lock::{Lock, LockedStage};
use towpath_plan::paths;
use towpath_plan::pipeline::{Pipeline, Stage};
use towpath_yaml::Value;

use crate::error::Error;
use crate::workspace::{PIPELINE_FILE, arguments, declared, lock_file, read, text_at};

/// The name that DVC gives to what is not committed.
pub const WORKSPACE: &str = "workspace";

/// Larger files are no metrics, parameters or plots.
const LIMIT: u64 = 64 << 20;

pub struct View {
    root: PathBuf,
    cache: Cache,
    pub pipeline: Pipeline,
    /// Files that the top-level `metrics` and `params` of pipeline files name, relative to the root.
    pub metrics: Vec<String>,
    pub params: Vec<String>,
    /// By pipeline file.
    pub plots: Vec<(String, Plots)>,
    /// Of pipelines and `.dvc` files, at the versions that are recorded.
    pub outputs: Vec<TrackedOutput>,
    locks: BTreeMap<String, Lock>,
    commit: Option<Commit>,
}

struct Commit {
    tree: WorkTree,
    id: CommitId,
    /// From the top of the clone to the root of the repository.
    prefix: PathBuf,
    files: Vec<CommittedFile>,
}

impl View {
    /// Of `workspace`, or of a commit.
    pub fn of(repository: &Repository, revision: &str) -> Result<Self, Error> {
        if revision == WORKSPACE { Self::workspace(repository) } else { Self::at(repository, revision) }
    }

    pub fn workspace(repository: &Repository) -> Result<Self, Error> {
        let mut pipelines = Vec::new();
        for file in Repository::pipeline_files(repository.root())? {
            pipelines.extend(engine::read_pipeline(repository, &file)?);
        }
        Self::with_files(repository, pipelines, &repository.pointers()?, None)
    }

    pub fn at(repository: &Repository, revision: &str) -> Result<Self, Error> {
        let tree = WorkTree::discover(repository.root())?;
        let id = commit_of(&tree, revision)?;
        Self::at_commit(repository, tree, id)
    }

    pub fn at_commit(repository: &Repository, tree: WorkTree, id: CommitId) -> Result<Self, Error> {
        let prefix = repository.root().strip_prefix(tree.root()).unwrap_or(Path::new("")).to_owned();
        let files = tree.files(&id)?;
        let commit = Commit { tree, id, prefix, files };
        let read = |path: &str| commit.text(path);
        let sources = Sources { read: &read, arguments: arguments(repository) };
        let mut pipelines = Vec::new();
        let mut pointers = Vec::new();
        for file in &commit.files {
            let Some(path) = Path::new(&file.path).strip_prefix(&commit.prefix).ok().and_then(Path::to_str) else {
                continue;
            };
            let is_pipeline = path == PIPELINE_FILE || path.ends_with("/dvc.yaml");
            if !is_pipeline && Path::new(path).extension().is_none_or(|extension| extension != "dvc") {
                continue;
            }
            let text = read(path).map_err(Error::io("read", Path::new(path)))?.unwrap_or_default();
            if is_pipeline {
                pipelines.push(dvc_yaml::read(path, &text, &sources)?);
            } else {
                pointers.push(PointerFile::parse(path, text)?);
            }
        }
        Self::with_files(repository, pipelines, &pointers, Some(commit))
    }

    fn with_files(
        repository: &Repository,
        pipelines: Vec<Pipeline>,
        pointers: &[PointerFile],
        commit: Option<Commit>,
    ) -> Result<Self, Error> {
        let mut view = Self {
            root: repository.root().to_owned(),
            cache: repository.cache()?,
            pipeline: Pipeline::default(),
            metrics: Vec::new(),
            params: Vec::new(),
            plots: Vec::new(),
            outputs: Vec::new(),
            locks: BTreeMap::new(),
            commit,
        };
        for pipeline in &pipelines {
            let file = &pipeline.file;
            let text = view.file(file)?.unwrap_or_default();
            view.metrics.extend(listed(file, &text, "metrics")?);
            view.params.extend(listed(file, &text, "params")?);
            let read = |path: &str| view.file(path).map_err(|error| io::Error::other(error.message));
            let plots = plots::read(file, &text, &Sources { read: &read, arguments: arguments(repository) })?;
            view.plots.push((file.clone(), plots));
            let lock_path = lock_file(file);
            let text = view.file(&lock_path)?.unwrap_or_default();
            view.outputs.extend(declared(pipeline, &text)?.into_iter().flat_map(|stage| stage.outputs));
            let lock = Lock::read(&lock_path, &text)?;
            view.locks.insert(lock_path, lock);
        }
        for pointer in pointers {
            view.outputs.extend(pointer.tracked()?);
        }
        view.pipeline = Pipeline::joined(PIPELINE_FILE, pipelines);
        Ok(view)
    }

    /// What `dvc.lock` records of a stage.
    pub fn locked(&self, stage: &Stage) -> Option<&LockedStage> {
        self.locks.get(&stage.lock_file())?.get(&stage.entry)
    }

    /// The text of a file of the repository, as Git has it or as it lies there.
    fn file(&self, path: &str) -> Result<Option<String>, Error> {
        match &self.commit {
            None => read(&self.root.join(path)),
            Some(commit) => commit.text(path).map_err(Error::io("read", Path::new(path))),
        }
    }

    /// The text of a file, out of the cache if it is an output that is not there.
    pub fn text(&self, path: &str) -> Result<Option<String>, Error> {
        Ok(self.bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The content of a file, out of the cache if it is, or lies in, an output that is not there.
    pub fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let there = match &self.commit {
            None => match fs::read(self.root.join(path)) {
                Ok(bytes) => Some(bytes),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
                Err(error) => return Err(Error::io("read", Path::new(path))(error)),
            },
            Some(commit) => commit.tree.file(&commit.id, &commit.prefix.join(path).to_string_lossy())?,
        };
        if there.is_some() {
            return Ok(there);
        }
        let Some(oid) = self.object_of(path)? else { return Ok(None) };
        let Some((file, size)) = self.cache.open_object(&oid)? else { return Ok(None) };
        if size > LIMIT {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes).map_err(Error::io("read", Path::new(path)))?;
        Ok(Some(bytes))
    }

    /// The object of a file that is, or lies in, an output.
    fn object_of(&self, path: &str) -> Result<Option<Oid>, Error> {
        let Some(output) = self.outputs.iter().find(|output| paths::is_within(path, &output.path)) else {
            return Ok(None);
        };
        let Some(content) = &output.content else { return Ok(None) };
        if output.path == path {
            return Ok(Some(Oid::of(content)?).filter(|oid| !oid.is_dir()));
        }
        let Some(manifest) = self.manifest_of(output)? else { return Ok(None) };
        Ok(manifest.entry(&path[output.path.len() + 1..]).map(|entry| entry.oid.clone()))
    }

    fn manifest_of(&self, output: &TrackedOutput) -> Result<Option<Manifest>, Error> {
        let Some(content) = &output.content else { return Ok(None) };
        let oid = Oid::of(content)?;
        if oid.is_dir() { Ok(self.cache.manifest(&oid)?) } else { Ok(None) }
    }

    /// The files in a folder, sorted; nothing if it is no folder.
    pub fn files_in(&self, folder: &str) -> Result<Option<Vec<String>>, Error> {
        let mut found = BTreeSet::new();
        match &self.commit {
            None => files_below(&self.root, &self.root.join(folder), &mut found)?,
            Some(commit) => {
                let below = commit.files.iter().filter_map(|file| {
                    let path = Path::new(&file.path).strip_prefix(&commit.prefix).ok()?.to_str()?;
                    (path != folder && paths::is_within(path, folder)).then(|| path.to_owned())
                });
                found.extend(below);
            }
        }
        for output in &self.outputs {
            if output.path != folder && paths::is_within(&output.path, folder) {
                match self.manifest_of(output)? {
                    Some(manifest) => found.extend(manifest.entries().iter().map(|e| join(&output.path, &e.relpath))),
                    None => drop(found.insert(output.path.clone())),
                }
            } else if paths::is_within(folder, &output.path)
                && let Some(manifest) = self.manifest_of(output)?
            {
                let inside = folder[output.path.len()..].trim_start_matches('/');
                let below = if inside.is_empty() { manifest } else { manifest.below(inside) };
                let entries = below.entries().iter().filter(|entry| !entry.relpath.is_empty());
                found.extend(entries.map(|entry| join(folder, &entry.relpath)));
            }
        }
        Ok((!found.is_empty()).then(|| found.into_iter().collect()))
    }
}

/// The commit that an expression of Git, or the name of an experiment, stands for.
pub fn commit_of(tree: &WorkTree, revision: &str) -> Result<CommitId, Error> {
    match tree.resolve_expression(revision) {
        Err(towpath_git::Error::NoSuchCommit(_)) => {
            let named = tree.experiments()?.into_iter().find(|one| one.name == revision);
            let named = named.map(|experiment| experiment.commit);
            named.ok_or_else(|| Error::not_found(format!("there is no commit or experiment '{revision}'")))
        }
        other => Ok(other?),
    }
}

impl Commit {
    fn text(&self, path: &str) -> io::Result<Option<String>> {
        text_at(&self.tree, &self.id, &self.prefix.join(path))
    }
}

fn join(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}

/// The files below a folder, relative to the root; none if it is no folder.
fn files_below(root: &Path, folder: &Path, found: &mut BTreeSet<String>) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_dir() {
            files_below(root, &path, found)?;
        } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            found.insert(path.to_owned());
        }
    }
    Ok(())
}

/// The files of a top-level list of a pipeline file.
fn listed(file: &str, text: &str, key: &str) -> Result<Vec<String>, Error> {
    let root = towpath_yaml::parse(file, text)?.root().to_value();
    let Some(Value::Seq(items)) = root.get(key) else { return Ok(Vec::new()) };
    let path = |item: &Value| match item {
        Value::String(written) => paths::resolve(paths::folder(file), written),
        _ => None,
    };
    Ok(items.iter().filter_map(path).collect())
}
