use towpath_core::{Classify, Kind};
use towpath_yaml::YamlError;

/// Why a check could not be evaluated. Bad data is no error: it is a failure in the verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Suite(#[from] YamlError),
    #[error("cannot read the data: {0}")]
    Read(#[from] std::io::Error),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Suite(_) => Kind::Invalid,
            Self::Read(_) => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Suite(error) => error.hints(),
            Self::Read(_) => Vec::new(),
        }
    }
}
