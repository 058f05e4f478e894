//! Records of other trackers become experiments, runs and models here, with their ids, times and
//! histories; and what is here goes into a running MLflow server. What was taken over or brought there
//! is read again and compared; doing it again adds what is new.

mod dvc_experiments;
mod dvclive;
mod error;
mod export;
mod mlflow;
mod neptune;
mod recorded;
mod records;
mod sync;
mod take;
mod tensorboard;
pub mod transfer;
pub mod wandb;

use std::collections::BTreeMap;
use std::path::Path;

pub use dvc_experiments::DvcExperiment;
pub use dvclive::is_record;
pub use error::ImportError;
pub use export::{Exported, export};
pub use mlflow::rest::{Credentials, Rest};
pub use sync::{Synced, sync};
pub use take::{Report, take, take_dvc_experiments};
use towpath_tracking::adopt;

/// The experiment of a folder whose runs name none: the folder's name, or that of the folder around one
/// that has the name DVCLive gives.
pub fn experiment_of(folder: &Path) -> String {
    let name = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let around = folder.parent().and_then(name);
    match (name(folder), around) {
        (Some(own), Some(around)) if own == "dvclive" => around,
        (own, _) => own.unwrap_or_else(|| "Default".into()),
    }
}

/// Where records come from.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Database(mlflow::Database),
    Folder(mlflow::Folder),
    Server(mlflow::Server),
    Neptune(neptune::Neptune),
    Recorded(recorded::Recorded),
}

impl Source {
    /// MLflow's: a folder `mlruns/`, or the database that `mlflow server` keeps (`sqlite:///PATH`,
    /// `postgresql://...`), or a running server (`http://...`), to which the credentials belong.
    pub async fn mlflow(address: &str, credentials: Credentials) -> Result<Self, ImportError> {
        match mlflow::place_of(address)? {
            mlflow::Place::Folder(path) => Ok(Self(Kind::Folder(mlflow::Folder::open(&path)?))),
            mlflow::Place::Server(url) => Ok(Self(Kind::Server(mlflow::Server::open(&url, credentials).await?))),
            mlflow::Place::Database(url) => Ok(Self(Kind::Database(mlflow::Database::open(&url).await?))),
        }
    }

    /// The event files below a folder: their runs make one experiment.
    pub fn tensorboard(folder: &Path, experiment: &str) -> Result<Self, ImportError> {
        Self::recorded(tensorboard::read(folder, experiment)?, folder)
    }

    /// Offline runs of Weights & Biases: a `.wandb` file, or all below a folder.
    pub fn wandb(path: &Path) -> Result<Self, ImportError> {
        Self::recorded(wandb::read(path)?, path)
    }

    /// What neptune-exporter wrote: the folder of its Parquet files, or one that has it as `data/`. Files
    /// are in `files`, by default beside it.
    pub fn neptune(folder: &Path, files: Option<&Path>) -> Result<Self, ImportError> {
        Ok(Self(Kind::Neptune(neptune::Neptune::open(folder, files)?)))
    }

    /// The folders of DVCLive at or below a path: their runs make one experiment.
    pub fn dvclive(path: &Path, experiment: &str) -> Result<Self, ImportError> {
        Self::recorded(dvclive::read(path, experiment)?, path)
    }

    /// Experiments of DVC, as runs of one experiment.
    pub fn dvc_experiments(experiments: &[DvcExperiment], experiment: &str) -> Result<Self, ImportError> {
        Ok(Self(Kind::Recorded(dvc_experiments::read(experiments, experiment)?)))
    }

    /// What was logged offline: MLflow's `mlruns/` or database, Weights & Biases' offline runs, folders of
    /// DVCLive or TensorBoard. The runs of the latter two belong to an experiment.
    pub async fn offline(address: &str, experiment: Option<&str>) -> Result<Self, ImportError> {
        let path = Path::new(address);
        if !path.is_dir() || mlflow::Folder::open(path)?.has_experiments()? {
            let is_wandb = path.extension().is_some_and(|extension| extension == "wandb");
            return if is_wandb { Self::wandb(path) } else { Self::mlflow(address, Credentials::None).await };
        }
        let path = path.canonicalize().map_err(ImportError::file(path))?;
        let experiment = experiment.map_or_else(|| experiment_of(&path), str::to_owned);
        if !dvclive::folders(&path)?.is_empty() {
            return Self::dvclive(&path, &experiment);
        }
        match Self::wandb(&path) {
            Err(ImportError::NoRuns(_)) => Self::tensorboard(&path, &experiment),
            found => found,
        }
    }

    fn recorded(recorded: recorded::Recorded, path: &Path) -> Result<Self, ImportError> {
        if recorded.is_empty() {
            return Err(ImportError::NoRuns(path.to_owned()));
        }
        Ok(Self(Kind::Recorded(recorded)))
    }

    /// Experiments by the source's id, the deleted ones too.
    async fn experiments(&self) -> Result<BTreeMap<String, adopt::Experiment>, ImportError> {
        match &self.0 {
            Kind::Database(database) => database.experiments().await,
            Kind::Folder(folder) => folder.experiments(),
            Kind::Server(server) => server.experiments().await,
            Kind::Neptune(export) => Ok(export.experiments()),
            Kind::Recorded(recorded) => Ok(recorded.experiments()),
        }
    }

    /// The runs of one of them; `artifact_uri` says where the source has their files.
    async fn runs(&self, experiment: &str) -> Result<Vec<adopt::Run>, ImportError> {
        match &self.0 {
            Kind::Database(database) => database.runs(experiment).await,
            Kind::Folder(folder) => folder.runs(experiment),
            Kind::Server(server) => server.runs(experiment).await,
            Kind::Neptune(export) => Ok(export.runs(experiment)),
            Kind::Recorded(recorded) => Ok(recorded.runs(experiment)),
        }
    }

    async fn series(&self, experiment: &str, run_id: &str) -> Result<adopt::Series, ImportError> {
        match &self.0 {
            Kind::Database(database) => database.series(run_id).await,
            Kind::Folder(folder) => folder.series(experiment, run_id),
            Kind::Server(server) => server.series(run_id).await,
            Kind::Neptune(export) => export.series(run_id),
            Kind::Recorded(recorded) => Ok(recorded.series(experiment, run_id)),
        }
    }

    /// The files of a run that do not lie in a folder of their own.
    fn files(&self, run_id: &str) -> Result<Vec<neptune::RunFile>, ImportError> {
        if let Kind::Neptune(export) = &self.0 { export.files(run_id) } else { Ok(Vec::new()) }
    }

    /// The logged models of one of them.
    async fn logged_models(&self, experiment: &str) -> Result<Vec<adopt::LoggedModel>, ImportError> {
        match &self.0 {
            Kind::Database(database) => database.logged_models(experiment).await,
            Kind::Server(server) => server.logged_models(experiment).await,
            Kind::Folder(_) | Kind::Neptune(_) | Kind::Recorded(_) => Ok(Vec::new()),
        }
    }

    /// The server that stores the files, when it is one.
    fn server(&self) -> Option<&Rest> {
        if let Kind::Server(server) = &self.0 { Some(&server.rest) } else { None }
    }

    async fn models(&self) -> Result<Vec<adopt::Model>, ImportError> {
        match &self.0 {
            Kind::Database(database) => database.models().await,
            Kind::Folder(folder) => folder.models(),
            Kind::Server(server) => server.models().await,
            Kind::Neptune(_) | Kind::Recorded(_) => Ok(Vec::new()),
        }
    }
}
