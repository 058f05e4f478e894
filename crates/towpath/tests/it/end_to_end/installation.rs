//! A server with a data directory of its own, a repository to push to it, and clients of both planes.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use towpath_api::control::DeploymentState;

use crate::program::{Home, text};

/// Longest wait for anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two stages: the first one sorts words, the second one makes a model of handwritten digits. Other
/// words make another version of it.
const PIPELINE: &str = "\
stages:
  prepare:
    cmd: sort words.txt > sorted.txt
    deps:
    - words.txt
    outs:
    - sorted.txt
  train:
    cmd: sh train.sh
    deps:
    - digits.onnx
    - sorted.txt
    - train.sh
    outs:
    - model
    metrics:
    - metrics.json:
        cache: false
";

const TRAIN: &str = "\
mkdir -p model
cp digits.onnx model/model.onnx
cp sorted.txt model/words.txt
echo '{\"accuracy\": 0.9}' > metrics.json
";

pub(super) struct Installation {
    pub(super) home: Home,
    pub(super) url: String,
    server: Option<Child>,
    /// Instead of the file in the data directory.
    pub(super) database_url: Option<String>,
    /// Whether the server installs packages, out of what this machine has already.
    pub(super) installs: bool,
    /// More variables of the server.
    pub(super) variables: Vec<(&'static str, PathBuf)>,
    http: reqwest::Client,
    /// What requests and pushes are made with; none while the server has no accounts.
    token: Option<String>,
}

/// What a data plane answered to a prediction.
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) revision: String,
    /// The digits that the model sees in the images.
    pub(super) digits: Vec<i64>,
}

