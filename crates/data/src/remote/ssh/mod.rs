//! A folder on a host that one can log in to: SFTP through the system's `ssh`, which brings the
//! user's `ssh_config`, known hosts, agent and Kerberos tickets.

mod pipe;
mod sftp;

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Download, Listed, Listing, Remote, Stat, Wanted, password};
use crate::Error;
use crate::config::RemoteConfig;

use sftp::{Failure, Reading, Session};

/// An OpenSSH server takes ten logins at a time that are not yet done.
const DEFAULT_SESSIONS: usize = 8;

/// For each answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A folder is listed in about as many requests as it has hundreds of files.
const NAMES_IN_AN_ANSWER: usize = 100;

/// Where to, and as whom.
#[derive(Debug)]
struct Login {
    remote: String,
    url: String,
    host: String,
    user: Option<String>,
    port: Option<u16>,
    keyfile: Option<PathBuf>,
    password: Option<String>,
    passphrase: Option<String>,
    gss_auth: Option<bool>,
    allow_agent: Option<bool>,
    timeout: Duration,
}

impl Login {
    /// What `ssh` is called with.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut option = |text: String| arguments.extend(["-o".to_owned(), text]);
        if self.password.is_none() && self.passphrase.is_none() {
            // Nobody can answer questions while data moves.
            option("BatchMode=yes".into());
        } else {
            option("NumberOfPasswordPrompts=1".into());
        }
        option(format!("ConnectTimeout={}", self.timeout.as_secs().max(1)));
        option("Compression=no".into());
        option("ForwardX11=no".into());
        option("ClearAllForwardings=yes".into());
        if let Some(port) = self.port {
            option(format!("Port={port}"));
        }
        if let Some(user) = &self.user {
            option(format!("User={user}"));
        }
        if let Some(keyfile) = &self.keyfile {
            option(format!("IdentityFile=\"{}\"", keyfile.display()));
            option("IdentitiesOnly=yes".into());
        }
        if let Some(gss_auth) = self.gss_auth {
            option(format!("GSSAPIAuthentication={}", if gss_auth { "yes" } else { "no" }));
        }
        if self.allow_agent == Some(false) {
            option("IdentityAgent=none".into());
        }
        arguments.extend(["-s", "--", &self.host, "sftp"].map(str::to_owned));
        arguments
    }

    fn bad(&self, problem: &str) -> Error {
        Error::RemoteConfig { name: self.remote.clone(), problem: problem.to_owned() }
    }

    /// By what `ssh` said: who is refused is not let in a moment later either.
    fn refused_or_unreachable(&self, problem: String) -> Error {
        let refused = ["Permission denied", "Host key verification failed", "Too many authentication failures"];
        if refused.iter().any(|words| problem.contains(words)) {
            Error::RemoteRefused { url: self.url.clone(), problem }
        } else {
            Error::RemoteUnreachable { url: self.url.clone(), problem }
        }
    }
}

/// Connections are kept and shared: each request takes one that is free, or opens another.
#[derive(Debug)]
pub struct SshRemote {
    login: Login,
    folder: String,
    free: Arc<Mutex<Vec<Session>>>,
    jobs: usize,
    uploads: AtomicU64,
}

