//! A version of a file or folder, as DVC identifies it.

use serde::{Deserialize, Serialize};

/// What `.dvc` files and `dvc.lock` record of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// 32 hex digits, with `.dir` behind for a folder (the MD5 of its manifest).
    pub md5: String,
    /// Bytes; of a folder, of all its files.
    pub size: u64,
    /// Folders only.
    pub nfiles: Option<u64>,
    pub isexec: bool,
}

impl Content {
    pub fn is_dir(&self) -> bool {
        self.md5.ends_with(".dir")
    }
}
