//! Data at an address: a path of this machine, `https://...`, `remote://name/...`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use towpath_core::{Content, HashName};
use walkdir::WalkDir;

use super::Depth;
use crate::config::{RemoteConfig, RemoteKind, RemoteOptions};
use crate::links::LinkType;
use crate::manifest::{Entry, Manifest, stays_inside};
use crate::progress::Work;
use crate::remote::{self, Download, Listed, Listing, Remote, Stat, Wanted};
use crate::transfer::Lanes;
use crate::{Cache, Config, Error, Oid, Progress, Workspace};

/// Where `import-url`, `get-url` and `list-url` take data from.
pub struct Address {
    /// As typed.
    url: String,
    place: Place,
    jobs: Option<usize>,
}

enum Place {
    Disk(PathBuf),
    Remote { remote: Box<dyn Remote>, key: String, kind: RemoteKind },
}

/// What tells whether the data at an address is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// The data itself was hashed.
    Content(Content),
    /// What a web server says: the `ETag` as it stands in the header.
    Checksum { checksum: String, size: Option<u64> },
    /// What an object store says.
    Etag { etag: String, size: Option<u64> },
}

/// A file or folder at an address, relative to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressEntry {
    pub path: String,
    pub isdir: bool,
    pub size: Option<u64>,
}