impl SshRemote {
    pub fn open(config: &RemoteConfig) -> Result<Self, Error> {
        let rest = config.url.strip_prefix("ssh://").unwrap_or(&config.url);
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (host, None),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || host.starts_with('-') {
            return Err(config.bad(format!("'{host}' is no host")));
        }
        let port = config.text("port").or(port).map(|port| {
            port.trim().parse().map_err(|_| config.bad(format!("port must be a number up to 65535, found '{port}'")))
        });
        let user = config.text("user").or(user.map(|user| user.split(':').next().unwrap_or(user))).map(str::to_owned);
        let secret = |option: &str| match config.text(option) {
            Some(secret) => Ok(Some(secret.to_owned())),
            None if config.flag(&format!("ask_{option}")) == Some(true) => {
                password::ask(config, option, host, user.as_deref()).map(Some)
            }
            None => Ok(None),
        };
        let max_sessions = config.integer("max_sessions").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let jobs = config.jobs.unwrap_or(DEFAULT_SESSIONS).min(max_sessions.unwrap_or(usize::MAX));
        let login = Login {
            remote: config.name.clone(),
            url: config.url.clone(),
            password: secret("password")?,
            passphrase: secret("passphrase")?,
            host: host.to_owned(),
            port: port.transpose()?,
            keyfile: config.path("keyfile"),
            gss_auth: config.flag("gss_auth"),
            allow_agent: config.flag("allow_agent"),
            timeout: config.seconds("timeout").filter(|timeout| !timeout.is_zero()).unwrap_or(TIMEOUT),
            user,
        };
        let folder = format!("/{}", path.trim_matches('/')).trim_end_matches('/').to_owned();
        Ok(Self { login, folder, free: Arc::default(), jobs, uploads: AtomicU64::new(0) })
    }

    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.folder)
    }

    fn session(&self) -> Result<Session, Error> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| Session::open(&self.login), Ok)
    }

    fn keep(&self, session: Session) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// Runs requests on a connection, which is kept unless it broke.
    fn with<T>(&self, path: &str, work: impl FnOnce(&mut Session) -> Result<T, Failure>) -> Result<Option<T>, Error> {
        let mut session = self.session()?;
        let done = work(&mut session);
        if !matches!(done, Err(Failure::Broken(_))) {
            self.keep(session);
        }
        match done {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.is_no_such_file() => Ok(None),
            Err(failure) => Err(self.failed(path, failure)),
        }
    }

    fn failed(&self, path: &str, failure: Failure) -> Error {
        let url = self.login.url.clone();
        if failure.is_denied() {
            return Error::RemoteRefused { url, problem: format!("{path}: permission denied") };
        }
        let problem = match failure {
            Failure::Status(code, said) => format!("{path}: {said} (status {code})"),
            Failure::Broken(error) => format!("the connection broke: {error}"),
        };
        Error::RemoteUnreachable { url, problem }
    }

    fn list_folder(
        &self,
        key: &str,
        depth: usize,
        found: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let path = self.path(key);
        let names = self.with(&path, |session| session.list(path.trim_end_matches('/')))?.unwrap_or_default();
        for (name, attributes) in names {
            let key = format!("{key}{name}");
            let flow = if attributes.is_dir() {
                if depth == 0 {
                    ControlFlow::Continue(())
                } else {
                    self.list_folder(&format!("{key}/"), depth - 1, found)?
                }
            } else {
                found(Listed { key, size: attributes.size.unwrap_or_default(), etag: None })
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Deeper folders are not listed: a link may lead in a circle.
const DEEPEST: usize = 64;

/// Makes the folder of `path` and those above it, from the first that is missing.
fn make_folders(session: &mut Session, path: &str) -> Result<(), Failure> {
    let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) else { return Ok(()) };
    match session.make_dir(folder) {
        Err(failure) if failure.is_no_such_file() => {
            make_folders(session, folder)?;
            match session.make_dir(folder) {
                Err(Failure::Status(..)) if session.stat(folder).is_ok() => Ok(()),
                other => other,
            }
        }
        // It is there: version 3 has no word for that.
        Err(Failure::Status(..)) if session.stat(folder).is_ok() => Ok(()),
        other => other,
    }
}

impl Remote for SshRemote {
    fn url(&self) -> &str {
        &self.login.url
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        let path = self.path(key);
        let attributes = self.with(&path, |session| session.stat(&path))?;
        Ok(attributes.map(|attributes| Stat { size: attributes.size, ..Stat::default() }))
    }

    fn listing(&self) -> Listing {
        Listing::Pages(NAMES_IN_AN_ANSWER)
    }

    fn list(&self, prefix: &str, found: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
        self.list_folder(prefix, DEEPEST, found).map(drop)
    }

    fn upload(&self, key: &str, from: &Path) -> Result<Stat, Error> {
        let path = self.path(key);
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{path}.{}-{number}.tmp", std::process::id());
        let mut file = File::open(from).map_err(Error::io("read", from))?;
        let size = self.with(&path, |session| {
            let written = match session.write_file(&unfinished, &mut file) {
                Err(failure) if failure.is_no_such_file() => {
                    make_folders(session, &path)?;
                    session.write_file(&unfinished, &mut file)
                }
                other => other,
            };
            let size = match written {
                Err(failure @ Failure::Status(..)) => {
                    // A full disk, for example: what was written is of no use.
                    let _ = session.remove(&unfinished);
                    return Err(failure);
                }
                other => other?,
            };
            session.rename(&unfinished, &path)?;
            Ok(size)
        })?;
        let gone =
            || Error::RemoteUnreachable { url: self.login.url.clone(), problem: format!("{path} cannot be made") };
        Ok(Stat { size: Some(size.ok_or_else(gone)?), ..Stat::default() })
    }

    fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error> {
        let path = self.path(wanted.key);
        let mut session = self.session()?;
        let opened = session.stat(&path).and_then(|attributes| Ok((attributes, session.open_file(&path)?)));
        let (attributes, handle) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                if !matches!(failure, Failure::Broken(_)) {
                    self.keep(session);
                }
                return if failure.is_no_such_file() { Ok(None) } else { Err(self.failed(&path, failure)) };
            }
        };
        let size = attributes.size.unwrap_or_default();
        let offset = wanted.offset.min(size);
        let reading = Reading::new(handle, offset, size);
        let body = Body { session: Some(session), reading, block: Vec::new(), used: 0, free: Arc::clone(&self.free) };
        Ok(Some(Download { body: Box::new(body), offset, size: Some(size) }))
    }

    fn delete(&self, keys: &[String]) -> Result<(), Error> {
        for key in keys {
            let path = self.path(key);
            self.with(&path, |session| session.remove(&path))?;
        }
        Ok(())
    }
}

/// A file on its way. It has a connection to itself, and gives it back at the end.
struct Body {
    session: Option<Session>,
    reading: Reading,
    block: Vec<u8>,
    used: usize,
    free: Arc<Mutex<Vec<Session>>>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            let Some(session) = &mut self.session else { return Ok(0) };
            let next = session.read_ahead(&mut self.reading).and_then(|()| session.next_block(&mut self.reading));
            match next {
                Ok(block) => (self.block, self.used) = (block, 0),
                Err(failure) => {
                    self.session = None;
                    return Err(match failure {
                        Failure::Broken(error) => error,
                        Failure::Status(_, said) => io::Error::other(said),
                    });
                }
            }
        }
        let length = buffer.len().min(self.block.len() - self.used);
        buffer[..length].copy_from_slice(&self.block[self.used..self.used + length]);
        self.used += length;
        Ok(length)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(mut session) = self.session.take()
            && session.settle(&mut self.reading).is_ok()
        {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }
}
