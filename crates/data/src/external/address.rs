//! Data at an address: a path of this machine, `https://...`, `remote://name/...`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};
use serde::Serialize;
use towpath_core::{Content, HashName};
use towpath_yaml::Value;
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
    /// Data is taken by the version that the store gave it.
    by_version: bool,
}

enum Place {
    Disk(PathBuf),
    Remote(OnRemote),
}

struct OnRemote {
    remote: Box<dyn Remote>,
    key: String,
    kind: RemoteKind,
    /// Of an address that names one: `s3://bucket/key?versionId=ID`.
    version: Option<String>,
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
    /// What an object store says of a version that it keeps.
    Version(StoredVersion),
    /// Of the files of a folder, by path.
    Versions(BTreeMap<String, StoredVersion>),
}

/// A version of a file, as its store calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    pub etag: String,
    /// In bytes.
    pub size: Option<u64>,
    pub version_id: String,
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
        let by_version = is_by_version(url, options);
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
                    kind => Place::on(remote::open(&config)?, &key, kind),
                }
            }
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let config = RemoteConfig::of_url(&format!("{scheme}://{host}"), options)?;
                Place::on(remote::open(&config)?, path.trim_start_matches('/'), config.kind)
            }
        };
        if by_version && !matches!(&place, Place::Remote(there) if there.kind.keeps_versions()) {
            return Err(Error::KeepsNoVersions { url: url.to_owned() });
        }
        Ok(Self { url: url.to_owned(), place, jobs: None, by_version })
    }

    /// Whether data is taken by the version that the store gave it.
    pub(crate) fn is_by_version(&self) -> bool {
        self.by_version
    }

    /// Makes at most this many requests at a time, whatever the remote is configured for.
    pub fn with_jobs(mut self, jobs: Option<usize>) -> Self {
        self.jobs = jobs;
        self
    }

    /// Whatever version the address names.
    pub(crate) fn newest(mut self) -> Self {
        if let Place::Remote(there) = &mut self.place {
            there.version = None;
        }
        self
    }

    /// Of this machine.
    pub(crate) fn disk_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Disk(path) => Some(path),
            Place::Remote(_) => None,
        }
    }

    /// As typed.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn nothing_there(&self) -> Error {
        Error::NoSuchPath { path: "data".to_owned(), place: self.url.clone() }
    }

    /// What the data is now, without keeping it.
    pub fn fingerprint(&self, workspace: &Workspace, progress: &dyn Progress) -> Result<Fingerprint, Error> {
        match &self.place {
            Place::Disk(path) => {
                let found = workspace.hash(path)?.ok_or_else(|| self.nothing_there())?;
                Ok(Fingerprint::Content(found.content))
            }
            Place::Remote(there) => match there.stat()? {
                Some(stat) if self.by_version => Ok(Fingerprint::Version(self.version_of(stat)?)),
                Some(stat) => self.fingerprint_of(there.kind, stat),
                None if self.by_version => self.versions(there, progress),
                None => self.fingerprint_of_folder(there),
            },
        }
    }

    fn version_of(&self, stat: Stat) -> Result<StoredVersion, Error> {
        let version_id = stat.version.ok_or_else(|| Error::KeepsNoVersions { url: self.url.clone() })?;
        let etag = stat.etag.ok_or_else(|| Error::NoFingerprint { url: self.url.clone() })?;
        Ok(StoredVersion { etag, size: stat.size, version_id })
    }

    fn versions(&self, there: &OnRemote, progress: &dyn Progress) -> Result<Fingerprint, Error> {
        let relpaths: Vec<String> = self.files_below(there)?.into_iter().map(|(relpath, _)| relpath).collect();
        let versions = self.lanes(there, Work::Querying, progress).each(&relpaths, |relpath| {
            let stat = there.remote.stat(&there.key_of(relpath))?.ok_or_else(|| self.nothing_there())?;
            Ok((self.version_of(stat)?, 0))
        })?;
        Ok(Fingerprint::Versions(relpaths.into_iter().zip(versions).collect()))
    }

    /// The MD5 of a manifest with ETags in the place of hashes, as DVC has it (dvc-data,
    /// `hashfile/tree.py`).
    fn fingerprint_of_folder(&self, there: &OnRemote) -> Result<Fingerprint, Error> {
        let files = self.files_below(there)?;
        let entry = |(relpath, found): &(String, Listed)| {
            let etag = found.etag.as_deref().ok_or_else(|| Error::NoFingerprint { url: self.url.clone() })?;
            let pair = [("etag", etag), ("relpath", relpath)];
            Ok(Value::Map(pair.iter().map(|(key, text)| ((*key).to_owned(), Value::string(*text))).collect()))
        };
        let manifest = Value::Seq(files.iter().map(entry).collect::<Result<_, Error>>()?).to_python_json();
        Ok(Fingerprint::Content(Content {
            md5: format!("{}.dir", hex::encode(Md5::digest(manifest))),
            hash: HashName::Md5,
            size: files.iter().map(|(_, found)| found.size).sum(),
            nfiles: Some(files.len() as u64),
            isexec: false,
        }))
    }

    fn lanes<'p>(&self, there: &OnRemote, work: Work, progress: &'p dyn Progress) -> Lanes<'p> {
        Lanes { most: self.jobs.unwrap_or_else(|| there.remote.jobs()), work, progress }
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
            Place::Remote(there) => {
                if let Some(sent) = there.download(None)? {
                    return self.receive_file(cache, sent);
                }
                let relpaths = self.files_below(there)?.into_iter().map(|(relpath, _)| (relpath, None));
                self.fetch_folder(there, relpaths.collect(), cache, progress)
            }
        }
    }

    /// Brings the data into the cache as a fingerprint with versions says that it was.
    ///
    /// # Errors
    /// [`Error::KeepsNoVersions`] for one without.
    pub(crate) fn fetch_version(
        &self,
        fingerprint: &Fingerprint,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Content, Error> {
        let no_versions = || Error::KeepsNoVersions { url: self.url.clone() };
        let Place::Remote(there) = &self.place else { return Err(no_versions()) };
        match fingerprint {
            Fingerprint::Version(version) => {
                let sent = there.download(Some(&version.version_id))?;
                self.receive_file(cache, sent.ok_or_else(|| self.nothing_there())?)
            }
            Fingerprint::Versions(files) => {
                let wanted = files.iter().map(|(relpath, file)| (relpath.clone(), Some(file.version_id.clone())));
                self.fetch_folder(there, wanted.collect(), cache, progress)
            }
            _ => Err(no_versions()),
        }
    }

    fn receive_file(&self, cache: &Cache, sent: Download) -> Result<Content, Error> {
        let (oid, size) = self.receive(cache, sent)?;
        Ok(Content { md5: oid.to_string(), hash: HashName::Md5, size, nfiles: None, isexec: false })
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

    /// The files of a folder, by path.
    fn files_below(&self, there: &OnRemote) -> Result<Vec<(String, Listed)>, Error> {
        if there.remote.listing() == Listing::Never {
            return Err(self.nothing_there());
        }
        let folder = as_folder(&there.key);
        let mut files = Vec::new();
        there.remote.list(&folder, &mut |found| {
            files.push((found.key.strip_prefix(&folder).unwrap_or(&found.key).to_owned(), found));
            ControlFlow::Continue(())
        })?;
        // What ends with a slash marks an empty folder.
        files.retain(|(relpath, _)| !(relpath.is_empty() || relpath.ends_with('/')));
        if files.is_empty() {
            return Err(self.nothing_there());
        }
        if let Some((bad, _)) = files.iter().find(|(relpath, _)| !stays_inside(relpath)) {
            let problem = "it is not a path that a folder can have".to_owned();
            return Err(Error::UnusablePath { path: PathBuf::from(bad), problem });
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(files)
    }

    /// These files of a folder, each at a version of its store's or as it is now.
    fn fetch_folder(
        &self,
        there: &OnRemote,
        files: Vec<(String, Option<String>)>,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Content, Error> {
        let received = self.lanes(there, Work::Pulling, progress).each(&files, |(relpath, version)| {
            let key = there.key_of(relpath);
            let sent = there.remote.download(&Wanted { key: &key, version: version.as_deref(), offset: 0 })?;
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
            Place::Remote(OnRemote { remote, key, .. }) => {
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

impl Place {
    fn on(remote: Box<dyn Remote>, key: &str, kind: RemoteKind) -> Self {
        let (key, version) = kind.split_version(key);
        Self::Remote(OnRemote { remote, key: key.to_owned(), kind, version: version.map(str::to_owned) })
    }
}

impl OnRemote {
    fn key_of(&self, relpath: &str) -> String {
        format!("{}{relpath}", as_folder(&self.key))
    }

    fn stat(&self) -> Result<Option<Stat>, Error> {
        match &self.version {
            Some(version) => self.remote.stat_version(&self.key, version),
            None => self.remote.stat(&self.key),
        }
    }

    fn download(&self, version: Option<&str>) -> Result<Option<Download>, Error> {
        let version = version.or(self.version.as_deref());
        self.remote.download(&Wanted { key: &self.key, version, offset: 0 })
    }
}

/// What makes an import one by version: the option, or an address that names a version.
pub(crate) fn is_by_version(url: &str, options: &RemoteOptions) -> bool {
    let asked = options.iter().any(|(key, value)| key == "version_aware" && value.eq_ignore_ascii_case("true"));
    let kind = url.split_once("://").and_then(|(scheme, _)| RemoteKind::of_scheme(scheme));
    asked || kind.is_some_and(|kind| kind.split_version(url).1.is_some())
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
