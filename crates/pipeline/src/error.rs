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
    #[error("there is no {file} in the root of the repository")]
    NoPipeline { file: &'static str },
    #[error("stage '{stage}' needs {path}, which does not exist and no stage makes")]
    MissingDependency {
        stage: String,
        path: String,
        /// A `.dvc` file covers it.
        tracked: bool,
    },
    #[error("{objects} object(s) of {path} ({declared_by}) are not in the cache")]
    MissingData { path: String, declared_by: String, objects: usize },
    #[error("check '{check}' reads {path}, which does not exist")]
    MissingCheckedData { check: String, path: String },
    #[error("cannot write down what happened: {0}")]
    Journal(crate::engine::journal::JournalError),
    #[error("the environment was not built: {0}")]
    Environment(#[from] crate::environment::Error),
    #[error(transparent)]
    Plan(Box<towpath_plan::Error>),
    #[error(transparent)]
    Data(#[from] towpath_data::Error),
    #[error(transparent)]
    Check(#[from] towpath_checks::Error),
}

impl From<towpath_plan::Error> for Error {
    fn from(error: towpath_plan::Error) -> Self {
        Self::Plan(Box::new(error))
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Spawn { source, .. } | Self::Log { source, .. } | Self::Io { source, .. } => io_kind(source),
            Self::NoPipeline { .. } | Self::MissingDependency { .. } | Self::MissingCheckedData { .. } => Kind::Invalid,
            Self::MissingData { .. } => Kind::NotFound,
            Self::Journal(_) => Kind::Unavailable,
            Self::Environment(error) => error.kind(),
            Self::Plan(error) => error.kind(),
            Self::Data(error) => error.kind(),
            Self::Check(error) => error.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Environment(crate::environment::Error::Uv { .. }) => {
                vec!["the whole output is in environment.log beside the logs of the stages".to_owned()]
            }
            Self::Environment(error) => error.hints(),
            Self::Plan(error) => error.hints(),
            Self::Data(error) => error.hints(),
            Self::Check(error) => error.hints(),
            Self::MissingData { .. } => vec!["push the data with `towpath push`, from where it was added".to_owned()],
            Self::MissingDependency { tracked: false, path, .. } => {
                vec![format!("commit {path}, track it with `towpath add`, or declare it as an output of a stage")]
            }
            Self::MissingDependency { tracked: true, .. } => vec!["fetch the data with `towpath pull`".to_owned()],
            Self::NoPipeline { .. } => vec!["`towpath new` writes an example".to_owned()],
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
