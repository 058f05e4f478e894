use std::fs;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use towpath_api::control::Batching;
use towpath_core::names::is_valid_name;
use towpath_serving::runtime::{OnnxRuntime, Python, Runtimes};
use towpath_serving::{Address, Limits, Options, Source, Tls};
use tracing_subscriber::EnvFilter;

use super::model;
use crate::config::{Context, environments_dir, variable};
use crate::error::{Error, Exit};
use crate::signals;

/// Answer predictions: the data plane of a server, or some models on their own
#[derive(clap::Args, Debug)]
pub struct Serve {
    /// Address and port; port 0 takes a free one. HTTP/1, HTTP/2 and gRPC are answered here
    #[arg(long, visible_alias = "listen", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Another address and port for the same, where clients expect gRPC on a port of its own
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<SocketAddr>,
    /// A Unix socket for the same
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Answer TCP connections with TLS: the certificate chain, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where the routing table, the evidence of rollouts and the predictions are kept
    #[arg(long, value_name = "DIR", required_unless_present_any = ["model", "model_folder"])]
    state_dir: Option<PathBuf>,
    /// Let a server with this secret set the routing table
    #[arg(
        long,
        value_name = "FILE",
        requires = "state_dir",
        required_unless_present_any = ["model", "model_folder"],
        conflicts_with_all = ["model", "model_folder"]
    )]
    control_token_file: Option<PathBuf>,
    /// Serve this model file or folder, or this version of the server's registry (models:/NAME@ALIAS,
    /// models:/NAME/VERSION, models:/NAME/latest), under this name or its own
    #[arg(long, value_name = "[NAME=]PATH|URI", value_parser = named_model)]
    model: Vec<(String, Place)>,
    /// Let clients load and unload models that lie in this folder, as SageMaker does with its multi-model containers
    /// (POST /models, DELETE /models/NAME); it is ready without any
    #[arg(long, value_name = "DIR")]
    model_folder: Option<PathBuf>,
    /// Run requests that wait for a model together, up to this many rows at once
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(2..=65_536))]
    batch_rows: Option<u32>,
    /// Let the oldest request wait this long for others while the model is idle
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, requires = "batch_rows",
          value_parser = clap::value_parser!(u64).range(0..=10_000))]
    batch_delay: u64,
    /// Answer a request within this time or with 504
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    deadline: Option<u64>,
    /// Take bodies up to this size, after decompression
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    max_body: Option<u32>,
    /// Answer this many requests at once; more get 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_requests: Option<u32>,
    /// Answer this many requests of one client at once, by its token or else its address
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_requests_of_client: Option<u32>,
    /// Keep models in memory up to this size of their files; those unused for longest are put out, and loaded again
    /// by the next request for them
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    memory_budget: Option<u64>,
    /// Run ONNX graphs that the own interpreter does not run with this library of ONNX Runtime
    /// (libonnxruntime.so), or with that of its Python package: 'fetch' gets it once by uv. Without it
    /// ORT_DYLIB_PATH, the usual folders and what was fetched are looked at
    #[arg(long, value_name = "PATH|fetch")]
    onnxruntime: Option<PathBuf>,
    /// Run models that only Python runs also when they are pickles or bring code: they can do what you can,
    /// but for writing files
    #[arg(long)]
    allow_pickle: bool,
    /// Run models of Python with this interpreter, not in environments built from their requirements
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Processes for each model of Python; without it one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    python_workers: Option<u32>,
    /// Memory that each of these processes may take beyond the loaded model
    #[arg(long, value_name = "MIB", default_value_t = 2_048, value_parser = clap::value_parser!(u64).range(16..))]
    python_memory: u64,
    /// Files in this folder are not read by models of Python
    #[arg(long, value_name = "DIR", hide = true)]
    hide: Vec<PathBuf>,
    /// End with whoever started it and holds the other end of standard input
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    /// What follows `models:/`.
    Registry(String),
}

fn named_model(text: &str) -> Result<(String, Place), String> {
    let place = |text: &str| match text.strip_prefix("models:/") {
        Some(version) => Place::Registry(version.to_owned()),
        None => Place::Path(text.into()),
    };
    match text.split_once('=') {
        Some((name, path)) if is_valid_name(name) && !path.is_empty() => Ok((name.to_owned(), place(path))),
        Some(_) => Err("expected NAME=PATH".into()),
        None => {
            let place = place(text);
            let name = match &place {
                Place::Path(path) => path.file_stem().and_then(|name| name.to_str()),
                Place::Registry(version) => version.split(['@', '/']).next(),
            };
            let name = name.filter(|name| is_valid_name(name));
            let name = name.ok_or("its name is none for a model: give one as NAME=PATH")?.to_owned();
            Ok((name, place))
        }
    }
}

