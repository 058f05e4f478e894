use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use towpath_server::{Capacity, Options, Reach};

use crate::commands::serve::log_to_stderr;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::signals;

/// Run the control plane: Git remote, pipelines, registry, releases, page
#[derive(clap::Args, Debug)]
pub struct Server {
    /// Address and port; anything but this machine needs accounts
    #[arg(long, default_value = "127.0.0.1:4400", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where all state is kept [default: towpath in the user's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// postgres://... instead of SQLite in the data directory
    #[arg(long, env = "TOWPATH_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// file:///... or s3://bucket/prefix instead of the data directory
    #[arg(long, value_name = "URI")]
    default_artifact_root: Option<String>,
    /// Pipeline runs made at the same time
    #[arg(long, default_value_t = 2, value_name = "N")]
    run_slots: usize,
    /// Stages of one run that run at the same time [default: the number of cores]
    #[arg(long, value_name = "N")]
    stage_jobs: Option<usize>,
    /// How stages are confined at least: `strict` also takes the network from them
    #[arg(long, value_enum, default_value_t = Level::Default, value_name = "LEVEL")]
    sandbox: Level,
    /// Let webhooks of the registry lead to addresses inside, and to http://
    #[arg(long, env = "TOWPATH_WEBHOOKS_INSIDE")]
    webhooks_inside: bool,
    /// What stages may ask for: a pool of so many places, or another number of cpu, gpu, or bytes of memory than
    /// this machine has
    #[arg(long = "pool", value_name = "NAME=COUNT", value_parser = pool)]
    pools: Vec<(String, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Default,
    Strict,
}

fn pool(text: &str) -> Result<(String, u64), String> {
    let (name, count) = text.split_once('=').ok_or("write NAME=COUNT")?;
    let count = count.parse().map_err(|_| format!("'{count}' is not a number"))?;
    if towpath_core::names::is_valid_name(name) {
        Ok((name.to_owned(), count))
    } else {
        Err(format!("'{name}' is not the name of a pool"))
    }
}

fn capacity(pools: Vec<(String, u64)>) -> Capacity {
    let mut capacity = Capacity::of_machine();
    for (name, count) in pools {
        match name.as_str() {
            "cpu" => capacity.cpu = count as f64,
            "memory" => capacity.memory = count,
            "gpu" => capacity.gpu = count as u32,
            _ => drop(capacity.pools.insert(name, count as u32)),
        }
    }
    capacity
}

impl Server {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        log_to_stderr();
        let shutdown = CancellationToken::new();
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                signals::end_requested().await;
                shutdown.cancel();
            }
        });
        let data_dir = self.data_dir.unwrap_or_else(|| ctx.data_dir.clone());
        let options = Options {
            listen: self.listen,
            data_dir: std::path::absolute(&data_dir).map_err(Error::io("find", &data_dir))?,
            database_url: self.database_url,
            artifact_root: self.default_artifact_root,
            environments_dir: ctx.environments_dir.clone(),
            program: std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?,
            run_slots: self.run_slots,
            stage_jobs: self.stage_jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            strict_stages: self.sandbox == Level::Strict,
            webhooks: if self.webhooks_inside { Reach::Everywhere } else { Reach::Public },
            capacity: capacity(self.pools),
        };
        let shown = data_dir.display().to_string();
        towpath_server::serve(options, shutdown, |url| {
            ctx.ui.note(format!("Towpath runs at {url}, its state is in {shown}"));
        })
        .await?;
        Ok(Exit::Done)
    }
}
