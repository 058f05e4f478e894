use towpath_core::{Classify, Kind};
use towpath_store::StoreError;

use crate::metrics::Damaged;

/// What a client did wrong, in the words of MLflow where it has some.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    #[error("Invalid value {value} for parameter '{parameter}' supplied: {reason}")]
    InvalidValue { parameter: String, value: String, reason: String },
    #[error("Invalid value {value} for parameter 'max_results' supplied. {reason}")]
    MaxResults { value: i64, reason: String },
    #[error("Missing value for required parameter '{0}'.")]
    Missing(String),
    #[error("'{parameter}' exceeds the maximum length of {limit} characters")]
    TooLong { parameter: String, limit: usize },
    #[error("{0}")]
    Filter(String),
    #[error("{0}")]
    Conflicting(String),
    #[error("No Experiment with id={0} exists")]
    NoExperiment(String),
    #[error("Invalid experiment ID '{0}'. Experiment ID must be a valid integer.")]
    NotAnExperiment(String),
    #[error("Could not find experiment with name '{0}'")]
    NoExperimentNamed(String),
    #[error("Experiment(name={0}) already exists.")]
    ExperimentExists(String),
    #[error("The experiment {id} must be in the '{expected}' state. Current state is {found}.")]
    ExperimentState { id: i64, expected: &'static str, found: &'static str },
    #[error("Cannot rename a non-active experiment.")]
    RenamedDeleted,
    #[error("Run with id={0} not found")]
    NoRun(String),
    #[error("The run {run_id} must be in the '{expected}' state. Current state is {found}.")]
    RunState { run_id: String, expected: &'static str, found: &'static str },
    #[error(
        "Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for run ID='{run_id}'. Attempted logging new value '{new}'."
    )]
    ParamChanged { run_id: String, key: String, old: String, new: String },
    #[error("Run with id={0} already exists.")]
    RunExists(String),
    #[error("Logged model with ID '{0}' already exists.")]
    LoggedModelExists(String),
    #[error("No tag with name: {key} in {of} with id {id}")]
    NoTag { key: String, of: &'static str, id: String },
    #[error("Logged model with ID '{0}' not found.")]
    NoLoggedModel(String),
    #[error("Trace with ID '{0}' not found.")]
    NoTrace(String),
    #[error("there is no upload '{0}': it was completed, given up, or is older than a week")]
    NoUpload(String),
    #[error("run {run_id} made {what}: it is evidence, and is not removed for good")]
    RunIsEvidence { run_id: String, what: String },
    #[error("the experiment 'Default' is not removed for good")]
    DefaultExperiment,
    #[error("run {run_id} has no metric '{key}'")]
    NoMetric { run_id: String, key: String },
    #[error("Webhook with ID {0} not found.")]
    NoWebhook(String),
    #[error("the secret of webhook {0} was encrypted with another server's key: set it again")]
    WebhookSecret(String),
    #[error("Evaluation dataset with id '{0}' not found")]
    NoDataset(String),
    #[error(
        "Scorer with name '{name}'{} not found for experiment {experiment}.",
        version.map_or_else(String::new, |v| format!(" and version {v}"))
    )]
    NoScorer { name: String, version: Option<i64>, experiment: i64 },
    #[error("Assessment with ID '{id}' not found for trace '{trace_id}'")]
    NoAssessment { id: String, trace_id: String },
    #[error("Registered Model with name={0} not found")]
    NoModel(String),
    #[error("Registered Model (name={0}) already exists.")]
    ModelExists(String),
    #[error("Model Version (name={model}, version={version}) not found")]
    NoVersion { model: String, version: String },
    #[error("Parameter 'version' must be an integer, got '{0}'.")]
    NotAVersion(String),
    #[error("Registered model alias {0} not found.")]
    NoAlias(String),
    #[error(
        "alias '{alias}' of model '{model}' follows the releases of its environment and is not moved by hand: use `towpath release promote {model} --version {version} --to {alias}`"
    )]
    AliasReserved { model: String, alias: String, version: String },
    #[error(
        "version {version} of model '{model}' is what '{alias}' points at: release another version first (`towpath release promote {model} --version N --to {alias}`)"
    )]
    VersionReleased { model: String, version: i64, alias: String },
    #[error(
        "model '{0}' belongs to a project whose releases depend on it: it is neither renamed nor deleted (release another version with `towpath release promote {0} --version N --to ENVIRONMENT`)"
    )]
    ModelReserved(String),
    #[error("there is already a different lineage of {model} version {version}: it is never changed")]
    LineageChanged { model: String, version: i64 },
    #[error("Invalid path: '{0}'")]
    ArtifactPath(String),
    #[error("No such artifact: '{0}'")]
    NoArtifact(String),
    #[error("the artifact store does not answer: {0}")]
    ArtifactStore(String),
    #[error("the disk of the artifact store is full: {0}")]
    ArtifactStoreFull(String),
    #[error("{0}")]
    Upload(String),
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for TrackingError {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidValue { .. }
            | Self::MaxResults { .. }
            | Self::Missing(_)
            | Self::TooLong { .. }
            | Self::Filter(_)
            | Self::Conflicting(_)
            | Self::ExperimentState { .. }
            | Self::RenamedDeleted
            | Self::NotAVersion(_)
            | Self::NotAnExperiment(_)
            | Self::RunState { .. }
            | Self::WebhookSecret(_)
            | Self::ParamChanged { .. }
            // MLflow calls a missing alias an invalid parameter; its client asks for exactly that.
            | Self::NoAlias(_)
            | Self::Upload(_)
            | Self::ArtifactPath(_) => Kind::Invalid,
            Self::NoExperiment(_)
            | Self::NoExperimentNamed(_)
            | Self::NoRun(_)
            | Self::NoTag { .. }
            | Self::NoLoggedModel(_)
            | Self::NoTrace(_)
            | Self::NoAssessment { .. }
            | Self::NoDataset(_)
            | Self::NoWebhook(_)
            | Self::NoUpload(_)
            | Self::NoMetric { .. }
            | Self::NoScorer { .. }
            | Self::NoModel(_)
            | Self::NoVersion { .. }
            | Self::NoArtifact(_) => Kind::NotFound,
            Self::ExperimentExists(_) | Self::ModelExists(_) | Self::RunExists(_) | Self::LoggedModelExists(_) | Self::LineageChanged { .. } => {
                Kind::Conflict
            }
            Self::RunIsEvidence { .. } | Self::DefaultExperiment | Self::AliasReserved { .. } | Self::VersionReleased { .. } | Self::ModelReserved(_) => {
                Kind::Denied
            }
            Self::ArtifactStore(_) | Self::Random(_) => Kind::Unavailable,
            Self::ArtifactStoreFull(_) => Kind::Exhausted,
            Self::File(error) => match error.kind() {
                std::io::ErrorKind::StorageFull => Kind::Exhausted,
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Unavailable,
            },
            Self::Damaged(_) => Kind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
