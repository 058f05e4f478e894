//! Why tables cannot be compared.

use std::io;
use std::path::{Path, PathBuf};

use towpath_core::{Classify, Kind};

/// Messages are fragments that fit behind "failed: ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot keep rows in a temporary file: {0}")]
    Spill(#[from] io::Error),
    #[error("{} is neither CSV (.csv, .tsv) nor Parquet (.parquet, or its first bytes PAR1)", path.display())]
    UnknownFormat { path: PathBuf },
    #[error("{}, line {line}: {problem}", path.display())]
    Csv { path: PathBuf, line: u64, problem: String },
    #[error("{}: {problem}", path.display())]
    Parquet { path: PathBuf, problem: String },
    #[error("{}: the column '{column}' is there twice", path.display())]
    ColumnTwice { path: PathBuf, column: String },
    #[error("{} has no column '{column}'; there are: {}", path.display(), there_are.join(", "))]
    NoSuchKey { path: PathBuf, column: String, there_are: Vec<String> },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Spill(source) if source.kind() == io::ErrorKind::StorageFull => Kind::Exhausted,
            Self::Read { .. } | Self::Spill(_) => Kind::Internal,
            Self::UnknownFormat { .. }
            | Self::Csv { .. }
            | Self::Parquet { .. }
            | Self::ColumnTwice { .. }
            | Self::NoSuchKey { .. } => Kind::Invalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Spill(_) => vec!["set TMPDIR to a folder with room for both tables".into()],
            _ => Vec::new(),
        }
    }
}
