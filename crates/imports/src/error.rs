use std::path::{Path, PathBuf};

use towpath_core::{Classify, Kind};
use towpath_store::StoreError;
use towpath_tracking::TrackingError;
use towpath_yaml::YamlError;

/// Why records cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(
        "'{0}' is neither a folder mlruns/ nor a database (sqlite:///PATH, postgresql://...) nor a server (http://...)"
    )]
    NoSource(String),
    #[error("there are no runs in {0}")]
    NoRuns(PathBuf),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}: {detail}")]
    Content { path: PathBuf, detail: String },
    #[error("no answer from {url}: {detail}")]
    Unreachable { url: String, detail: String },
    #[error("{url} does not answer as MLflow does")]
    NoServer { url: String },
    #[error("{url} answered {status} {code}: {message}")]
    Refused { url: String, status: u16, code: String, message: String },
    #[error("the artifacts of {owner} are at {uri}: its server does not stand before them")]
    Elsewhere { owner: String, uri: String },
    #[error("{owner} has no artifact '{path}'")]
    NoArtifact { owner: String, path: String },
    #[error(transparent)]
    Yaml(#[from] YamlError),
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }

    pub(crate) fn unreachable(url: &str, source: &reqwest::Error) -> Self {
        let mut detail = source.to_string();
        let mut cause = std::error::Error::source(source);
        while let Some(error) = cause {
            detail = error.to_string();
            cause = error.source();
        }
        Self::Unreachable { url: url.to_owned(), detail }
    }

    pub(crate) fn content(path: &Path, detail: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), detail: detail.into() }
    }
}

impl Classify for ImportError {
    fn kind(&self) -> Kind {
        match self {
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
            Self::File { .. } | Self::Unreachable { .. } | Self::NoServer { .. } => Kind::Unavailable,
            Self::Refused { status: 401 | 403, .. } => Kind::Denied,
            Self::Refused { status: 404, .. } | Self::NoArtifact { .. } => Kind::NotFound,
            Self::NoSource(_)
            | Self::NoRuns(_)
            | Self::Content { .. }
            | Self::Elsewhere { .. }
            | Self::Yaml(_)
            | Self::Refused { .. } => Kind::Invalid,
            Self::Tracking(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Refused { status: 401 | 403, .. } => {
                vec!["set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD".into()]
            }
            Self::Elsewhere { .. } => {
                vec!["ask for them there: the mlflow client does it with your own credentials".into()]
            }
            Self::Tracking(error) => error.hints(),
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
