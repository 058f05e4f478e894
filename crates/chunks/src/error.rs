//! Why a recipe or a pack is refused.

use std::io;

use towpath_core::{Classify, Kind};

/// Messages are fragments that fit behind "failed: ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{0}' is not a chunk id: 64 lowercase hex digits of a SHA-256")]
    InvalidChunkId(String),
    #[error("the recipe is malformed: {0}")]
    Recipe(String),
    #[error("the pack is malformed: {0}")]
    Pack(String),
    #[error("the pack broke off: {0}")]
    BrokenOff(io::Error),
    #[error("chunk {expected} has the content of {found}")]
    CorruptChunk { expected: String, found: String },
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::BrokenOff(_) => Kind::Unavailable,
            Self::InvalidChunkId(_) | Self::Recipe(_) | Self::Pack(_) | Self::CorruptChunk { .. } => Kind::Invalid,
        }
    }
}
