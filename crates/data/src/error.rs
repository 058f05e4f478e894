//! What can go wrong with data, in terms of files, fields and objects.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use towpath_core::{Classify, Kind};
use towpath_yaml::YamlError;

use crate::Oid;
use crate::locks::Holder;

/// Messages are fragments that fit behind "failed: "; paths are as the user would type them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("no .dvc folder in {} or a folder above it", from.display())]
    NotARepository { from: PathBuf },
    #[error("{} exists already", path.display())]
    AlreadyInitialised { path: PathBuf },
    #[error("{}, line {line}: {problem}", path.display())]
    Config { path: PathBuf, line: usize, problem: String },
    /// A `.dvc` file, with line and column.
    #[error(transparent)]
    Pointer(Box<YamlError>),

    #[error("'{0}' is not an object id: 32 lowercase hex digits, with '.dir' behind for a folder")]
    InvalidOid(String),
    #[error("manifest {oid} is malformed: {problem}")]
    Manifest { oid: Oid, problem: String },
    #[error("object {expected} has the content of {found}")]
    Corrupt { expected: Oid, found: Oid },
    #[error("{chunks} of the chunks of {oid} are missing")]
    Incomplete { oid: Oid, chunks: usize },
    #[error("chunk {chunk} does not belong to {oid}")]
    ForeignChunk { oid: Oid, chunk: String },
    #[error("{} is damaged at byte {offset}", path.display())]
    DamagedChunk { path: PathBuf, offset: u64 },
    /// A recipe or a pack that is not one.
    #[error(transparent)]
    Chunks(#[from] towpath_chunks::Error),
    #[error("the transfer of {oid} broke off: {source}")]
    BrokenOff { oid: Oid, source: io::Error },
    #[error("{} of the objects of {path} {} not in the cache, first {}", oids.len(), if oids.len() == 1 { "is" } else { "are" }, first(oids))]
    NotInCache { path: String, oids: Vec<Oid> },

    #[error("{}: {problem}", path.display())]
    UnusablePath { path: PathBuf, problem: String },
    #[error("{} changed while it was read", path.display())]
    ChangedWhileRead { path: PathBuf },
    #[error("{path} is already tracked by {by}")]
    AlreadyTracked { path: String, by: String },
    #[error("{path} is tracked by git")]
    TrackedByGit { path: String },
    #[error("no such tracked file or folder: {path}")]
    NotTracked { path: String },
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    #[error("{url} does not say which version of the data it has: no ETag")]
    NoFingerprint { url: String },
    #[error("{} is no import", path.display())]
    NotAnImport { path: PathBuf },
    #[error("there is no {path} in {place}")]
    NoSuchPath { path: String, place: String },
    #[error("{path} has changes that are not in the cache and would be lost")]
    WouldOverwrite { path: String },

    #[error("another process holds {}{}", path.display(), pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    Locked { path: PathBuf, pid: Option<u32> },
    /// Another process reads or writes it, by the table of DVC (`rwlock`).
    #[error("'{}' is busy, it is being blocked by:\n{}", path.display(), holding(holders))]
    Busy { path: PathBuf, holders: Vec<Holder>, table: PathBuf },
    #[error("{} is damaged: {problem}", path.display())]
    LockTable { path: PathBuf, problem: String },
    #[error("there is a {name} hook already: {}", path.display())]
    HookExists { name: &'static str, path: PathBuf },
    #[error("git {what} failed: {stderr}")]
    Git { what: String, stderr: String },

    #[error("no default remote is configured")]
    NoDefaultRemote,
    #[error("no remote is called '{name}'{}", known(known_names))]
    UnknownRemote { name: String, known_names: Vec<String> },
    #[error("remote '{name}': {problem}")]
    RemoteConfig { name: String, problem: String },
    #[error("{url} answered {status}{}", if detail.is_empty() { String::new() } else { format!(": {detail}") })]
    RemoteAnswer {
        url: String,
        status: u16,
        detail: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// Who we are is not known there, or may not do it.
    #[error("{url} refuses: {problem}")]
    RemoteRefused { url: String, problem: String },
    #[error("{url} cannot {what}")]
    Unsupported { url: String, what: &'static str },
    #[error("there are no credentials for {url}")]
    NoCredentials { url: String },
    #[error("{url} cannot be reached: {problem}")]
    RemoteUnreachable { url: String, problem: String },
    #[error("{} of the objects {} missing on the remote and in the cache, first {}", oids.len(), if oids.len() == 1 { "is" } else { "are" }, first(oids))]
    Missing { oids: Vec<Oid> },
    #[error("the store at {url} keeps no versions, which version_aware needs")]
    KeepsNoVersions { url: String },
    #[error("{url} is imported by its versions, which the store keeps: it cannot go to a remote as well")]
    VersionToRemote { url: String },
    /// What whoever opens other repositories reports.
    #[error("{url}: {source}")]
    OtherRepository { url: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{} of the objects in {url} {} damaged: {}", oids.len(), if oids.len() == 1 { "is" } else { "are" }, listed(oids))]
    DamagedOnRemote { url: String, oids: Vec<Oid> },
}

/// The first ten.
fn listed(oids: &[Oid]) -> String {
    let mut names: Vec<String> = oids.iter().take(10).map(Oid::to_string).collect();
    if oids.len() > names.len() {
        names.push("...".to_owned());
    }
    names.join(", ")
}

/// A line for each process, as DVC lists them.
fn holding(holders: &[Holder]) -> String {
    let lines: Vec<String> = holders.iter().map(|holder| format!("  (PID {}): {}", holder.pid, holder.cmd)).collect();
    lines.join("\n")
}

fn first(oids: &[Oid]) -> String {
    oids.first().map_or_else(|| "none".to_owned(), Oid::to_string)
}

fn known(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; there are: {}", names.join(", ")) }
}

impl Error {
    /// For `map_err`: an I/O error with what was being done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The object turned out to have this MD5.
    pub(crate) fn corrupt(expected: &Oid, md5: [u8; 16]) -> Self {
        let of = if expected.is_dir() { Oid::of_dir } else { Oid::of_file };
        let found = of(md5, expected.hash_name());
        Self::Corrupt { expected: expected.clone(), found }
    }

    /// True when the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RemoteUnreachable { .. } | Self::BrokenOff { .. } => true,
            Self::Chunks(error) => error.kind() == Kind::Unavailable,
            Self::RemoteAnswer { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the remote asks to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RemoteAnswer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<YamlError> for Error {
    fn from(error: YamlError) -> Self {
        Self::Pointer(Box::new(error))
    }
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Kind::Exhausted
                }
                _ => Kind::Internal,
            },
            Self::NotARepository { .. }
            | Self::NoSuchPath { .. }
            | Self::NotInCache { .. }
            | Self::Missing { .. }
            | Self::NotTracked { .. }
            | Self::RemoteAnswer { status: 404, .. } => Kind::NotFound,
            Self::AlreadyInitialised { .. }
            | Self::Exists { .. }
            | Self::ChangedWhileRead { .. }
            | Self::AlreadyTracked { .. }
            | Self::TrackedByGit { .. }
            | Self::WouldOverwrite { .. }
            | Self::Locked { .. }
            | Self::Busy { .. }
            | Self::HookExists { .. }
            | Self::Incomplete { .. } => Kind::Conflict,
            Self::Chunks(error) => error.kind(),
            Self::DamagedChunk { .. } => Kind::Internal,
            Self::RemoteAnswer { status: 401, .. } | Self::RemoteRefused { .. } | Self::NoCredentials { .. } => {
                Kind::Unauthenticated
            }
            Self::RemoteAnswer { status: 403, .. } => Kind::Denied,
            Self::RemoteAnswer { status: 413 | 507, .. } => Kind::Exhausted,
            Self::RemoteAnswer { .. } | Self::RemoteUnreachable { .. } | Self::BrokenOff { .. } => Kind::Unavailable,
            Self::Config { .. }
            | Self::NotAnImport { .. }
            | Self::NoFingerprint { .. }
            | Self::LockTable { .. }
            | Self::Pointer(_)
            | Self::InvalidOid(_)
            | Self::Manifest { .. }
            | Self::Corrupt { .. }
            | Self::ForeignChunk { .. }
            | Self::UnusablePath { .. }
            | Self::Git { .. }
            | Self::NoDefaultRemote
            | Self::Unsupported { .. }
            | Self::DamagedOnRemote { .. }
            | Self::KeepsNoVersions { .. }
            | Self::VersionToRemote { .. }
            | Self::OtherRepository { .. }
            | Self::UnknownRemote { .. }
            | Self::RemoteConfig { .. } => Kind::Invalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Busy { table, .. } => {
                return vec![format!(
                    "if there are no such processes, remove '{}' and run the command again",
                    table.display()
                )];
            }
            Self::LockTable { .. } => "remove it when no dvc or towpath command is running",
            Self::NotARepository { .. } => "run `towpath init` in the root of the Git repository",
            Self::NotInCache { .. } => "fetch it with `towpath pull`",
            Self::ChangedWhileRead { .. } => "wait until nothing writes it and run the command again",
            Self::TrackedByGit { .. } => "stop Git from tracking it with `git rm -r --cached PATH`",
            Self::Exists { .. } => "choose another place with `--out`, or replace it with `--force`",
            Self::WouldOverwrite { .. } => "keep them with `towpath add`, or drop them with `--force`",
            Self::Locked { .. } => "wait for the other dvc or towpath command to end",
            Self::HookExists { .. } => "call `towpath push` from that hook yourself",
            Self::NoDefaultRemote => "add one with `dvc remote add -d NAME URL`",
            Self::RemoteRefused { .. } => {
                "check that `ssh` reaches the host, and the remote's user, keyfile and password"
            }
            Self::RemoteAnswer { status: 401, .. } => {
                "set `auth = basic`, `user` and `password` of the remote in .dvc/config.local"
            }
            Self::NoCredentials { .. } => {
                "set them in .dvc/config.local, in the environment, or where the store's own tools look for them"
            }
            Self::KeepsNoVersions { .. } => "switch versioning of the bucket on, or unset version_aware",
            Self::DamagedOnRemote { .. } => {
                "delete these objects from the remote and push them again from where they are whole"
            }
            Self::Missing { .. } => "push it from where it was added, with `towpath push`",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_forbidden_file_are_told_apart() {
        let kind = |kind: io::ErrorKind| Error::io("write", Path::new("a"))(kind.into()).kind();
        assert_eq!(kind(io::ErrorKind::StorageFull), Kind::Exhausted);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), Kind::Denied);
        assert_eq!(kind(io::ErrorKind::NotFound), Kind::NotFound);
    }

    #[test]
    fn messages_name_the_object_and_how_many_are_missing() {
        let oids = ["60b725f10c9c85c70d97880dfe8191b3", "92eb5ffee6ae2fec3ad71c777531578f"];
        let oids = oids.map(|oid| Oid::parse(oid).unwrap()).to_vec();
        let error = Error::NotInCache { path: "data".into(), oids };
        assert_eq!(
            error.to_string(),
            "2 of the objects of data are not in the cache, first 60b725f10c9c85c70d97880dfe8191b3"
        );
    }
}
