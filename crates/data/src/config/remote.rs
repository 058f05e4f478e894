//! A remote as it is configured: its kind, its url, its options with their types.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{RemoteOptions, schema};
use crate::Error;

/// How a remote is spoken to, by the scheme of its url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteKind {
    /// A folder.
    Local,
    Http,
    WebDav,
    Ssh,
    S3,
    Gs,
    Azure,
    Hdfs,
    WebHdfs,
    Oss,
    GoogleDrive,
}

impl RemoteKind {
    pub(crate) fn of_scheme(scheme: &str) -> Option<Self> {
        Some(match scheme {
            "" => Self::Local,
            "http" | "https" => Self::Http,
            "webdav" | "webdavs" => Self::WebDav,
            "ssh" => Self::Ssh,
            "s3" => Self::S3,
            "gs" => Self::Gs,
            "azure" => Self::Azure,
            "hdfs" => Self::Hdfs,
            "webhdfs" => Self::WebHdfs,
            "oss" => Self::Oss,
            "gdrive" => Self::GoogleDrive,
            _ => return None,
        })
    }

    /// Stores of this kind can keep the old versions of a file.
    pub(crate) fn keeps_versions(self) -> bool {
        self.version_mark().is_some()
    }

    /// What stands in an address between the path and a version of it.
    fn version_mark(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some("?versionId="),
            Self::Azure => Some("?versionid="),
            Self::Gs => Some("#"),
            _ => None,
        }
    }

    /// The path and the version that an address names.
    pub(crate) fn split_version(self, address: &str) -> (&str, Option<&str>) {
        match self.version_mark().and_then(|mark| address.rsplit_once(mark)) {
            Some((path, version)) if !version.is_empty() && !version.contains('/') => (path, Some(version)),
            _ => (address, None),
        }
    }
}

/// A remote whose options are those that its kind has, each with a value of its type. Options keep
/// DVC's names; paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    pub name: String,
    pub kind: RemoteKind,
    /// With its scheme and without a slash at its end; an absolute folder for [`RemoteKind::Local`].
    pub url: String,
    /// Transfers at the same time, 1 to 256; `None`: as many as suit the machine.
    pub jobs: Option<usize>,
    pub(super) options: BTreeMap<String, String>,
}

impl RemoteConfig {
    /// Of an address that no configuration names.
    ///
    /// # Errors
    /// There are no remotes of that kind, or they have no such options.
    pub fn of_url(url: &str, options: &RemoteOptions) -> Result<Self, Error> {
        let scheme = schema::scheme(url);
        let bad = |problem: String| Error::RemoteConfig { name: url.to_owned(), problem };
        let kind =
            RemoteKind::of_scheme(&scheme).ok_or_else(|| bad(format!("there are no remotes with {scheme}://")))?;
        let remote = Self { name: url.to_owned(), kind, url: url.to_owned(), jobs: None, options: BTreeMap::new() };
        remote.with_options(options)
    }

    /// With other values of some options.
    ///
    /// # Errors
    /// Remotes of this kind have no such option, or not with this value.
    pub fn with_options(mut self, options: &RemoteOptions) -> Result<Self, Error> {
        let section = super::remote_section(&self.name);
        let keys = schema::keys_of(&section, &schema::scheme(&self.url)).unwrap_or_default();
        for (key, value) in options {
            let known = keys.concat().into_iter().find(|(known, _)| known == key);
            let (_, kind) = known.ok_or_else(|| self.bad(super::unknown_key(&section, key, &keys)))?;
            schema::check(kind, value, false).map_err(|problem| self.bad(format!("{key} {problem}")))?;
            self.options.insert(key.clone(), value.clone());
        }
        if let Some(jobs) = self.integer("jobs") {
            self.jobs = usize::try_from(jobs).ok().map(|jobs| jobs.min(super::MOST_JOBS));
        }
        Ok(self)
    }

    /// An option as it stands there, for example `region`.
    pub fn text(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// [`text`](Self::text), or an error that names the option and who needs it.
    pub fn required(&self, option: &str, by: &str) -> Result<&str, Error> {
        self.text(option).ok_or_else(|| self.bad(format!("{by} needs '{option}'")))
    }

    pub fn flag(&self, option: &str) -> Option<bool> {
        self.text(option).map(|value| value.eq_ignore_ascii_case("true"))
    }

    pub fn integer(&self, option: &str) -> Option<i64> {
        self.text(option)?.trim().parse().ok()
    }

    /// A time in seconds, with or without a fraction; negative ones are none.
    pub fn seconds(&self, option: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.text(option)?.trim().parse().ok()?).ok()
    }

    /// An option that names a file, absolute.
    pub fn path(&self, option: &str) -> Option<PathBuf> {
        self.text(option).map(PathBuf::from)
    }

    /// Which certificates of the other side are good, by the option `ssl_verify`.
    pub fn ssl_verify(&self) -> SslVerify {
        match self.text("ssl_verify") {
            Some(value) if value.eq_ignore_ascii_case("false") => SslVerify::Nothing,
            Some(value) if !value.eq_ignore_ascii_case("true") => SslVerify::Against(PathBuf::from(value)),
            _ => SslVerify::AsUsual,
        }
    }

    /// Objects are stored under the names of the files in the workspace, the store keeps the versions;
    /// so it is, too, for a [`worktree`](Self::is_worktree).
    pub fn is_version_aware(&self) -> bool {
        self.flag("version_aware") == Some(true) || self.is_worktree()
    }

    pub fn is_worktree(&self) -> bool {
        self.flag("worktree") == Some(true)
    }

    /// An error about this remote's configuration.
    pub fn bad(&self, problem: impl Into<String>) -> Error {
        Error::RemoteConfig { name: self.name.clone(), problem: problem.into() }
    }
}

/// See [`RemoteConfig::ssl_verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SslVerify {
    AsUsual,
    Nothing,
    /// PEM file of the authorities that count.
    Against(PathBuf),
}
