//! A server of its own for each test, and a repository to push to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use towpath_server::{Options, serve};

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) dir: TempDir,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    http: reqwest::Client,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), None).await
    }

    pub(crate) async fn start_in(dir: TempDir, database_url: Option<String>) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: dir.path().join("data"),
            database_url,
            artifact_root: None,
            environments_dir: dir.path().join("environments"),
            program: PathBuf::from("/bin/false"),
            run_slots: 2,
            stage_jobs: 2,
            strict_stages: false,
            webhooks: towpath_server::Reach::Public,
            capacity: towpath_server::Capacity::of_machine(),
        };
        let shutdown = CancellationToken::new();
        let (told, url) = tokio::sync::oneshot::channel();
        let ending = shutdown.clone();
        let task = tokio::spawn(async move {
            serve(options, ending, |url| told.send(url.to_owned()).unwrap()).await.unwrap();
        });
        let url = url.await.unwrap();
        Self { url, dir, shutdown, task, http: reqwest::Client::new() }
    }

    /// Ends it in order; what it kept.
    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.dir
    }

    pub(crate) fn owner_token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("data/owner.token")).unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", &format!("/api/v1{path}"), None, None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Waits for the end of a run.
    pub(crate) async fn ended(&self, project: &str, number: i64) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let (status, run) =
                self.call("GET", &format!("/api/v1/projects/{project}/runs/{number}"), None, None).await;
            let over = ["succeeded", "failed", "cancelled"];
            if status == 200 && over.contains(&run["status"].as_str().unwrap_or("")) {
                return run;
            }
            assert!(Instant::now() < deadline, "run {number} does not end: {run}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// A small repository: files given as (path, text).
pub(crate) struct Repo {
    pub(crate) dir: TempDir,
}

impl Repo {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Self { dir };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo.git(&["config", "user.name", "ds-1"]);
        repo.git(&["config", "user.email", "ds-1@example.org"]);
        towpath_data::Repository::init(repo.path()).unwrap();
        repo.write(files);
        repo.commit("first");
        repo
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.try_git(arguments);
        assert!(ok, "git {arguments:?}: {text}");
        text
    }

    pub(crate) fn try_git(&self, arguments: &[&str]) -> (bool, String) {
        let done = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// Pushes the head to `branch` of `project`.
    pub(crate) async fn push(&self, server: &Server, project: &str, branch: &str) {
        let url = format!("{}/git/{project}.git", server.url);
        let (path, branch) = (self.path().to_owned(), format!("HEAD:refs/heads/{branch}"));
        let done = tokio::task::spawn_blocking(move || {
            Command::new("git")
                .args(["push", "--quiet", &url, &branch])
                .current_dir(path)
                .env("GIT_TERMINAL_PROMPT", "0")
                .output()
                .unwrap()
        })
        .await
        .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A pipeline of two shell stages that makes a model and metrics.
pub(crate) const SHELL_PIPELINE: &[(&str, &str)] = &[
    (
        "dvc.yaml",
        "stages:\n  prepare:\n    cmd: sort words.txt > sorted.txt\n    deps:\n    - words.txt\n    outs:\n    - sorted.txt\n  \
         train:\n    cmd: sh train.sh\n    deps:\n    - sorted.txt\n    - train.sh\n    outs:\n    - model\n    \
         metrics:\n    - metrics.json:\n        cache: false\n",
    ),
    ("train.sh", "mkdir -p model\ncp sorted.txt model/model.onnx\necho '{\"accuracy\": 0.9}' > metrics.json\n"),
    (
        "towpath.yaml",
        "model: {name: words, path: model}\non: {push: {branches: [main]}}\nenvironments:\n  staging: {}\n",
    ),
    ("words.txt", "b\na\n"),
];
