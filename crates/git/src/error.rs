//! What can go wrong with a repository.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use towpath_core::{Classify, Kind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("git is not installed or not on the PATH")]
    NotInstalled,
    #[error("cannot run git {what}: {source}")]
    Spawn { what: String, source: io::Error },
    /// `stderr` is what git said, at most 4 KiB.
    #[error("git {what} failed: {stderr}")]
    Failed { what: String, code: Option<i32>, stderr: String },
    #[error("git {what} did not end within {} s", deadline.as_secs())]
    TimedOut { what: String, deadline: Duration },
    #[error("git {what} answers with more than {limit} bytes")]
    TooLarge { what: String, limit: usize },
    #[error("git {what} answered something unexpected: {answer:?}")]
    Unexpected { what: &'static str, answer: String },

    #[error("'{0}' is not a commit id: 40 lowercase hex digits")]
    InvalidCommit(String),
    #[error("'{0}' is not a valid name of a branch, tag or ref")]
    InvalidReference(String),
    #[error("'{0}' is not a relative path without '..'")]
    InvalidPath(String),
    #[error("'{0}' is no address of a repository")]
    InvalidUrl(String),
    #[error("cannot fetch from {url}: {stderr}")]
    CannotFetch { url: String, stderr: String },
    #[error("{url} has no revision '{revision}'")]
    NoSuchRevision { revision: String, url: String },
    #[error("'{0}' is not a date: YYYY-MM-DD")]
    InvalidDate(String),
    #[error("no commit '{0}'")]
    NoSuchCommit(String),
    #[error("no file {path} in commit {commit}")]
    NoSuchFile { path: String, commit: String },
    #[error("{} is not inside a git repository", .0.display())]
    NotARepository(PathBuf),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotInstalled | Self::TimedOut { .. } | Self::CannotFetch { .. } => Kind::Unavailable,
            Self::TooLarge { .. } => Kind::Exhausted,
            Self::InvalidCommit(_)
            | Self::InvalidReference(_)
            | Self::InvalidPath(_)
            | Self::InvalidUrl(_)
            | Self::InvalidDate(_)
            | Self::Failed { .. } => Kind::Invalid,
            Self::NoSuchCommit(_) | Self::NoSuchRevision { .. } | Self::NoSuchFile { .. } | Self::NotARepository(_) => {
                Kind::NotFound
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Kind::Exhausted,
            Self::Io { .. } | Self::Spawn { .. } | Self::Unexpected { .. } => Kind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotInstalled => vec!["install git, version 2.30 or newer".to_owned()],
            Self::NotARepository(_) => vec!["run `git init` first".to_owned()],
            _ => Vec::new(),
        }
    }
}
