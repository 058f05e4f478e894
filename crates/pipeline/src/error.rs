//! What keeps a pipeline from running. A stage that ran and failed is not an error but an outcome.

use std::io;
use std::path::PathBuf;

use towpath_core::{Classify, Kind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("cannot write the log {}: {source}", path.display())]
    Log { path: PathBuf, source: io::Error },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the run was cancelled")]
    Cancelled,
    #[error(transparent)]
    Environment(#[from] crate::environment::Error),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Spawn { source, .. } | Self::Log { source, .. } | Self::Io { source, .. } => io_kind(source),
            Self::Cancelled => Kind::Conflict,
            Self::Environment(error) => error.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Environment(error) => error.hints(),
            Self::Log { source, .. } | Self::Io { source, .. } if io_kind(source) == Kind::Exhausted => {
                vec!["free some space and run it again: finished stages are kept".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

pub(crate) fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        _ => Kind::Internal,
    }
}
