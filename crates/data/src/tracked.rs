//! An output that data versioning looks after, wherever it was declared.

use towpath_core::Content;

/// A file or folder of the workspace with the version that a `.dvc` file or `dvc.lock` records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedOutput {
    /// Relative to the repository's root, `/`-separated.
    pub path: String,
    /// `None`: declared and never produced or added.
    pub content: Option<Content>,
    /// False for `cache: false`: it stays in Git and is neither pushed nor checked out.
    pub cached: bool,
    /// False for `push: false`.
    pub push: bool,
    /// The only remote it goes to; `None`: whichever is asked for.
    pub remote: Option<String>,
    /// The `.dvc` file (relative to the root) or the name of the stage.
    pub declared_by: String,
}
