use serde_json::Value;
use towpath_api::runs::{RunSummary, StartRun};

use super::{Project, compiled, project};
use crate::config::{Context, wait};
use crate::error::{Error, Exit};

/// Start a run on the server without a push; or run a folder or Git URL with an MLproject here, as `mlflow run`
/// does, or a compiled pipeline of Kubeflow Pipelines
#[derive(clap::Args, Debug)]
pub struct Start {
    /// Branch, tag or commit; . or another folder, or a Git URL (#folder inside) with an MLproject; pipeline.yaml
    #[arg(default_value = "main")]
    reference: String,
    /// Run every stage, whatever the cache says
    #[arg(long, short)]
    force: bool,
    /// Run this stage and all that need what it makes, whatever the cache says
    #[arg(long, value_name = "STAGE", conflicts_with = "force")]
    from: Option<String>,
    /// A parameter that towpath.yaml declares under on.manual, or any of an MLproject or a compiled pipeline
    #[arg(long = "param", short = 'P', value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    #[command(flatten)]
    here: Here,
    #[command(flatten)]
    project: Project,
}

/// Of an MLproject alone.
#[derive(clap::Args, Debug)]
pub struct Here {
    /// Entry point of an MLproject, or a script
    #[arg(long, short, value_name = "NAME", default_value = "main")]
    entry_point: String,
    /// Branch, tag or commit of a Git URL
    #[arg(long, value_name = "REVISION")]
    version: Option<String>,
    /// Experiment of an MLproject's run [default: MLFLOW_EXPERIMENT_NAME or _ID, or 0]
    #[arg(long, value_name = "NAME")]
    experiment_name: Option<String>,
    /// Name of an MLproject's run
    #[arg(long, value_name = "NAME")]
    run_name: Option<String>,
    /// Where an MLproject's packages come from: an environment of their own, or what is here
    #[arg(long, value_enum, default_value_t = EnvManager::Uv)]
    env_manager: EnvManager,
    /// An option of the container of an MLproject with docker_env, as for `mlflow run`: network=host
    #[arg(long = "docker-args", short = 'A', value_name = "NAME[=VALUE]")]
    docker_args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EnvManager {
    #[value(alias = "virtualenv", alias = "conda")]
    Uv,
    Local,
}

impl Start {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if compiled::is_pipeline(&self.reference) {
            let params = self.params.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
            let Here { experiment_name, run_name, .. } = self.here;
            let file = std::path::PathBuf::from(self.reference);
            let asked = compiled::Asked { file, params, experiment: experiment_name, run_name, force: self.force };
            return compiled::run(ctx, &asked);
        }
        if !project::is_project(&self.reference) {
            return wait(self.on_server(ctx));
        }
        let Here { entry_point, version, experiment_name, run_name, env_manager, docker_args } = self.here;
        let asked = project::Asked {
            uri: self.reference,
            entry_point,
            params: self.params.into_iter().collect(),
            version,
            experiment: experiment_name,
            run_name,
            local_environment: env_manager == EnvManager::Local,
            docker_args,
        };
        project::run(ctx, &asked)
    }

    async fn on_server(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let params = self.params.into_iter().map(|(name, value)| (name, typed(&value))).collect();
        let asked = StartRun { reference: self.reference, force: self.force, params, from: self.from };
        let run: RunSummary = ctx.client()?.post(&format!("/projects/{project}/runs"), &asked).await?;
        ctx.ui.show_as(&run, || {
            let commit = run.commit.id.get(..8).unwrap_or_default();
            format!("Run {n} of {project} at {commit}. Watch it: towpath run logs {n} -f", n = run.number)
        })?;
        Ok(Exit::Done)
    }
}

fn param(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `3`: a value that is JSON (a number, true, "text") is that, all else is text.
fn typed(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
}
