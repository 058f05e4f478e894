//! A pipeline as every front end delivers it.

use towpath_core::project::Confinement;
use towpath_yaml::{Span, Value};

/// The stages of one pipeline file, in the order of the file, or of several ([`Pipeline::joined`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipeline {
    /// The file, relative to the root of the repository: `dvc.yaml`.
    pub file: String,
    pub stages: Vec<Stage>,
}

impl Pipeline {
    /// The stages of several files as one pipeline: those of `root` keep their names, the others are
    /// called `file:name`, as DVC addresses them.
    pub fn joined(root: &str, pipelines: impl IntoIterator<Item = Self>) -> Self {
        let mut joined = Self { file: root.to_owned(), stages: Vec::new() };
        for pipeline in pipelines {
            joined.stages.extend(pipeline.stages.into_iter().map(|stage| {
                let name = if stage.file == root { stage.name } else { format!("{}:{}", stage.file, stage.name) };
                Stage { name, ..stage }
            }));
        }
        joined
    }

    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|s| s.name == name)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Unique in its pipeline. In one joined from several files, stages of another file than the
    /// root's carry it: `train/dvc.yaml:fit`.
    pub name: String,
    /// The name in its file: the key of its entry in the lock.
    pub entry: String,
    /// The pipeline file, relative to the root.
    pub file: String,
    /// What the lock records: text, or a list of texts.
    pub cmd: Value,
    /// The shell lines, each run in a shell of its own.
    pub commands: Vec<String>,
    /// The folder the commands run in, relative to the root; `""` is the root.
    pub wdir: String,
    pub deps: Vec<RepoPath>,
    pub params: Vec<ParamsOf>,
    pub outs: Vec<Output>,
    /// Its commands are never run.
    pub frozen: bool,
    /// Runs every time.
    pub always_changed: bool,
    pub desc: Option<String>,
    /// Free values, which DVC does not look at.
    pub meta: Option<Value>,
    /// Its commands run once for each item of a dependency.
    pub datums: Option<Datums>,
    /// How its processes are confined, where its `meta` says it.
    pub confinement: Option<Confinement>,
    /// Where the stage stands in the file.
    pub position: Span,
}

impl Stage {
    /// No dependency and no output: runs every time.
    pub fn is_callback(&self) -> bool {
        self.deps.is_empty() && self.params.is_empty() && self.outs.is_empty()
    }

    /// The command as one text, lines joined.
    pub fn command(&self) -> String {
        self.commands.join("\n")
    }

    /// The lock beside its pipeline file, relative to the root: `train/dvc.lock`.
    pub fn lock_file(&self) -> String {
        format!("{}lock", self.file.strip_suffix("yaml").unwrap_or(&self.file))
    }

    pub fn output(&self, path: &str) -> Option<&Output> {
        self.outs.iter().find(|o| o.at.path == path)
    }
}

/// `meta: {towpath: {datum: {...}}}`: which items of a dependency are worked on one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datums {
    /// A dependency: a folder, or a list (`.json`, `.jsonl`, `.csv`, `.txt`).
    pub over: RepoPath,
    /// Of a folder: what is one item, a pattern for paths below it.
    pub glob: String,
    /// How many run at a time; `None` is one for each core.
    pub jobs: Option<usize>,
}

/// A file or folder of the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath {
    /// Relative to the root, normalised.
    pub path: String,
    /// Relative to the stage's working folder: what the lock and the run cache record.
    pub written: String,
}

/// Parameters that a stage reads from one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsOf {
    pub file: RepoPath,
    /// Dotted keys in the order of the pipeline file; `None` is the whole file.
    pub keys: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub at: RepoPath,
    pub kind: OutputKind,
    /// Kept in the cache; otherwise Git tracks it.
    pub cache: bool,
    /// Not deleted before the stage runs.
    pub persist: bool,
    /// Pushed to the remote.
    pub push: bool,
    /// The remote this output goes to, if not the default.
    pub remote: Option<String>,
    pub desc: Option<String>,
    pub labels: Vec<String>,
    pub meta: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    Out,
    Metric,
    Plot,
}
