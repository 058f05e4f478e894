//! Where objects are shared: a folder, a web server, an object store.
//!
//! A remote holds files under keys. The objects of DVC 3 are at `files/md5/<2>/<rest>`, those of
//! DVC 2 at `<2>/<rest>`, the run cache at `runs/<2>/<key>/<value>`; a `version_aware` remote holds
//! files under their paths in the workspace.

mod batch;
mod certificates;
mod command;
mod http;
mod local;
mod object;
mod password;
mod ssh;
mod towpath;
mod webdav;

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use towpath_core::HashName;

use crate::config::{RemoteConfig, RemoteKind};
use crate::{Error, Oid};

pub use batch::Batch;
pub use http::HttpRemote;
pub use local::LocalRemote;
pub use object::ObjectRemote;
pub use ssh::SshRemote;
pub use webdav::WebDavRemote;

/// A place files are pushed to and pulled from. One request each: retries, parallelism and
/// verification are the transfer's. That a manifest is there means that its files are, too; whoever
/// uploads keeps to it.
///
/// Keys are relative to the remote's url, `/`-separated, without `.` and `..`. An error says by
/// [`Error::is_transient`] whether the same request may succeed a moment later, and by its kind
/// whether credentials are missing ([`towpath_core::Kind::Unauthenticated`]) or not enough
/// ([`towpath_core::Kind::Denied`]).
pub trait Remote: Send + Sync {
    /// As a person calls it: the url or folder.
    fn url(&self) -> &str;

    /// The most requests to make at a time.
    fn jobs(&self) -> usize;

    /// What is known of the file at `key`; `None` when there is none.
    fn stat(&self, key: &str) -> Result<Option<Stat>, Error>;

    /// As [`stat`](Self::stat), of a version that the remote keeps.
    fn stat_version(&self, _key: &str, _version: &str) -> Result<Option<Stat>, Error> {
        Err(Error::KeepsNoVersions { url: self.url().to_owned() })
    }

    fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.stat(key)?.is_some())
    }

    /// How listing compares with asking for single files.
    fn listing(&self) -> Listing;

    /// Tells `found` about every file whose key begins with the folder `prefix` (`files/md5/00/`;
    /// the empty one is the whole remote), in no particular order, until it breaks off.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when [`listing`](Self::listing) is [`Listing::Never`].
    fn list(&self, prefix: &str, found: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error>;

    /// What the remote can beyond single files; `None` for most. May ask the remote, once.
    fn batch(&self) -> Result<Option<Box<dyn Batch + '_>>, Error> {
        Ok(None)
    }

    /// Stores the file at `from` under `key`; what was there is replaced at once or not at all. The
    /// remote may keep what was sent of a large file, so that the same call later goes on with it.
    fn upload(&self, key: &str, from: &Path) -> Result<Stat, Error>;

    /// The file's bytes, not yet verified; `None` when the remote does not have it.
    fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error>;

    /// Removes files; those that are not there are no error.
    fn delete(&self, keys: &[String]) -> Result<(), Error>;
}

/// What a remote says of a file without sending it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// In bytes; `None` when the remote does not tell.
    pub size: Option<u64>,
    /// Without quotes.
    pub etag: Option<String>,
    /// Of a remote that keeps old versions.
    pub version: Option<String>,
}

/// A file that a listing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// In bytes.
    pub size: u64,
    pub etag: Option<String>,
}

/// What a listing costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// The remote cannot list.
    Never,
    /// Asking for a file is as cheap as listing it: a folder.
    AsAsking,
    /// One request lists this many files.
    Pages(usize),
}

/// What to download.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'k> {
    pub key: &'k str,
    /// `None`: the current one.
    pub version: Option<&'k str>,
    /// The first byte to send.
    pub offset: u64,
}

impl<'k> Wanted<'k> {
    /// The whole of the current version.
    pub fn whole(key: &'k str) -> Self {
        Self { key, version: None, offset: 0 }
    }
}

/// A file on its way.
pub struct Download {
    pub body: Box<dyn Read + Send>,
    /// Where `body` begins: at the wanted offset, or at 0 when the remote cannot begin in the middle.
    pub offset: u64,
    /// Of the whole file in bytes, if the remote tells; not yet to be believed.
    pub size: Option<u64>,
}

/// The schemes of the remotes that [`open`] knows; a folder has none.
pub const SCHEMES: &[&str] = &["local", "azure", "gs", "http", "https", "s3", "ssh", "webdav", "webdavs"];

/// Where a remote keeps an object: as a cache does.
pub fn object_key(oid: &Oid) -> String {
    oid.object_path()
}

/// The object whose key this is.
pub fn oid_of_key(key: &str) -> Option<Oid> {
    let (hash, below) = match key.strip_prefix("files/md5/") {
        Some(below) => (HashName::Md5, below),
        None => (HashName::Md5Dos2unix, key),
    };
    let (first, rest) = below.split_once('/').filter(|(first, _)| first.len() == 2)?;
    Some(Oid::parse(&format!("{first}{rest}")).ok()?.hashed_by(hash))
}

/// The remote that a configuration describes. Nothing is asked of it yet.
pub fn open(config: &RemoteConfig) -> Result<Box<dyn Remote>, Error> {
    open_to_upload(config, None)
}

/// As [`open`]; unfinished uploads of large files are noted in the folder `uploads`, so that they can
/// go on later.
pub fn open_to_upload(config: &RemoteConfig, uploads: Option<&Path>) -> Result<Box<dyn Remote>, Error> {
    match config.kind {
        RemoteKind::Local => Ok(Box::new(LocalRemote::open(Path::new(&config.url), config.jobs))),
        RemoteKind::Http => Ok(Box::new(HttpRemote::open(config)?)),
        RemoteKind::S3 | RemoteKind::Gs | RemoteKind::Azure => Ok(Box::new(ObjectRemote::open(config, uploads)?)),
        RemoteKind::WebDav => Ok(Box::new(WebDavRemote::open(config)?)),
        RemoteKind::Ssh => Ok(Box::new(SshRemote::open(config)?)),
        _ => {
            let scheme = config.url.split("://").next().unwrap_or_default();
            Err(config.bad(format!(
                "'{scheme}://' remotes are not supported yet; a folder and {} are",
                SCHEMES[1..].join("://, ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_objects_belong_together() {
        let oid = Oid::parse("d751713988987e9331980363e24189ce.dir").unwrap();
        assert_eq!(object_key(&oid), "files/md5/d7/51713988987e9331980363e24189ce.dir");
        let old = oid.clone().hashed_by(HashName::Md5Dos2unix);
        assert_eq!(object_key(&old), "d7/51713988987e9331980363e24189ce.dir");
        for oid in [oid, old] {
            assert_eq!(oid_of_key(&object_key(&oid)), Some(oid));
        }
        for other in ["files/md5/d7/x.tmp", "files/md5/d7517/13988987e9331980363e24189ce", "runs/d7/51", "files/md5/"] {
            assert_eq!(oid_of_key(other), None, "{other}");
        }
    }
}
