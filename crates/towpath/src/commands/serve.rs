use std::fs;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use towpath_serving::{Address, Options, Source, Tls};
use tracing_subscriber::EnvFilter;

use crate::config::variable;
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
    #[arg(long, value_name = "DIR", required_unless_present = "model")]
    state_dir: Option<PathBuf>,
    /// Let a server with this secret set the routing table
    #[arg(
        long,
        value_name = "FILE",
        requires = "state_dir",
        required_unless_present = "model",
        conflicts_with = "model"
    )]
    control_token_file: Option<PathBuf>,
    /// Serve this model file or folder, under this name
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    model: Vec<(String, PathBuf)>,
    /// End with whoever started it and holds the other end of standard input
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if towpath_core::names::is_valid_name(name) && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("expected NAME=PATH".into()),
    }
}

impl Serve {
    pub async fn run(self) -> Result<Exit, Error> {
        log_to_stderr();
        let source = match (self.control_token_file, self.state_dir) {
            (Some(file), Some(state_dir)) => {
                let control_token = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
                Source::Controlled { state_dir, control_token }
            }
            (_, state_dir) => Source::Standalone { models: self.model, state_dir },
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