impl Address {
    /// Nothing is asked of it yet. A relative path is relative to `from`; `config` knows the remotes
    /// of `remote://`, `options` are those of the remote that the address is on (`--fs-config`).
    pub fn open(url: &str, from: &Path, config: Option<&Config>, options: &RemoteOptions) -> Result<Self, Error> {
        let place = match url.split_once("://") {
            None => Place::Disk(from.join(url)),
            Some(("file", path)) => Place::Disk(PathBuf::from(path)),
            Some(("remote", rest)) => {
                let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
                let unknown = || Error::UnknownRemote { name: name.to_owned(), known_names: Vec::new() };
                let config = config.ok_or_else(unknown)?.remote(Some(name))?.with_options(options)?;
                let key = path.trim_matches('/').to_owned();
                match config.kind {
                    RemoteKind::Local => Place::Disk(Path::new(&config.url).join(key)),
                    kind => Place::Remote { remote: remote::open(&config)?, key, kind },
                }
            }
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let config = RemoteConfig::of_url(&format!("{scheme}://{host}"), options)?;
                let kind = config.kind;
                Place::Remote { remote: remote::open(&config)?, key: path.trim_start_matches('/').to_owned(), kind }
            }
        };
        Ok(Self { url: url.to_owned(), place, jobs: None })
    }

    /// Makes at most this many requests at a time, whatever the remote is configured for.
    pub fn with_jobs(mut self, jobs: Option<usize>) -> Self {
        self.jobs = jobs;
        self
    }

    /// Of this machine.
    pub(crate) fn disk_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Disk(path) => Some(path),
            Place::Remote { .. } => None,
        }
    }

    /// As typed.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn nothing_there(&self) -> Error {
        Error::NoSuchPath { path: "data".to_owned(), place: self.url.clone() }
    }

    fn stat(&self, remote: &dyn Remote, key: &str) -> Result<Stat, Error> {
        remote.stat(key)?.ok_or_else(|| self.nothing_there())
    }

    /// What the data is now, without keeping it.
    pub fn fingerprint(&self, workspace: &Workspace) -> Result<Fingerprint, Error> {
        match &self.place {
            Place::Disk(path) => {
                let found = workspace.hash(path)?.ok_or_else(|| self.nothing_there())?;
                Ok(Fingerprint::Content(found.content))
            }
            Place::Remote { remote, key, kind } => self.fingerprint_of(*kind, self.stat(remote.as_ref(), key)?),
        }
    }

    fn fingerprint_of(&self, kind: RemoteKind, stat: Stat) -> Result<Fingerprint, Error> {
        let size = stat.size;
        let etag = stat.etag.ok_or_else(|| Error::NoFingerprint { url: self.url.clone() })?;
        Ok(match kind {
            // As in the header: quoted, a weak one with its `W/` before.
            RemoteKind::Http if etag.starts_with("W/") => Fingerprint::Checksum { checksum: format!("{etag}\""), size },
            RemoteKind::Http => Fingerprint::Checksum { checksum: format!("\"{etag}\""), size },
            _ => Fingerprint::Etag { etag, size },
        })
    }

    /// Brings the data into the cache.
    pub fn fetch(&self, cache: &Cache, workspace: &Workspace, progress: &dyn Progress) -> Result<Content, Error> {
        match &self.place {
            Place::Disk(path) => {
                fs::metadata(path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => self.nothing_there(),
                    _ => Error::io("read", path)(error),
                })?;
                // What is there stays as it is, whatever our cache is linked with.
                let cache = cache.clone().with_links(LinkType::DEFAULT.to_vec());
                cache.add_path_watched(workspace, path, None, progress)
            }
            Place::Remote { remote, key, .. } => match remote.download(&Wanted::whole(key))? {
                Some(sent) => {
                    let (oid, size) = self.receive(cache, sent)?;
                    Ok(Content { md5: oid.to_string(), hash: HashName::Md5, size, nfiles: None, isexec: false })
                }
                None if remote.listing() == Listing::Never => Err(self.nothing_there()),
                None => self.fetch_folder(remote.as_ref(), key, cache, progress),
            },
        }
    }

    fn receive(&self, cache: &Cache, sent: Download) -> Result<(Oid, u64), Error> {
        let (oid, size) = cache.receive_unknown(sent.body.take(sent.size.unwrap_or(u64::MAX)))?;
        match sent.size.filter(|expected| *expected != size) {
            None => Ok((oid, size)),
            Some(expected) => {
                let problem = format!("it sent {size} bytes of {expected}");
                Err(Error::RemoteUnreachable { url: self.url.clone(), problem })
            }
        }
    }

    /// All files below the folder at `key`.
    fn fetch_folder(
        &self,
        remote: &dyn Remote,
        key: &str,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Content, Error> {
        let folder = as_folder(key);
        let mut relpaths = Vec::new();
        remote.list(&folder, &mut |Listed { key, .. }| {
            relpaths.push(key.strip_prefix(&folder).unwrap_or(&key).to_owned());
            ControlFlow::Continue(())
        })?;
        // What ends with a slash marks an empty folder.
        relpaths.retain(|relpath| !(relpath.is_empty() || relpath.ends_with('/')));
        if relpaths.is_empty() {
            return Err(self.nothing_there());
        }
        if let Some(bad) = relpaths.iter().find(|relpath| !stays_inside(relpath)) {
            let problem = "it is not a path that a folder can have".to_owned();
            return Err(Error::UnusablePath { path: PathBuf::from(bad), problem });
        }
        let lanes = Lanes { most: self.jobs.unwrap_or_else(|| remote.jobs()), work: Work::Pulling, progress };
        let received = lanes.each(&relpaths, |relpath| {
            let sent = remote.download(&Wanted::whole(&format!("{folder}{relpath}")))?;
            let (oid, size) = self.receive(cache, sent.ok_or_else(|| self.nothing_there())?)?;
            Ok(((Entry { relpath: relpath.clone(), oid }, size), size))
        })?;
        let size = received.iter().map(|(_, size)| size).sum();
        let manifest = Manifest::new(received.into_iter().map(|(entry, _)| entry).collect());
        cache.add_manifest(&manifest)?;
        Ok(manifest.content(size))
    }

    /// What is in the folder at the address, by path; a file is listed alone, by its address.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a folder of a web server.
    pub fn list(&self, depth: Depth) -> Result<Vec<AddressEntry>, Error> {
        let most = match depth {
            Depth::Children => 1,
            Depth::Files(level) | Depth::Everything(level) => level.unwrap_or(usize::MAX),
        };
        let with_folders = !matches!(depth, Depth::Files(_));
        match &self.place {
            Place::Disk(path) => self.list_disk(path, most, with_folders),
            Place::Remote { remote, key, .. } => {
                if most == 0 || remote.stat(key)?.is_some() {
                    return Ok(vec![AddressEntry { path: self.url.clone(), isdir: false, size: None }]);
                }
                let folder = as_folder(key);
                let mut found: BTreeMap<String, AddressEntry> = BTreeMap::new();
                let entry =
                    |path: &str, size: Option<u64>| AddressEntry { path: path.to_owned(), isdir: size.is_none(), size };
                remote.list(&folder, &mut |Listed { key, size, .. }| {
                    let path = key.strip_prefix(&folder).unwrap_or(&key);
                    let folders = path.match_indices('/').map(|(at, _)| &path[..at]).take(most).enumerate();
                    let shown = folders.filter(|(above, _)| with_folders || above + 1 == most);
                    found.extend(shown.map(|(_, folder)| (folder.to_owned(), entry(folder, None))));
                    if path.matches('/').count() < most {
                        found.insert(path.to_owned(), entry(path, Some(size)));
                    }
                    ControlFlow::Continue(())
                })?;
                if found.is_empty() { Err(self.nothing_there()) } else { Ok(found.into_values().collect()) }
            }
        }
    }

    fn list_disk(&self, path: &Path, most: usize, with_folders: bool) -> Result<Vec<AddressEntry>, Error> {
        let metadata = fs::metadata(path).map_err(|_| self.nothing_there())?;
        if !metadata.is_dir() || most == 0 {
            let path = path.display().to_string();
            return Ok(vec![AddressEntry { path, isdir: false, size: None }]);
        }
        let mut found = Vec::new();
        for entry in WalkDir::new(path).min_depth(1).max_depth(most).sort_by_file_name() {
            let entry =
                entry.map_err(|error| Error::Io { action: "list", path: path.to_owned(), source: error.into() })?;
            let isdir = entry.file_type().is_dir();
            if isdir && !with_folders && entry.depth() < most {
                continue;
            }
            let size = entry.metadata().ok().filter(|_| !isdir).map(|metadata| metadata.len());
            let below = entry.path().strip_prefix(path).unwrap_or(entry.path());
            found.push(AddressEntry { path: below.display().to_string(), isdir, size });
        }
        Ok(found)
    }
}

/// The beginning of the keys of what is in a folder; the empty one is the whole remote.
fn as_folder(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{}/", key.trim_end_matches('/')) }
}

impl Cache {
    /// Stores what `from` delivers, whatever it is.
    fn receive_unknown(&self, from: impl io::Read) -> Result<(Oid, u64), Error> {
        let mut tmp = self.temporary_file()?;
        let hashed = crate::hash::digest_of(from, HashName::Md5, tmp.as_file_mut());
        let (md5, size) = hashed.map_err(|error| match error {
            crate::hash::StreamError::Read(source) => Error::io("read", tmp.path())(source),
            crate::hash::StreamError::Write(source) => Error::io("write", tmp.path())(source),
        })?;
        let oid = Oid::of_file(md5, HashName::Md5);
        if !self.has(&oid)? {
            tmp.as_file().sync_data().map_err(Error::io("write", tmp.path()))?;
            self.keep(tmp, &oid)?;
        }
        Ok((oid, size))
    }
}
