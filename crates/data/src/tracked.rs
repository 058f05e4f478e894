//! What data versioning looks after, wherever it was declared.

use towpath_core::Content;

use crate::imports::Import;
use crate::versions::Versions;

/// What DVC calls a stage: a `.dvc` file, or an entry of `stages` of a `dvc.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The `.dvc` file or the `dvc.yaml`, relative to the repository's root.
    pub file: String,
    /// Its name in the `dvc.yaml`.
    pub name: Option<String>,
    /// Files and folders of the repository that it reads, relative to the root.
    pub deps: Vec<String>,
    pub outputs: Vec<TrackedOutput>,
}

/// What an output is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Data,
    Metric,
    Plot,
}

/// A file or folder of the workspace with the version that a `.dvc` file or `dvc.lock` records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedOutput {
    /// Relative to the repository's root, `/`-separated.
    pub path: String,
    /// As the `.dvc` file or `dvc.lock` has it.
    pub written: String,
    /// `None`: declared and never produced or added.
    pub content: Option<Content>,
    /// False for `cache: false`: it stays in Git and is neither pushed nor checked out.
    pub cached: bool,
    /// False for `push: false`.
    pub push: bool,
    /// The only remote it goes to; `None`: whichever is asked for.
    pub remote: Option<String>,
    pub role: Role,
    /// What `version_aware` remotes call this version.
    pub versions: Option<Versions>,
    /// Where it comes from, of an import.
    pub import: Option<Import>,
    /// The `.dvc` file (relative to the root), or the stage: `train`, `sub/dvc.yaml:train`.
    pub declared_by: String,
}

impl TrackedOutput {
    /// Where its data is kept, if that is neither a cache nor a remote of this repository.
    pub(crate) fn kept_by(&self) -> Option<&Import> {
        self.import.as_ref().filter(|import| import.keeps_data(self.content.as_ref()))
    }
}