/// The file or folder of a model; what the server has is fetched.
async fn fetched(ctx: &Context, place: Place) -> Result<PathBuf, Error> {
    match place {
        Place::Path(path) => Ok(path),
        Place::Registry(named) => {
            let version = model::version_of_uri(ctx, &named).await?;
            let path = model::download::into_cache(ctx, &version).await?;
            ctx.ui.note(format!("{} v{} is in {}", version.model, version.version, path.display()));
            Ok(path)
        }
    }
}

impl Serve {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        log_to_stderr();
        let mut models = Vec::with_capacity(self.model.len());
        for (name, place) in self.model {
            models.push((name, fetched(ctx, place).await?));
        }
        let source = match (self.control_token_file, self.state_dir) {
            (Some(file), Some(state_dir)) => {
                let control_token = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
                Source::Controlled { state_dir, control_token }
            }
            (_, state_dir) => {
                let max_delay_ms = self.batch_delay;
                let batching = self.batch_rows.map(|rows| Batching { max_rows: rows as usize, max_delay_ms });
                Source::Standalone { models, batching, folder: self.model_folder, state_dir }
            }
        };
        let until_stdin_closes = self.until_stdin_closes;
        let end = async move {
            tokio::select! {
                () = signals::end_requested() => {}
                () = signals::stdin_closed(), if until_stdin_closes => {}
            }
        };
        let mut options = Options::new(self.http, source);
        options.also.extend(self.grpc.map(Address::Tcp).into_iter().chain(self.unix.map(Address::Unix)));
        let defaults = options.limits.clone();
        options.limits = Limits {
            deadline: self.deadline.map_or(defaults.deadline, Duration::from_secs),
            body: self.max_body.map_or(defaults.body, |mib| mib as usize * 1024 * 1024),
            concurrent: self.max_requests.map_or(defaults.concurrent, |most| most as usize),
            concurrent_of_client: self.max_requests_of_client.map(|most| most as usize),
            memory_budget: self.memory_budget.map(|mib| mib << 20),
            ..defaults
        };
        let python = Python {
            interpreter: self.python,
            timeout: options.limits.deadline + Duration::from_secs(5),
            memory: Some(self.python_memory << 20),
            hidden: self.hide,
            trust: self.allow_pickle,
            ..Python::new(environments_dir())
        };
        let workers = self.python_workers.map_or(python.workers, |workers| workers as usize);
        let onnx_runtime = match self.onnxruntime {
            None => OnnxRuntime::find(&environments_dir()),
            Some(path) if path.as_os_str() == "fetch" => Some(OnnxRuntime::fetch(&environments_dir())?),
            Some(path) => Some(OnnxRuntime::at(&path)),
        };
        let runtimes = Runtimes { python: Some(Python { workers, ..python }), onnx_runtime };
        options.loader = Arc::new(move |revision| runtimes.load(revision));
        options.tls = self.tls_cert.zip(self.tls_key).map(|(chain, key)| Tls::read(&chain, &key)).transpose()?;
        towpath_serving::serve(options, end).await?;
        Ok(Exit::Done)
    }
}

/// Logs of a long-running process: readable on a terminal, JSON lines otherwise. `TOWPATH_LOG` says
/// how much (`debug`, `towpath_serving=trace`).
pub fn log_to_stderr() {
    let filter = EnvFilter::new(variable("TOWPATH_LOG").unwrap_or_else(|| "info".into()));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_the_name_that_is_given_or_that_of_its_file() {
        let named = |name: &str, path: &str| Ok((name.to_owned(), Place::Path(path.into())));
        assert_eq!(named_model("digits=models/a.onnx"), named("digits", "models/a.onnx"));
        assert_eq!(named_model("models/digits.onnx"), named("digits", "models/digits.onnx"));
        assert_eq!(named_model("models/digits/"), named("digits", "models/digits/"));
        let registered = |name: &str, version: &str| Ok((name.to_owned(), Place::Registry(version.to_owned())));
        assert_eq!(named_model("models:/digits@production"), registered("digits", "digits@production"));
        assert_eq!(named_model("models:/digits/latest"), registered("digits", "digits/latest"));
        assert_eq!(named_model("churn=models:/my churn/1"), registered("churn", "my churn/1"));
        assert!(named_model("..").unwrap_err().contains("NAME=PATH"));
        assert!(named_model("=models").unwrap_err().contains("NAME=PATH"));
    }
}
