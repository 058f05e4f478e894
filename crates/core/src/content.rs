//! A version of a file or folder, as DVC identifies it.

use serde::{Deserialize, Serialize};

/// How an MD5 was taken; with it goes where the object lies in caches and remotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashName {
    /// Of the bytes. In DVC's files `hash: md5` stands beside it.
    #[default]
    Md5,
    /// Of DVC 2: `\r\n` of text counts as `\n`. No `hash` stands beside it.
    Md5Dos2unix,
}

impl HashName {
    pub fn is_md5(&self) -> bool {
        *self == Self::Md5
    }
}

/// What `.dvc` files and `dvc.lock` record of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// 32 hex digits, with `.dir` behind for a folder (the MD5 of its manifest).
    pub md5: String,
    #[serde(default, skip_serializing_if = "HashName::is_md5")]
    pub hash: HashName,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_written_before_hashes_had_names_is_md5() {
        let json = r#"{"md5":"60b725f10c9c85c70d97880dfe8191b3","size":2,"nfiles":null,"isexec":false}"#;
        let content: Content = serde_json::from_str(json).unwrap();
        assert_eq!(content.hash, HashName::Md5);
        assert_eq!(serde_json::to_string(&content).unwrap(), json);
        let old = Content { hash: HashName::Md5Dos2unix, ..content };
        assert!(serde_json::to_string(&old).unwrap().contains(r#""hash":"md5-dos2unix""#));
    }
}
