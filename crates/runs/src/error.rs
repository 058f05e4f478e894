use towpath_core::{Classify, Kind};
use towpath_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{0}' is not a project name: letters, digits, '.', '_' and '-', at most 100")]
    ProjectName(String),
    #[error("there is no project '{0}'")]
    NoProject(String),
    #[error("project '{project}' has no run {number}")]
    NoRun { project: String, number: i64 },
    #[error("run {number} of '{project}' has no stage '{stage}'")]
    NoStage { project: String, number: i64, stage: String },
    #[error("run {number} of '{project}' is over: it {status}")]
    Over { project: String, number: i64, status: &'static str },
    #[error("project '{project}' has no trigger '{name}'")]
    NoSchedule { project: String, name: String },
    #[error("'{name}' of project '{project}' is no schedule: it has no planned times to run again")]
    NotTimed { project: String, name: String },
    #[error("project '{project}' has no backfill {number}")]
    NoBackfill { project: String, number: i64 },
    #[error("'{field}' of the backfill {problem}")]
    Backfill { field: &'static str, problem: String },
    #[error("backfill {number} of '{project}' is {status}")]
    BackfillIs { project: String, number: i64, status: &'static str },
    #[error("parameter '{name}' {problem}")]
    Param { name: String, problem: String },
    #[error("run {number} of '{project}' is not over yet")]
    NotOver { project: String, number: i64 },
    #[error("stage '{stage}' of run {number} of '{project}' waits for no approval")]
    NotWaiting { project: String, number: i64, stage: String },
    #[error("this approval does not count: {why}")]
    MayNotApprove { why: String },
    #[error("'{0}' is not a name of a secret: letters, digits, '.', '_' and '-', at most 100")]
    SecretName(String),
    #[error("the value of a secret has from 1 to {longest} bytes, none of them zero")]
    SecretValue { longest: usize },
    #[error("project '{project}' has no secret '{name}' for this branch and environment")]
    NoSecret { project: String, name: String },
    #[error("read '{file}' at {commit}: {detail}")]
    ProjectFile { file: String, commit: String, detail: String },
    #[error("the run is of a compiled pipeline and goes on after what it has done: it cannot begin at '{stage}'")]
    FromTask { stage: String },
    #[error("there is no run '{0}'")]
    NoKfpRun(String),
    #[error("{0}")]
    Spec(String),
    #[error(transparent)]
    Compiled(#[from] towpath_kfp::Error),
    #[error("read the experiments that were pushed: {detail}")]
    Experiments { detail: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Git(#[from] towpath_git::Error),
    #[error(transparent)]
    Tracking(#[from] towpath_tracking::TrackingError),
    #[error(transparent)]
    Identity(#[from] towpath_identity::IdentityError),
    #[error(transparent)]
    Pipeline(#[from] towpath_pipeline::Error),
    #[error(transparent)]
    Data(#[from] towpath_data::Error),
    #[error("keep the model of run {number}: {path}: {source}")]
    Keep { number: i64, path: String, source: std::io::Error },
    #[error("open the release of {model} v{version}: {detail}")]
    Release { model: String, version: i64, detail: String },
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::ProjectName(_)
            | Self::FromTask { .. }
            | Self::Spec(_)
            | Self::ProjectFile { .. }
            | Self::Param { .. }
            | Self::NotTimed { .. }
            | Self::Backfill { .. }
            | Self::SecretName(_)
            | Self::SecretValue { .. } => Kind::Invalid,
            Self::NoProject(_)
            | Self::NoRun { .. }
            | Self::NoKfpRun(_)
            | Self::NoStage { .. }
            | Self::NoSchedule { .. }
            | Self::NoBackfill { .. }
            | Self::NoSecret { .. } => Kind::NotFound,
            Self::BackfillIs { .. } | Self::Over { .. } | Self::NotOver { .. } | Self::NotWaiting { .. } => {
                Kind::Conflict
            }
            Self::MayNotApprove { .. } => Kind::Denied,
            Self::Store(e) => e.kind(),
            Self::Compiled(e) => e.kind(),
            Self::Git(e) => e.kind(),
            Self::Tracking(e) => e.kind(),
            Self::Identity(e) => e.kind(),
            Self::Pipeline(e) => e.kind(),
            Self::Data(e) => e.kind(),
            Self::Keep { .. } => Kind::Exhausted,
            Self::Experiments { .. } | Self::Release { .. } => Kind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoProject(name) => vec![format!("the first push makes it: git push <server>/git/{name}.git")],
            Self::Store(e) => e.hints(),
            Self::Git(e) => e.hints(),
            Self::Tracking(e) => e.hints(),
            Self::Identity(e) => e.hints(),
            Self::Pipeline(e) => e.hints(),
            Self::Data(e) => e.hints(),
            _ => Vec::new(),
        }
    }
}
