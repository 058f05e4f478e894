//! What changed between two commits.

use crate::id::checked_path;
use crate::{CommitId, Error, Repository};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    Added,
    Modified,
    Deleted,
    /// For example from a file to a symbolic link.
    TypeChanged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    pub path: String,
    pub status: FileStatus,
    /// Lines; `None` for binary files.
    pub added: Option<u64>,
    pub removed: Option<u64>,
}

/// A unified diff, cut at the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    pub text: String,
    pub truncated: bool,
}

/// The tree without files: what the first commit is compared with.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

impl Repository {
    /// The files that differ, by path; a rename is a deletion and an addition.
    pub fn changed_files(&self, old: Option<&CommitId>, new: &CommitId) -> Result<Vec<FileChange>, Error> {
        let old = old.map_or(EMPTY_TREE, CommitId::as_str);
        let bytes = self
            .git("diff-tree")
            .args(["-r", "-z", "--raw", "--numstat", "--no-renames", old, new.as_str()])
            .bytes()?;
        parse(&String::from_utf8_lossy(&bytes))
    }

    /// The change as text, at most `limit` bytes, of the given paths or (empty) of all.
    pub fn diff(&self, old: Option<&CommitId>, new: &CommitId, paths: &[&str], limit: usize) -> Result<Diff, Error> {
        let old = old.map_or(EMPTY_TREE, CommitId::as_str);
        let mut git = self.git("diff-tree").args([
            "-r",
            "-p",
            "--no-color",
            "--no-ext-diff",
            "--no-renames",
            old,
            new.as_str(),
            "--",
        ]);
        for path in paths {
            git = git.arg(format!(":(literal){}", checked_path(path)?));
        }
        let output = git.limit(limit).run()?;
        if output.code != Some(0) && !output.truncated {
            return Err(Error::Failed { what: "diff-tree".into(), code: output.code, stderr: output.stderr });
        }
        Ok(Diff { text: String::from_utf8_lossy(&output.stdout).into_owned(), truncated: output.truncated })
    }
}

/// Raw records (`:mode mode id id STATUS`, path) come first, then those of `--numstat`
/// (`added TAB removed TAB path`), each ended by NUL.
fn parse(text: &str) -> Result<Vec<FileChange>, Error> {
    let unexpected = |record: &str| Error::Unexpected { what: "diff-tree", answer: record.to_owned() };
    let mut changes: Vec<FileChange> = Vec::new();
    let mut records = text.split('\0').filter(|r| !r.is_empty());
    while let Some(record) = records.next() {
        if let Some(raw) = record.strip_prefix(':') {
            let path = records.next().ok_or_else(|| unexpected(record))?;
            let status = match raw.chars().next_back() {
                Some('A') => FileStatus::Added,
                Some('M') => FileStatus::Modified,
                Some('D') => FileStatus::Deleted,
                Some('T') => FileStatus::TypeChanged,
                _ => return Err(unexpected(record)),
            };
            changes.push(FileChange { path: path.to_owned(), status, added: None, removed: None });
        } else {
            let mut fields = record.splitn(3, '\t');
            let (Some(added), Some(removed), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(unexpected(record));
            };
            if let Some(change) = changes.iter_mut().find(|c| c.path == path) {
                change.added = added.parse().ok();
                change.removed = removed.parse().ok();
            }
        }
    }
    Ok(changes)
}
