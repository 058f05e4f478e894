//! Pipelines, and what the files that they declare hold: in the workspace, or at a commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use towpath_core::Content;
use towpath_data::{Cache, Oid, Repository};
use towpath_git::{CommitId, WorkTree};
use towpath_pipeline::engine;
use towpath_plan::frontend::dvc_yaml::{self, Sources};
use towpath_plan::lock::Lock;
use towpath_plan::paths;
use towpath_plan::pipeline::Pipeline;
use towpath_yaml::Value;

use crate::error::Error;
use crate::workspace::{PIPELINE_FILE, arguments, lock_file, read, text_at};

/// The name that DVC gives to what is not committed.
pub const WORKSPACE: &str = "workspace";

/// Larger files are no metrics or parameters.
const LIMIT: u64 = 64 << 20;

pub struct View {
    root: PathBuf,
    cache: Cache,
    pub pipeline: Pipeline,
    /// Files that the top-level `metrics` and `params` of pipeline files name, relative to the root.
    pub metrics: Vec<String>,
    pub params: Vec<String>,
    locks: BTreeMap<String, Lock>,
    commit: Option<Commit>,
}

struct Commit {
    tree: WorkTree,
    id: CommitId,
    /// From the top of the clone to the root of the repository.
    prefix: PathBuf,
}

impl View {
    /// Of `workspace`, or of a commit.
    pub fn of(repository: &Repository, revision: &str) -> Result<Self, Error> {
        if revision == WORKSPACE { Self::workspace(repository) } else { Self::at(repository, revision) }
    }

    pub fn workspace(repository: &Repository) -> Result<Self, Error> {
        let pipeline = engine::read_pipelines(repository)?;
        Self::with_files(repository, pipeline, &Repository::pipeline_files(repository.root())?, None)
    }

    pub fn at(repository: &Repository, revision: &str) -> Result<Self, Error> {
        let tree = WorkTree::discover(repository.root())?;
        let id = tree.resolve(revision)?;
        let prefix = repository.root().strip_prefix(tree.root()).unwrap_or(Path::new("")).to_owned();
        let read = |path: &str| text_at(&tree, &id, &prefix.join(path));
        let sources = Sources { read: &read, arguments: arguments(repository) };
        let mut pipelines = Vec::new();
        let mut files = Vec::new();
        for file in tree.files(&id)? {
            let Some(path) = Path::new(&file.path).strip_prefix(&prefix).ok().and_then(Path::to_str) else { continue };
            if path == PIPELINE_FILE || path.ends_with("/dvc.yaml") {
                let text = read(path).map_err(Error::io("read", Path::new(path)))?.unwrap_or_default();
                pipelines.push(dvc_yaml::read(path, &text, &sources)?);
                files.push(path.to_owned());
            }
        }
        let pipeline = Pipeline::joined(PIPELINE_FILE, pipelines);
        Self::with_files(repository, pipeline, &files, Some(Commit { tree, id, prefix }))
    }

    fn with_files(
        repository: &Repository,
        pipeline: Pipeline,
        files: &[String],
        commit: Option<Commit>,
    ) -> Result<Self, Error> {
        let root = repository.root().to_owned();
        let mut view = Self {
            root,
            cache: repository.cache()?,
            pipeline,
            metrics: Vec::new(),
            params: Vec::new(),
            locks: BTreeMap::new(),
            commit,
        };
        for file in files {
            let text = view.file(file)?.unwrap_or_default();
            view.metrics.extend(listed(file, &text, "metrics")?);
            view.params.extend(listed(file, &text, "params")?);
            let file = lock_file(file);
            let text = view.file(&file)?.unwrap_or_default();
            let lock = Lock::read(&file, &text)?;
            view.locks.insert(file, lock);
        }
        Ok(view)
    }

    /// The text of a file of the repository, as Git has it or as it lies there.
    fn file(&self, path: &str) -> Result<Option<String>, Error> {
        match &self.commit {
            None => read(&self.root.join(path)),
            Some(commit) => {
                text_at(&commit.tree, &commit.id, &commit.prefix.join(path)).map_err(Error::io("read", Path::new(path)))
            }
        }
    }

    /// The text of a file, out of the cache if it is an output that is not there.
    pub fn text(&self, path: &str) -> Result<Option<String>, Error> {
        if let Some(text) = self.file(path)? {
            return Ok(Some(text));
        }
        let Some(content) = self.recorded(path).filter(|content| content.size <= LIMIT) else { return Ok(None) };
        let Some((file, _)) = self.cache.open_object(&Oid::of(content)?)? else { return Ok(None) };
        std::io::read_to_string(file).map(Some).map_err(Error::io("read", Path::new(path)))
    }

    fn recorded(&self, path: &str) -> Option<&Content> {
        self.pipeline.stages.iter().find_map(|stage| {
            let out = stage.output(path)?;
            Some(&self.locks.get(&lock_file(&stage.file))?.get(&stage.entry)?.out(&out.at.written)?.content)
        })
    }
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
