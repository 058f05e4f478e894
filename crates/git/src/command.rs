//! One `git` process: its environment, its deadline, its bounded output.

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(30);
const OUTPUT_LIMIT: usize = 16 << 20;
const STDERR_LIMIT: usize = 4 << 10;

/// Variables of the caller that git needs; everything else (`GIT_DIR` of a hook, tokens) is dropped.
const KEPT_VARIABLES: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"];

pub(crate) struct Git {
    command: Command,
    /// The subcommand, for messages.
    what: String,
    deadline: Duration,
    limit: usize,
    stdin: Option<Vec<u8>>,
    /// `GIT_CONFIG_COUNT`, once it was changed.
    settings: Option<u32>,
}

pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    /// True when git had more to say than the limit.
    pub(crate) truncated: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// A git command on a repository of the server: nothing of the machine's configuration applies.
pub(crate) fn hermetic(git_dir: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    for name in KEPT_VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0");
    // The data directory may belong to another user than the one the server runs as (a mounted
    // volume); hooks are never ours.
    command.args(["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null"]);
    if let Some(dir) = git_dir {
        command.arg("--git-dir").arg(dir);
    }
    command
}

impl Git {
    /// `what` is the subcommand.
    pub(crate) fn in_repository(git_dir: &Path, what: &str) -> Self {
        Self::new(hermetic(Some(git_dir)), what)
    }

    /// With the user's environment and configuration, but not bound to the repository of a hook
    /// that may have started us.
    pub(crate) fn of_user(dir: &Path, what: &str) -> Self {
        let mut command = Command::new("git");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").arg("-C").arg(dir);
        Self::new(command, what)
    }

    pub(crate) fn new(mut command: Command, what: &str) -> Self {
        command.arg(what);
        Self { command, what: what.to_owned(), deadline: DEADLINE, limit: OUTPUT_LIMIT, stdin: None, settings: None }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// A setting for this command, on top of those that the caller's environment gives.
    pub(crate) fn config(mut self, key: &str, value: &str) -> Self {
        let taken = self.settings.unwrap_or_else(|| {
            std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
        });
        self.command
            .env(format!("GIT_CONFIG_KEY_{taken}"), key)
            .env(format!("GIT_CONFIG_VALUE_{taken}"), value)
            .env("GIT_CONFIG_COUNT", (taken + 1).to_string());
        self.settings = Some(taken + 1);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_path(mut self, name: &str, path: &Path) -> Self {
        self.command.env(name, path);
        self
    }

    pub(crate) fn directory(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    pub(crate) fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// The output of a command that must succeed, as text without the last line end.
    pub(crate) fn text(self) -> Result<String, Error> {
        let bytes = self.bytes()?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    /// The whole output of a command that must succeed.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, Error> {
        let (what, limit) = (self.what.clone(), self.limit);
        let output = self.run()?;
        if output.truncated {
            return Err(Error::TooLarge { what, limit });
        }
        match output.code {
            Some(0) => Ok(output.stdout),
            code => Err(Error::Failed { what, code, stderr: output.stderr }),
        }
    }

    /// Whatever it answers, within the deadline.
    pub(crate) fn run(mut self) -> Result<Output, Error> {
        let started = Instant::now();
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NotInstalled,
            _ => Error::Spawn { what: self.what.clone(), source },
        })?;
        if let (Some(bytes), Some(mut pipe)) = (self.stdin.take(), child.stdin.take()) {
            // A git that stops reading says why on stderr.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = child.stdout.take().map(|pipe| read_in_background(pipe, self.limit, true));
        let stderr = child.stderr.take().map(|pipe| read_in_background(pipe, STDERR_LIMIT, false));
        let mut gather = |pipe: Option<Receiver<io::Result<Gathered>>>| {
            let left = self.deadline.saturating_sub(started.elapsed());
            match pipe.map(|p| p.recv_timeout(left)) {
                Some(Ok(gathered)) => gathered.map_err(|source| Error::Spawn { what: self.what.clone(), source }),
                Some(Err(RecvTimeoutError::Timeout)) => {
                    end(&mut child);
                    Err(Error::TimedOut { what: self.what.clone(), deadline: self.deadline })
                }
                Some(Err(RecvTimeoutError::Disconnected)) | None => Ok(Gathered::default()),
            }
        };
        let out = gather(stdout)?;
        let err = gather(stderr)?;
        // Both pipes are closed: git is ending.
        let status = child.wait().map_err(|source| Error::Spawn { what: self.what.clone(), source })?;
        Ok(Output {
            stdout: out.bytes,
            truncated: out.truncated,
            code: status.code(),
            stderr: String::from_utf8_lossy(&err.bytes).trim().to_owned(),
        })
    }
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    truncated: bool,
}

/// Reads up to `limit` bytes. Behind that it closes the pipe (`stop`), or reads on and drops.
fn read_in_background(
    mut pipe: impl Read + Send + 'static,
    limit: usize,
    stop: bool,
) -> Receiver<io::Result<Gathered>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = (&mut pipe).take(limit as u64 + 1).read_to_end(&mut bytes);
        let truncated = bytes.len() > limit;
        bytes.truncate(limit);
        if truncated && !stop {
            drop(io::copy(&mut pipe, &mut io::sink()));
        }
        drop(pipe);
        drop(sender.send(read.map(|_| Gathered { bytes, truncated })));
    });
    receiver
}

/// Kills what does not end by itself. An error means that it has ended already.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Git {
        let mut command = Command::new("sh");
        command.arg("-c");
        Git::new(command, script)
    }

    #[test]
    fn a_command_that_hangs_is_ended_at_its_deadline() {
        let error = shell("exec sleep 60").deadline(Duration::from_millis(50)).run().map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }

    #[test]
    fn output_beyond_the_limit_is_an_error_and_does_not_block() {
        let error = shell("yes | head -c 10000000").limit(1000).bytes().unwrap_err();
        assert_eq!(error.to_string(), "git yes | head -c 10000000 answers with more than 1000 bytes");
    }

    #[test]
    fn a_failure_carries_what_git_said() {
        let error = shell("echo no such thing >&2; exit 3").bytes().unwrap_err();
        assert!(matches!(error, Error::Failed { code: Some(3), ref stderr, .. } if stderr == "no such thing"));
    }
}
