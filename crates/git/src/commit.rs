//! Commits made without a work tree.

use towpath_core::Timestamp;

use crate::id::{checked_path, checked_reference};
use crate::{CommitId, Error, Repository};

/// Author and committer of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub email: String,
    pub at: Timestamp,
}

/// A file that a commit adds or replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// Relative to the root of the repository.
    pub path: String,
    pub bytes: Vec<u8>,
}

impl Repository {
    /// Commits `files` on top of `parent`, or as a history of their own, and points `reference` (a full name, below `refs/`) at
    /// the result, wherever it pointed before. The same arguments give the same commit, so it may
    /// be repeated after a crash. One process: `git fast-import`.
    pub fn commit_files(
        &self,
        reference: &str,
        parent: Option<&CommitId>,
        files: &[FileContent],
        message: &str,
        author: &Signature,
    ) -> Result<CommitId, Error> {
        if !checked_reference(reference)?.starts_with("refs/") {
            return Err(Error::InvalidReference(reference.to_owned()));
        }
        let name: String = author.name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
        let email: String = author.email.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>' | ' ')).collect();
        let from = parent.map(|parent| format!("from {parent}\n")).unwrap_or_default();
        let seconds = author.at.millis().div_euclid(1000);
        let mut stream = format!(
            "commit {reference}\nmark :1\nauthor {name} <{email}> {seconds} +0000\n\
             committer {name} <{email}> {seconds} +0000\ndata {}\n{message}\n{from}",
            message.len()
        )
        .into_bytes();
        for file in files {
            let path = checked_path(&file.path)?.replace('"', "\\\"");
            stream.extend(format!("M 100644 inline \"{path}\"\ndata {}\n", file.bytes.len()).into_bytes());
            stream.extend_from_slice(&file.bytes);
            stream.push(b'\n');
        }
        stream.extend_from_slice(b"\nget-mark :1\ndone\n");
        self.git("fast-import").args(["--quiet", "--force", "--done"]).stdin(stream).text()?.parse()
    }
}
