//! The system's `ssh`, and its pipes with a deadline for each wait.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tempfile::TempDir;

use super::Login;
use crate::Error;

/// What `ssh` says when it fails, at most.
const SAID_BYTES: u64 = 4096;

/// Answers `ssh` when it asks for a secret; not when it asks whether a host is to be trusted.
const ASKPASS: &str = "#!/bin/sh
case \"$1\" in
  *yes/no*) exit 1 ;;
  *assphrase*) printf '%s\\n' \"$TOWPATH_SSH_PASSPHRASE\" ;;
  *) printf '%s\\n' \"$TOWPATH_SSH_PASSWORD\" ;;
esac
";

/// A running `ssh` with the SFTP subsystem of the other side behind its pipes. Ends with this value.
#[derive(Debug)]
pub(super) struct Pipe {
    child: Child,
    to: File,
    from: File,
    patience: Duration,
    said: Receiver<String>,
    /// Has the program that tells `ssh` secrets.
    _secrets: Option<TempDir>,
}

impl Pipe {
    pub(super) fn open(login: &Login) -> Result<Self, Error> {
        let unreachable = |problem: String| Error::RemoteUnreachable { url: login.url.clone(), problem };
        let mut command = Command::new("ssh");
        command.args(login.arguments());
        let secrets = if login.password.is_some() || login.passphrase.is_some() {
            let dir = tempfile::tempdir().map_err(|error| unreachable(error.to_string()))?;
            let program = dir.path().join("askpass");
            fs::write(&program, ASKPASS).map_err(Error::io("write", &program))?;
            let mode = Permissions::from_mode(0o700);
            fs::set_permissions(&program, mode).map_err(Error::io("set the mode of", &program))?;
            command.env("SSH_ASKPASS", &program).env("SSH_ASKPASS_REQUIRE", "force");
            command.env("TOWPATH_SSH_PASSWORD", login.password.as_deref().unwrap_or_default());
            command.env("TOWPATH_SSH_PASSPHRASE", login.passphrase.as_deref().unwrap_or_default());
            Some(dir)
        } else {
            None
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => login.bad("the program ssh is not installed or not on the PATH"),
            _ => unreachable(format!("ssh does not start: {error}")),
        })?;
        let (Some(to), Some(from), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(unreachable("ssh has no pipes".into()));
        };
        let (sender, said) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            let mut errors = errors;
            let _ = (&mut errors).take(SAID_BYTES).read_to_string(&mut text);
            // Nobody listens any more when the connection was good.
            let _ = sender.send(text);
            let _ = io::copy(&mut errors, &mut io::sink());
        });
        let (to, from) = (File::from(OwnedFd::from(to)), File::from(OwnedFd::from(from)));
        for end in [&to, &from] {
            let flags = fcntl_getfl(end).and_then(|flags| fcntl_setfl(end, flags | OFlags::NONBLOCK));
            flags.map_err(|error| unreachable(error.to_string()))?;
        }
        Ok(Self { child, to, from, patience: login.timeout, said, _secrets: secrets })
    }

    /// What `ssh` said on its way out, for who found its pipes closed.
    pub(super) fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        self.said.recv_timeout(Duration::from_secs(1)).unwrap_or_default().trim().to_owned()
    }

    fn wait(end: BorrowedFd<'_>, what: PollFlags, patience: Duration) -> io::Result<()> {
        let deadline = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(end, what)], Some(&deadline))? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()))),
            _ => Ok(()),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.from.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Self::wait(self.from.as_fd(), PollFlags::IN, self.patience)?;
                }
                other => return other,
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Self::wait(self.to.as_fd(), PollFlags::OUT, self.patience)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It is gone already, or it goes now; either way it is waited for, so that no zombie stays.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
