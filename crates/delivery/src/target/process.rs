//! One `towpath serve` process: its folder, its secret, its log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::local::LocalConfig;

/// Size from which a log is put aside when the process starts.
const LONGEST_LOG: u64 = 8 << 20;

/// The files of a data plane: `<folder>/{control.token,serve.log,state/}`.
#[derive(Clone, Debug)]
pub(super) struct Home {
    folder: PathBuf,
}

impl Home {
    /// Makes the folder, readable by nobody else.
    pub(super) fn at(folder: PathBuf) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    fn token_file(&self) -> PathBuf {
        self.folder.join("control.token")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("serve.log")
    }

    /// The control token, made when there is none: 256 random bits in hex.
    pub(super) fn token(&self) -> io::Result<String> {
        let path = self.token_file();
        match fs::read_to_string(&path) {
            Ok(token) if token.trim().len() >= 32 => return Ok(token.trim().to_owned()),
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let token = hex::encode(bytes);
        // Written beside and renamed: killed half-way, there is no half of a token.
        let beside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        Ok(token)
    }

    /// Starts the process in a process group of its own, so that what ends the control plane does not
    /// end it.
    pub(super) fn start(&self, config: &LocalConfig, port: u16) -> io::Result<Child> {
        self.command(config, port)?.stdin(Stdio::null()).spawn()
    }

    /// Starts the process for as long as the child's standard input is held: it ends with the control
    /// plane, also when that is killed.
    pub(super) fn start_bound(&self, config: &LocalConfig, port: u16) -> io::Result<Child> {
        self.command(config, port)?.arg("--until-stdin-closes").stdin(Stdio::piped()).spawn()
    }

    fn command(&self, config: &LocalConfig, port: u16) -> io::Result<Command> {
        let log = self.open_log()?;
        let mut command = Command::new(&config.executable);
        command
            .arg("serve")
            .arg("--state-dir")
            .arg(self.folder.join("state"))
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .arg("--control-token-file")
            .arg(self.token_file())
            // Code that a model brings must not read the secrets of the server.
            .arg("--hide")
            .arg(&config.data_dir)
            .arg("--hide")
            .arg(&self.folder)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(command)
    }

    fn open_log(&self) -> io::Result<File> {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LONGEST_LOG) {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }
}

/// A port that nobody listens on at this moment.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Asks the process to end and waits until it is gone; ends it by force after `patience`.
pub(super) async fn stop(pid: u32, child: Option<&mut Child>, patience: Duration) {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // A process that has gone meanwhile is what is wanted.
    let _ = kill_process(process, Signal::TERM);
    if let Some(child) = child {
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        return;
    }
    let deadline = Instant::now() + patience;
    while test_kill_process(process).is_ok() {
        if Instant::now() > deadline {
            let _ = kill_process(process, Signal::KILL);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("digits/staging")).unwrap();
        let token = home.token().unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(home.token().unwrap(), token);
        let mode = fs::metadata(home.token_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_process_is_stopped_also_when_it_is_not_our_child() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().unwrap();
        // The child is reaped beside, as the init process would reap an adopted one.
        let reaper = tokio::spawn(async move { child.wait().await });
        stop(pid, None, Duration::from_secs(10)).await;
        assert!(!reaper.await.unwrap().unwrap().success());
    }
}
