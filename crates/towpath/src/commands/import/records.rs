use std::path::PathBuf;
use std::sync::Arc;

use towpath_core::{Actor, SystemClock};
use towpath_imports::{Credentials, Report, Source};
use towpath_store::Store;

use crate::commands::exp::records::records;
use crate::config::{Context, variable};
use crate::error::{Error, Exit};
use crate::ui;

/// The database and the files of a server of this machine, which may be running.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// The data directory of the server [default: that of `towpath server`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's database, if it is not in the data directory
    #[arg(long, env = "TOWPATH_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Where the server keeps artifacts, if not in the data directory
    #[arg(long, value_name = "URI")]
    default_artifact_root: Option<String>,
}

impl Place {
    /// The database, and where artifacts are.
    pub async fn open(self, ctx: &Context) -> Result<(Store, String), Error> {
        let dir = self.data_dir.unwrap_or_else(|| ctx.data_dir.clone());
        if !dir.is_dir() {
            let missing = Error::not_found(format!("there is no data directory {}", dir.display()));
            return Err(missing.hint("start the server once (towpath server), or name its directory by --data-dir"));
        }
        let database = self.database_url.unwrap_or_else(|| dir.join("towpath.db").display().to_string());
        let store = Store::open(&database, Arc::new(SystemClock)).await?;
        let root = self.default_artifact_root.unwrap_or_else(|| dir.join("artifacts").display().to_string());
        Ok((store, root))
    }
}

/// Those that MLflow's clients use.
pub fn credentials() -> Credentials {
    let (token, name) = (variable("MLFLOW_TRACKING_TOKEN"), variable("MLFLOW_TRACKING_USERNAME"));
    match (name, token) {
        (Some(name), _) => {
            Credentials::User { name, password: variable("MLFLOW_TRACKING_PASSWORD").unwrap_or_default() }
        }
        (None, Some(token)) => Credentials::Token(token),
        (None, None) => Credentials::None,
    }
}

/// The records of another tracker: ids, times and histories stay. What was taken over is read again
/// and compared. Doing it again adds what is new since.
#[derive(clap::Subcommand, Debug)]
pub enum Records {
    Mlflow(Mlflow),
    Tensorboard(Tensorboard),
    Wandb(Wandb),
    Neptune(Neptune),
    Dvclive(Dvclive),
    DvcExp(DvcExp),
}

/// Take over experiments, runs, files, logged and registered models of MLflow
#[derive(clap::Args, Debug)]
pub struct Mlflow {
    /// A running server (http://...), its database (sqlite:///PATH or postgresql://...), or a folder mlruns/
    source: String,
    /// The folder behind the source's mlflow-artifacts: addresses (`--artifacts-destination` there)
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    #[command(flatten)]
    destination: Place,
}

/// Take over the scalars of TensorBoard's event files, a run for each folder
#[derive(clap::Args, Debug)]
pub struct Tensorboard {
    /// The log directory
    folder: PathBuf,
    /// The experiment that the runs belong to [default: the name of the folder]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    destination: Place,
}

/// Take over offline runs of Weights & Biases, an experiment for each project
#[derive(clap::Args, Debug)]
pub struct Wandb {
    /// A `.wandb` file, or a folder with some below it
    path: PathBuf,
    #[command(flatten)]
    destination: Place,
}

/// Take over what neptune-exporter kept of Neptune, an experiment for each project
#[derive(clap::Args, Debug)]
pub struct Neptune {
    /// The folder of its Parquet files (`--data-path` there), or one that has it as data/
    folder: PathBuf,
    /// The folder of the files (`--files-path` there) [default: files/ beside the folder of Parquet files]
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    #[command(flatten)]
    destination: Place,
}

/// Take over the folders of DVCLive, a run for each
#[derive(clap::Args, Debug)]
pub struct Dvclive {
    /// A folder that DVCLive wrote, or one with some below it
    path: PathBuf,
    /// The experiment that the runs belong to [default: the name of the folder]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    destination: Place,
}

/// Take over the experiments of the DVC repository here (refs/exps), a run for each
#[derive(clap::Args, Debug)]
pub struct DvcExp {
    /// The experiment that the runs belong to [default: the name of the repository's folder]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    destination: Place,
}

impl Records {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (source, served, destination) = match self {
            Self::Mlflow(mlflow) => {
                (Source::mlflow(&mlflow.source, credentials()).await?, mlflow.artifacts, mlflow.destination)
            }
            Self::Tensorboard(Tensorboard { folder, experiment, destination }) => {
                let path = folder.canonicalize().map_err(Error::io("read", &folder))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (Source::tensorboard(&path, &experiment.unwrap_or(name))?, None, destination)
            }
            Self::Dvclive(Dvclive { path, experiment, destination }) => {
                let path = path.canonicalize().map_err(Error::io("read", &path))?;
                let experiment = experiment.unwrap_or_else(|| towpath_imports::experiment_of(&path));
                (Source::dvclive(&path, &experiment)?, None, destination)
            }
            Self::DvcExp(DvcExp { experiment, destination }) => {
                let (experiments, repository) = records(ctx, |_| true)?;
                let experiments = experiments.into_iter().collect::<Result<Vec<_>, _>>()?;
                (Source::dvc_experiments(&experiments, &experiment.unwrap_or(repository))?, None, destination)
            }
            Self::Neptune(Neptune { folder, files, destination }) => {
                (Source::neptune(&folder, files.as_deref())?, None, destination)
            }
            Self::Wandb(Wandb { path, destination }) => (Source::wandb(&path)?, None, destination),
        };
        let (store, root) = destination.open(ctx).await?;
        let report = towpath_imports::take(&source, &store, &root, served.as_deref(), &Actor::local()).await?;
        ctx.ui.show_as(&report, || human(&report))?;
        Ok(if report.differences.is_empty() { Exit::Done } else { Exit::No })
    }
}

fn human(report: &Report) -> String {
    let mut lines = vec![
        format!("Experiments: {}", report.experiments),
        format!("Runs: {}, {} of them new", report.runs, report.new_runs),
        format!("Points: {}, {} of them new", report.points, report.new_points),
        format!("Logged models: {}, {} of them new", report.logged_models, report.new_logged_models),
        format!("Files: {} copied, {}", report.files, ui::bytes(report.bytes)),
        format!("Models: {}, with {} versions, {} of them new", report.models, report.versions, report.new_versions),
    ];
    if report.files_elsewhere > 0 {
        let which = ui::count(report.files_elsewhere as u64, "run or model");
        lines.push(format!("The files of {which} stay where they are: their address is on no disk of this machine"));
    }
    if report.differences.is_empty() {
        lines.push("Read again and compared: all is here as it was there".into());
    }
    lines.extend(report.differences.iter().map(|difference| format!("Differs: {difference}")));
    lines.join("\n")
}
