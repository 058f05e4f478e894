//! A server of its own for a test, in the home of the program.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Home, text};

/// A server that ends with the value.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(home: &Home) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = home.outside("data").display().to_string();
        let mut command = home.towpath(&["server", "--listen", &format!("127.0.0.1:{port}"), "--data-dir", &data]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { process, url: format!("http://127.0.0.1:{port}") };
        server.wait_for_experiments(home, |_| true);
        server
    }

    /// Waits for what its list of experiments is to show.
    pub(crate) fn wait_for_experiments(&self, home: &Home, shows: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let output = home.run(&["--server", &self.url, "--json", "experiment", "ls"]);
            if output.status.success() && shows(&serde_json::from_slice(&output.stdout).unwrap()) {
                return;
            }
            assert!(Instant::now() < deadline, "{}{}", text(&output.stdout), text(&output.stderr));
        }
    }
}

impl Server {
    /// A call of MLflow's API, below `/api/2.0/mlflow`.
    pub(crate) fn mlflow(&self, path: &str, body: &Value) -> Value {
        // Fails only when there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("{}/api/2.0/mlflow/{path}", self.url);
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let response = reqwest::Client::new().post(url).json(body).send().await.unwrap();
            assert!(response.status().is_success(), "{path}: {}", response.status());
            response.json().await.unwrap()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
