//! The process that has a model loaded, and the workers that are forked from it.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use towpath_sandbox::Sandbox;

use crate::revision::lock;

/// Importing and loading.
const LOADS_WITHIN: Duration = Duration::from_mins(5);
/// Forking, and ending a worker.
const OBEYS_WITHIN: Duration = Duration::from_secs(20);
/// Of what was written to standard error last.
const LAST_LINES: usize = 20;
/// No model answers more.
const LONGEST_ANSWER: usize = 1 << 30;

/// How to start the process.
pub(super) struct Start {
    pub(super) interpreter: PathBuf,
    /// Folders and files that the model may not read, but for these.
    pub(super) hidden: Vec<PathBuf>,
    pub(super) readable: Vec<PathBuf>,
    /// For `worker.py`, but for the socket.
    pub(super) settings: serde_json::Value,
}

/// Variables that a model may need to find libraries and the network.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];

/// The process that loaded the model. It runs no request.
pub(super) struct Parent {
    child: Child,
    commands: ChildStdin,
    replies: Receiver<String>,
    listener: UnixListener,
    said: Arc<Mutex<VecDeque<String>>>,
    /// Its socket, its script, and where its model may write.
    _scratch: tempfile::TempDir,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reply {
    ready: bool,
    failed: Option<String>,
    width: Option<usize>,
    python: Option<String>,
    forked: Option<u32>,
    ended: Option<i32>,
}

/// What a model says of itself when it is loaded.
pub(super) struct Loaded {
    /// Columns of its matrix, when it knows.
    pub(super) width: Option<usize>,
    pub(super) python: String,
}

impl Parent {
    /// Starts the process and waits until the model is loaded.
    pub(super) fn start(start: &Start) -> Result<(Self, Loaded), String> {
        let broken = |error: io::Error| format!("its process cannot be started: {error}");
        let scratch = tempfile::Builder::new().prefix("towpath-model-").tempdir().map_err(broken)?;
        let script = scratch.path().join("worker.py");
        std::fs::write(&script, include_str!("worker.py")).map_err(broken)?;
        let socket = scratch.path().join("socket");
        let listener = UnixListener::bind(&socket).map_err(broken)?;
        let mut settings = start.settings.clone();
        settings["socket"] = json!(socket);
        let mut command = Command::new(&start.interpreter);
        command
            .args(["-I", "-B", "-u"])
            .args([script.as_os_str(), settings.to_string().as_ref()])
            .current_dir(scratch.path())
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs([("HOME", scratch.path()), ("TMPDIR", scratch.path())])
            // One request at a time in each worker: more threads would take the cores of others.
            .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, "1")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let sandbox = Sandbox::new([scratch.path().to_owned()]).hiding(&start.hidden, &start.readable);
        let (mut child, level) = sandbox.spawn(command).map_err(broken)?;
        tracing::debug!(pid = child.id(), sandbox = level.0, "a process loads a model of Python");
        let (Some(commands), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("its process has no pipes".to_owned());
        };
        let (lines, replies) = channel();
        std::thread::spawn(move || {
            let lines_of = BufReader::new(output).lines().map_while(Result::ok);
            lines_of.take_while(|line| lines.send(line.clone()).is_ok()).for_each(drop);
        });
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                tracing::debug!(line, "a model says");
                let mut heard = lock(&heard);
                if heard.len() == LAST_LINES {
                    heard.pop_front();
                }
                heard.push_back(line);
            }
        });
        let mut parent = Self { child, commands, replies, listener, said, _scratch: scratch };
        let reply = parent.reply(LOADS_WITHIN)?;
        match reply {
            Reply { failed: Some(error), .. } => Err(error),
            Reply { ready: true, width, python, .. } => {
                Ok((parent, Loaded { width, python: python.unwrap_or_default() }))
            }
            _ => Err("its process said something else than that it is ready".to_owned()),
        }
    }

    /// A new worker, with the model as it was loaded.
    pub(super) fn fork(&mut self, timeout: Duration) -> Result<Worker, String> {
        let reply = self.ask(&json!({"fork": true}))?;
        let pid = reply.forked.ok_or("it did not fork")?;
        // It connected before it replied.
        let (stream, _) = self.listener.accept().map_err(|error| error.to_string())?;
        let limits = stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout)));
        limits.map_err(|error| error.to_string())?;
        let mut worker = Worker { pid, stream, answered: 0, born_with: 0 };
        worker.born_with = worker.resident();
        Ok(worker)
    }

    /// Makes sure that a worker is gone. What it ended with, if by itself.
    pub(super) fn end(&mut self, worker: Worker) -> Result<Option<i32>, String> {
        let Worker { pid, stream, .. } = worker;
        drop(stream);
        Ok(self.ask(&json!({ "end": pid }))?.ended)
    }

    fn ask(&mut self, command: &serde_json::Value) -> Result<Reply, String> {
        let written = self.commands.write_all(format!("{command}\n").as_bytes());
        written.and_then(|()| self.commands.flush()).map_err(|error| self.gone(&error.to_string()))?;
        self.reply(OBEYS_WITHIN)
    }

    fn reply(&mut self, patience: Duration) -> Result<Reply, String> {
        match self.replies.recv_timeout(patience) {
            Ok(line) => serde_json::from_str(&line).map_err(|error| format!("its process said '{line}': {error}")),
            Err(RecvTimeoutError::Timeout) => Err(format!("its process did nothing for {} s", patience.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err(self.gone("it closed its output")),
        }
    }

    fn gone(&mut self, cause: &str) -> String {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => format!("{status}"),
            _ => cause.to_owned(),
        };
        let said = lock(&self.said).iter().cloned().collect::<Vec<_>>().join("\n");
        let said = if said.is_empty() { said } else { format!(": {said}") };
        format!("its process has ended, {status}{said}")
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A process that runs one request at a time.
pub(super) struct Worker {
    pid: u32,
    stream: UnixStream,
    pub(super) answered: u64,
    /// Bytes of memory at its start.
    pub(super) born_with: u64,
}

impl Worker {
    /// Sends a request and waits for the answer. After an error the worker is of no use.
    pub(super) fn ask(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidData, "more than 1 GiB");
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= LONGEST_ANSWER).ok_or_else(too_long)?;
        // One write for what is small: the worker wakes up once.
        if body.len() < 1 << 16 {
            self.stream.write_all(&[&length.to_le_bytes()[..], body].concat())?;
        } else {
            self.stream.write_all(&length.to_le_bytes())?;
            self.stream.write_all(body)?;
        }
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_le_bytes(head) as usize;
        if length > LONGEST_ANSWER {
            return Err(too_long());
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        self.answered += 1;
        Ok(answer)
    }

    /// Bytes of memory that are its own or shared.
    pub(super) fn resident(&self) -> u64 {
        let statm = std::fs::read_to_string(Path::new("/proc").join(self.pid.to_string()).join("statm"));
        let pages = statm.ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
        pages * rustix::param::page_size() as u64
    }
}
