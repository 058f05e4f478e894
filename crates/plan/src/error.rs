//! What can be wrong with a pipeline.

use towpath_core::{Classify, Kind};
use towpath_yaml::YamlError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place in a file is wrong.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Every stage of the cycle, the first one again at the end.
    #[error("the stages depend on each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    #[error("output '{path}' of stage '{stage}' and output '{other_path}' of stage '{other}' overlap")]
    OverlappingOutputs { path: String, stage: String, other_path: String, other: String },
    #[error("there is no stage '{name}'")]
    NoStage { name: String, known: Vec<String> },
    #[error("parameter '{key}' is missing in {file}")]
    MissingParam { file: String, key: String },
    #[error("{file} is not valid JSON: {message}")]
    Json { file: String, message: String },
    #[error("{file} is not valid TOML: {message}")]
    Toml { file: String, message: String },
    #[error("line {line} of {file} is not Python that parameters can be read from: {message}")]
    Python { file: String, line: usize, message: String },
    #[error("{file} must be a mapping of names to values")]
    NotAMapping { file: String },
    #[error("'{key}' of {file} cannot be set: {problem}")]
    Override { file: String, key: String, problem: String },
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: std::io::Error },
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoStage { .. } => Kind::NotFound,
            _ => Kind::Invalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Yaml(error) => error.hints(),
            Self::NoStage { known, .. } => vec![format!("stages: {}", known.join(", "))],
            Self::OverlappingOutputs { .. } => vec!["let each file be the output of one stage only".into()],
            Self::MissingParam { file, .. } => vec![format!("add it to {file} or take it out of the stage's params")],
            Self::Cycle(_)
            | Self::Json { .. }
            | Self::Toml { .. }
            | Self::Python { .. }
            | Self::NotAMapping { .. }
            | Self::Override { .. }
            | Self::Read { .. } => Vec::new(),
        }
    }
}