/// Looks again and again until there is something, at most [`PATIENCE`].
pub(super) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn is_alive(pid: u32) -> bool {
    // A process that has ended and that nobody has asked for is not alive.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(super) fn kill(pid: u32) {
    signal("-KILL", pid);
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Packages come as this machine reaches their registry, out of what it has already.
pub(super) fn as_this_machine_installs(command: &mut Command) {
    let of_the_machine = |name: &str| {
        ["SSL_CERT_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].iter().any(|start| name.starts_with(start))
    };
    command.envs(std::env::vars().filter(|(name, _)| of_the_machine(name)));
    if let Some(home) = std::env::var_os("HOME") {
        command.env("UV_CACHE_DIR", Path::new(&home).join(".cache/uv"));
    }
}

/// Four images and the digits in them.
fn images() -> Value {
    serde_json::from_str(include_str!("../../../../serving/testdata/onnx/digits_logistic_f32.json")).unwrap()
}

impl Installation {
    /// A repository with the pipeline, whose model goes to the environments that are given as YAML;
    /// its server runs.
    pub(super) async fn with_environments(environments: &str) -> Self {
        let mut installation = Self::stopped();
        installation.write_project(environments);
        installation.start().await;
        installation
    }

    /// The same with one environment that every version goes to at once.
    pub(super) async fn serving_at_once() -> Self {
        Self::with_environments("  production: {rollout: {strategy: all_at_once}}\n").await
    }

    /// A repository with the pipeline; no server runs.
    pub(super) fn stopped() -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = Home::repository();
        home.git(&["config", "user.name", "ds-1"]);
        home.git(&["config", "user.email", "ds-1@example.org"]);
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../serving/testdata/onnx/digits_logistic_f32.onnx");
        fs::copy(model, home.path("digits.onnx")).unwrap();
        let files = [("dvc.yaml", PIPELINE), ("train.sh", TRAIN), ("words.txt", "b\na\n")];
        for (name, content) in files {
            home.write(name, content);
        }
        fs::create_dir(home.outside("tmp")).unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self {
            home,
            url: String::new(),
            server: None,
            database_url: None,
            installs: false,
            variables: Vec::new(),
            http,
            token: None,
        }
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.home.outside("data")
    }

    /// Where the server and its children put what they throw away.
    fn temporary(&self) -> PathBuf {
        self.home.outside("tmp")
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        self.home.write(name, content);
    }

    /// The server's command, on a port of its own.
    pub(super) fn server_command(&self, listen: &str) -> Command {
        let mut command = self.home.towpath(&["server", "--listen", listen, "--data-dir"]);
        command.arg(self.data_dir()).env("TMPDIR", self.temporary());
        if let Some(url) = &self.database_url {
            command.env("TOWPATH_DATABASE_URL", url);
        }
        if self.installs {
            as_this_machine_installs(&mut command);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The project file, with environments as YAML.
    pub(super) fn write_project(&self, environments: &str) {
        self.write("towpath.yaml", &format!("model: {{name: digits, path: model}}\nenvironments:\n{environments}"));
    }

    /// Starts the server, and waits until it answers.
    pub(super) async fn start(&mut self) {
        assert!(self.server.is_none());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.home.outside("server.log")).unwrap();
        let server = self.server_command("127.0.0.1:0").stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let pid = server.id();
        self.server = Some(server);
        let file = self.data_dir().join("server.json");
        self.url = eventually("the server tells its address", async || {
            let running: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
            (running["pid"] == pid).then(|| running["url"].as_str().unwrap().to_owned())
        })
        .await;
        eventually("the server is ready", async || {
            let answer = self.http.get(format!("{}/readyz", self.url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    pub(super) fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        let status = server.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it was still running");
    }

    /// Asks the server to end, and waits for that.
    pub(super) async fn terminate_server(&mut self) -> ExitStatus {
        let mut server = self.server.take().unwrap();
        signal("-TERM", server.id());
        eventually("the server has ended", async || server.try_wait().unwrap()).await
    }

    /// Stages and data planes: they work in the server's folders or have them in their arguments.
    pub(super) fn children(&self) -> Vec<u32> {
        let server = self.server.as_ref().map(Child::id);
        let folders = [self.data_dir(), self.temporary()];
        let of_ours = |process: &Path| {
            let arguments = text(&fs::read(process.join("cmdline")).unwrap_or_default());
            let works_in = fs::read_link(process.join("cwd")).unwrap_or_default();
            folders.iter().any(|folder| works_in.starts_with(folder) || arguments.contains(folder.to_str().unwrap()))
        };
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
        let pids = processes.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            (Some(pid) != server && of_ours(&entry.path()) && is_alive(pid)).then_some(pid)
        });
        pids.collect()
    }

    /// Makes users with a token for each: (name, roles). The first one is the author of all commits and
    /// who makes the requests from now on. Their secrets, in this order.
    pub(super) async fn accounts(&mut self, users: &[(&str, &[&str])]) -> Vec<String> {
        let mut secrets = Vec::new();
        for (name, _) in users {
            let user = json!({"name": name, "emails": [format!("{name}@example.org")]});
            let owner = self.owner_token();
            assert_eq!(self.call("POST", "/api/v1/users", Some(&owner), Some(user)).await.0, 201);
        }
        for (name, roles) in users {
            secrets.push(self.another_token(name, roles).await);
        }
        self.token = secrets.first().cloned();
        secrets
    }

    /// The secret of one more token of a user.
    pub(super) async fn another_token(&self, user: &str, roles: &[&str]) -> String {
        let (owner, asked) = (self.owner_token(), json!({"user": user, "roles": roles}));
        let (status, token) = self.call("POST", "/api/v1/tokens", Some(&owner), Some(asked)).await;
        assert_eq!(status, 201, "{token}");
        token["secret"].as_str().unwrap().to_owned()
    }

    fn owner_token(&self) -> String {
        fs::read_to_string(self.data_dir().join("owner.token")).unwrap()
    }

    /// Status and body, as JSON where it is.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        if let Some(token) = token.or(self.token.as_deref()) {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", &format!("/api/v1{path}"), None, None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// The JSON at any address.
    pub(super) async fn http_get(&self, url: &str) -> Value {
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// A command in the repository, as the user whose token it is.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.home.command(program);
        // The hook of the repository calls the program by its name.
        let ours = Path::new(env!("CARGO_BIN_EXE_towpath")).parent().unwrap().to_owned();
        let theirs = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&theirs))).unwrap();
        command.env("PATH", path).env("TOWPATH_SERVER", &self.url).env("GIT_TERMINAL_PROMPT", "0");
        if let Some(token) = &self.token {
            command.env("TOWPATH_TOKEN", token);
        }
        command
    }

    /// Where `git` finds the project on the server, with the user's token as the password.
    pub(super) fn git_url(&self) -> String {
        let login = self.token.as_ref().map_or("http://".into(), |token| format!("http://ds-1:{token}@"));
        format!("{}/git/digits.git", self.url.replace("http://", &login))
    }

    /// Commits everything and pushes it, data first.
    pub(super) fn push(&self, message: &str) {
        self.commit_and_push(message, &[]);
    }

    /// The same without the repository's hook, which reads the pipeline as well.
    pub(super) fn push_unseen(&self, message: &str) {
        self.commit_and_push(message, &["--no-verify"]);
    }

    fn commit_and_push(&self, message: &str, options: &[&str]) {
        self.home.git(&["add", "--all"]);
        self.home.git(&["commit", "--quiet", "--message", message]);
        let mut push = self.command("git");
        let pushed =
            push.args(["push", "--quiet"]).args(options).args([&self.git_url(), "HEAD:main"]).output().unwrap();
        assert!(pushed.status.success(), "{}", said(&pushed));
    }

    /// Pushes words that were not there before: another version of the model.
    pub(super) fn push_words(&self, words: &str) {
        self.write("words.txt", words);
        self.push("Other words");
    }

    /// Waits until a run is over.
    pub(super) async fn ended(&self, number: i64) -> Value {
        eventually("the run is over", async || {
            let (status, run) = self.call("GET", &format!("/api/v1/projects/digits/runs/{number}"), None, None).await;
            let over = status == 200 && !["queued", "running"].contains(&run["status"].as_str()?);
            over.then_some(run)
        })
        .await
    }

    /// Waits until a stage has printed a line that begins so; the rest of the line.
    pub(super) async fn printed(&self, number: i64, stage: &str, beginning: &str) -> String {
        eventually("the stage has printed its line", async || {
            let log = format!("/api/v1/projects/digits/runs/{number}/stages/{stage}/log");
            let (_, log) = self.call("GET", &log, None, None).await;
            let mut lines = log["lines"].as_array()?.iter().filter_map(|line| line["text"].as_str());
            lines.find_map(|line| line.strip_prefix(beginning)).map(str::to_owned)
        })
        .await
    }

    /// Waits until the release is in this state; fails when it ends in another one.
    pub(super) async fn reaches(&self, release: i64, state: &str) -> Value {
        eventually(&format!("release {release} is {state}"), async || {
            let (_, release) = self.call("GET", &format!("/api/v1/releases/{release}"), None, None).await;
            let now = release["state"].as_str()?;
            let ended = ["rejected", "rolled_back", "superseded", "failed"].contains(&now);
            assert!(now == state || !ended, "{now}: {}", release["reason"]);
            (now == state).then_some(release)
        })
        .await
    }

    /// Kinds of the ledger's entries about a release, oldest first; the ledger itself is intact.
    pub(super) async fn told(&self, release: i64) -> Vec<String> {
        assert_eq!(self.get("/audit/verify").await["intact"], true);
        let release = self.get(&format!("/releases/{release}")).await;
        let entries = release["history"].as_array().unwrap().iter().rev();
        entries.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The address of the deployment in production.
    pub(super) async fn address(&self) -> String {
        self.get("/deployments/digits/production").await["address"].as_str().unwrap().to_owned()
    }

    /// What the data plane in production says of itself, without the server.
    pub(super) async fn data_plane(&self, address: &str) -> Option<DeploymentState> {
        let token = self.data_dir().join("deployments/digits/production/control.token");
        let token = fs::read_to_string(token).unwrap();
        let call = self.http.get(format!("{address}/control/state")).bearer_auth(token).send();
        call.await.ok()?.json().await.ok()
    }

    /// Waits until the candidate of a rollout gets traffic; the data plane as it is then.
    pub(super) async fn canary_begins(&self, address: &str) -> DeploymentState {
        eventually("the candidate gets traffic", async || {
            let state = self.data_plane(address).await?;
            state.rollout.as_ref().is_some_and(|rollout| rollout.weight > 0.0).then_some(state)
        })
        .await
    }

    /// Sends the images; what went wrong, when it did.
    pub(super) async fn predict(&self, address: &str, key: &str) -> Result<Answer, String> {
        let input = &images()["inputs"][0];
        let body = json!({"inputs": [
            {"name": input["name"], "shape": input["shape"], "datatype": "FP32", "data": input["data"]},
        ]});
        let (status, answer) = self.post(address, "/v2/models/digits/infer", Some(key), body.to_string()).await?;
        if status != 200 {
            return Err(format!("{status}: {answer}"));
        }
        let said = |name: &str| answer["parameters"][name].as_str().unwrap().to_owned();
        let digits = answer["outputs"][0]["data"].as_array().unwrap().iter().map(|digit| digit.as_i64().unwrap());
        Ok(Answer { id: said("prediction_id"), revision: said("revision"), digits: digits.collect() })
    }

    /// The same; the answer is the right one.
    pub(super) async fn predict_right(&self, address: &str, key: &str) -> Answer {
        let answer = self.predict(address, key).await.unwrap();
        let right: Vec<i64> =
            images()["outputs"][0]["data"].as_array().unwrap().iter().map(|d| d.as_i64().unwrap()).collect();
        assert_eq!(answer.digits, right);
        answer
    }

    /// Says what was in the images of a prediction.
    pub(super) async fn label(&self, address: &str, answer: &Answer, digits: &[i64]) {
        let label = json!({"prediction_id": answer.id, "label": digits});
        let (status, counted) = self.post(address, "/feedback", None, label.to_string()).await.unwrap();
        assert_eq!((status, &counted["accepted"]), (200, &json!(1)), "{counted}");
    }

    /// Posts a body to a data plane.
    pub(super) async fn post(
        &self,
        address: &str,
        path: &str,
        key: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Result<(u16, Value), String> {
        let mut request =
            self.http.post(format!("{address}{path}")).header("content-type", "application/json").body(body);
        if let Some(key) = key {
            request = request.header("x-towpath-key", key);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for pid in self.children() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        if std::thread::panicking()
            && let Ok(log) = fs::read(self.home.outside("server.log"))
        {
            let log = text(&log);
            let from = log.len().saturating_sub(6000);
            let _ = std::io::Write::write_all(&mut std::io::stderr(), log.get(from..).unwrap_or_default().as_bytes());
        }
    }
}

/// What a program said and how it ended, for a message.
pub(super) fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
