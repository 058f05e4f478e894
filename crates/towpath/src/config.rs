//! What flags and environment variables say, resolved once before any work starts.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use towpath_api::client::Client;
use towpath_core::Kind;
use towpath_pipeline::Environments;

use crate::error::Error;
use crate::ui::Ui;

/// Where a server listens when nothing else is said.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:4400";

/// The heading of [`Options`] in the help.
const GLOBAL: &str = "Options of every command";

/// Options that every command takes.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The server
    #[arg(long, global = true, help_heading = GLOBAL, env = "TOWPATH_SERVER", hide_env_values = true, value_name = "URL", default_value = DEFAULT_SERVER)]
    server: String,
    /// Print the result as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Work in this folder
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "PATH")]
    pub cd: Option<PathBuf>,
    /// Wait for another dvc or towpath command that changes the repository, however long it takes
    #[arg(long, global = true, help_heading = GLOBAL)]
    wait_for_lock: bool,
    /// Taken for scripts that were written for dvc; there is nothing more to say
    #[arg(long, short, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print no progress, and no result where the exit code tells enough
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    quiet: bool,
}

/// What a command works with.
#[derive(Debug)]
pub struct Context {
    pub ui: Ui,
    /// Without a slash at its end.
    pub server: String,
    /// `TOWPATH_TOKEN`.
    pub token: Option<String>,
    /// State of a server of this machine.
    pub data_dir: PathBuf,
    /// Python environments, shared with the server: what one built is there for the other.
    pub environments_dir: PathBuf,
    /// What was fetched of other repositories.
    pub clones_dir: PathBuf,
    /// `--wait-for-lock`
    pub waits_for_lock: bool,
}

/// Where Python environments are kept.
pub fn environments_dir() -> PathBuf {
    user_dir("XDG_CACHE_HOME", ".cache").join("towpath/environments")
}

/// Where models that a server keeps are put to be served from here.
pub fn models_dir() -> PathBuf {
    user_dir("XDG_CACHE_HOME", ".cache").join("towpath/models")
}

/// Where it is noted what of an upload is done.
pub fn uploads_dir() -> PathBuf {
    user_dir("XDG_CACHE_HOME", ".cache").join("towpath/uploads")
}

impl Context {
    pub fn new(options: Options) -> Self {
        Self {
            ui: Ui::new(options.json, options.quiet),
            server: options.server.trim_end_matches('/').to_owned(),
            token: variable("TOWPATH_TOKEN"),
            data_dir: user_dir("XDG_DATA_HOME", ".local/share").join("towpath"),
            environments_dir: environments_dir(),
            clones_dir: user_dir("XDG_CACHE_HOME", ".cache").join("towpath/repositories"),
            waits_for_lock: options.wait_for_lock,
        }
    }

    pub fn client(&self) -> Result<Client, Error> {
        Ok(Client::new(&self.server, self.token.clone())?)
    }

    pub fn environments(&self) -> Environments {
        Environments::new(&self.environments_dir)
    }

    pub fn current_dir() -> Result<PathBuf, Error> {
        std::env::current_dir().map_err(Error::io("find", std::path::Path::new("the current folder")))
    }

    /// True for what this server answers below: only there the token is sent to.
    pub fn is_on_server(&self, url: &str) -> bool {
        url.strip_prefix(&self.server).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A blocked thread (a model that hangs) does not keep the program from ending.
const LAST_THREADS: Duration = Duration::from_secs(5);

/// Runs what waits for the network.
pub fn wait<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    wait_on(runtime()?, work)
}

/// Runs a server, with half of the cores for requests: a worker that is woken and finds nothing to do costs
/// more than most requests, and what blocks (the writer of SQLite, Git, stages) has threads of its own.
pub fn wait_as_server<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = (cores / 2).max(1);
    wait_on(built(Builder::new_multi_thread().worker_threads(workers))?, work)
}

fn wait_on<T>(runtime: Runtime, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_THREADS);
    result
}

pub fn runtime() -> Result<Runtime, Error> {
    built(&mut Builder::new_multi_thread())
}

fn built(builder: &mut Builder) -> Result<Runtime, Error> {
    builder.enable_all().build().map_err(|error| Error::new(Kind::Exhausted, format!("cannot start threads: {error}")))
}

pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A folder of the XDG base directories; below the current folder for who has no home.
fn user_dir(name: &str, below_home: &str) -> PathBuf {
    // The specification: relative values are to be ignored.
    let set = variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set.unwrap_or_else(|| PathBuf::from(variable("HOME").unwrap_or_default()).join(below_home))
}

/// `300ms`, `30s`, `10m`, `12h`, `90d`: for flags.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err("expected a number with ms, s, m, h or d behind it, for example 30s".into()),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{number}' is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("90d"), Ok(Duration::from_hours(24 * 90)));
        for bad in ["", "10", "s", "-1s", "1e400d", "10 s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_goes_to_our_server_only() {
        let ctx = Context {
            ui: Ui::new(false, false),
            server: "http://127.0.0.1:4400".into(),
            token: None,
            data_dir: PathBuf::new(),
            environments_dir: PathBuf::new(),
            clones_dir: PathBuf::new(),
            waits_for_lock: false,
        };
        assert!(ctx.is_on_server("http://127.0.0.1:4400/dvc/digits"));
        assert!(!ctx.is_on_server("http://127.0.0.1:44000/dvc/digits"));
        assert!(!ctx.is_on_server("https://elsewhere/dvc/digits"));
    }
}
