//! `dvc import-url`: takes data from an address, tracks it, and records what it was.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use towpath_core::Content;
use towpath_yaml::{Field, Fields, Step, Value, YamlError, edit, emit, parse};

use super::import::{check_place, finish, with_checksum};
use super::update::checkout_over;
use super::{Import, Imported, Updated, checksum};
use crate::config::{RemoteOptions, text_options};
use crate::external::{Address, Fingerprint, StoredVersion, is_by_version};
use crate::manifest::stays_inside;
use crate::pointer::{PointerFile, entry_of};
use crate::scratch::Scratch;
use crate::{Cache, Error, Progress, Repository, Stage, transfer};

/// Where an import from an address comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'u> {
    /// As typed.
    pub url: &'u str,
    /// The folder that a relative path is relative to.
    pub from: &'u Path,
    /// Options of the remote that the address is on.
    pub options: &'u RemoteOptions,
    /// At most so many requests at a time.
    pub jobs: Option<usize>,
}

/// What an import from an address records of where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedUrl {
    /// As typed; a relative path is relative to `folder`.
    pub url: String,
    /// Of the `.dvc` file, relative to the root.
    folder: String,
    /// With which it is to be asked for again (`fs_config`).
    options: RemoteOptions,
    versions: Option<Fingerprint>,
}

impl ImportedUrl {
    pub(crate) fn is_by_version(&self) -> bool {
        is_by_version(&self.url, &self.options)
    }

    fn address(&self, repository: &Repository) -> Result<Address, Error> {
        let folder = repository.root().join(&self.folder);
        Address::open(&self.url, &folder, Some(repository.config()), &self.options)
    }
}

/// How much of an import from an address is done now.
#[derive(Clone, Copy, Debug)]
pub enum TakeUrl<'r> {
    /// Only the `.dvc` file.
    Nothing,
    /// The `.dvc` file with what the data is now, and no data.
    Fingerprint,
    Data,
    /// The data goes to a remote and stays out of workspace and cache.
    ToRemote(ToRemote<'r>),
}

impl TakeUrl<'_> {
    /// True when what is there now is recorded, or will be.
    fn asks_the_address(self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// The remote that data goes to directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToRemote<'r> {
    /// `None`: the default one.
    pub name: Option<&'r str>,
    /// At most so many requests at a time.
    pub jobs: Option<usize>,
}

/// Imports what is at the address to `out` (relative to the root). A relative path is recorded
/// relative to the folder of the `.dvc` file.
pub fn import_url(
    repository: &Repository,
    origin: &Origin<'_>,
    out: &Path,
    take: TakeUrl<'_>,
    force: bool,
    stages: &[Stage],
    progress: &dyn Progress,
) -> Result<Imported, Error> {
    let Origin { url, from, options, jobs } = *origin;
    let _lock = repository.lock()?;
    let path = check_place(repository, out, stages, force)?;
    let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
    let folder = repository.root().join(out).parent().unwrap_or(repository.root()).to_owned();
    let recorded = if url.contains("://") || Path::new(url).is_absolute() {
        url.to_owned()
    } else {
        relative_to(&folder, &from.join(url))
    };
    let address = Address::open(url, from, Some(repository.config()), options)?.with_jobs(jobs);
    let _paths = repository.lock_paths(address.disk_path(), [Path::new(&path)])?;
    let (fingerprint, content) = match take {
        TakeUrl::Nothing => (None, None),
        TakeUrl::Fingerprint => (Some(address.fingerprint(&repository.workspace()?, progress)?), None),
        TakeUrl::ToRemote(_) if address.is_by_version() => return Err(Error::VersionToRemote { url: url.to_owned() }),
        TakeUrl::Data => {
            let taken = fetch(repository, &address, &repository.cache()?, progress)?;
            let workspace = repository.workspace()?;
            repository.cache()?.checkout_watched(&workspace, &taken.1, out, progress)?;
            workspace.save()?;
            (Some(taken.0), Some(taken.1))
        }
        TakeUrl::ToRemote(remote) => {
            let taken = to_remote(repository, &address, remote, progress)?;
            (Some(taken.0), Some(taken.1))
        }
    };
    let mut out_entry = match &content {
        Some(content) => entry_of(name, content),
        None => Value::Map(vec![("hash".to_owned(), "md5".into()), ("path".to_owned(), Value::string(name))]),
    };
    if let Value::Map(entry) = &mut out_entry
        && address.is_by_version()
        && take.asks_the_address()
    {
        // The store keeps it.
        entry.push(("push".to_owned(), Value::Bool(false)));
    }
    let entries = |md5: Option<String>| {
        let mut entries: Vec<(String, Value)> =
            md5.into_iter().map(|md5| ("md5".to_owned(), Value::String(md5))).collect();
        entries.push(("frozen".to_owned(), Value::Bool(true)));
        entries.push(("deps".to_owned(), Value::Seq(vec![dependency(&recorded, fingerprint.as_ref(), options)])));
        entries.push(("outs".to_owned(), Value::Seq(vec![out_entry.clone()])));
        Value::Map(entries)
    };
    let md5 = fingerprint.is_some().then(|| checksum(&entries(None)));
    finish(repository, path, &emit(&entries(md5)), content)
}

/// The data in `cache`, and what it was. Asked again behind the transfer: what changed meanwhile is
/// not recorded as the old version.
fn fetch(
    repository: &Repository,
    address: &Address,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<(Fingerprint, Content), Error> {
    let workspace = repository.workspace()?;
    let before = address.fingerprint(&workspace, progress)?;
    if address.is_by_version() {
        let content = address.fetch_version(&before, cache, progress)?;
        return Ok((before, content));
    }
    let content = address.fetch(cache, &workspace, progress)?;
    if address.fingerprint(&workspace, progress)? != before {
        return Err(Error::ChangedWhileRead { path: PathBuf::from(address.url()) });
    }
    Ok((before, content))
}

fn to_remote(
    repository: &Repository,
    address: &Address,
    remote: ToRemote<'_>,
    progress: &dyn Progress,
) -> Result<(Fingerprint, Content), Error> {
    through_scratch_cache(repository, remote, progress, |cache| {
        let taken = fetch(repository, address, cache, progress)?;
        let content = taken.1.clone();
        Ok((taken, content))
    })
}

/// Has data brought into a cache of its own, and pushes it from there.
pub(crate) fn through_scratch_cache<T>(
    repository: &Repository,
    remote: ToRemote<'_>,
    progress: &dyn Progress,
    fetch: impl FnOnce(&Cache) -> Result<(T, Content), Error>,
) -> Result<T, Error> {
    let remote = repository.remote_with_jobs(remote.name, remote.jobs)?;
    let scratch = Scratch::near(repository.root())?;
    let cache = Cache::open(scratch.dir());
    let (taken, content) = fetch(&cache)?;
    transfer::push(&cache, remote.as_ref(), &[content.into()], progress)?;
    Ok(taken)
}

/// Brings what an import from an address records into the cache: the versions that it names, or, of
/// one that has no data yet, what is there now. The `.dvc` file stays as it is.
pub(crate) fn fetch_import(
    repository: &Repository,
    import: &ImportedUrl,
    jobs: Option<usize>,
    progress: &dyn Progress,
) -> Result<Content, Error> {
    let (address, cache) = (import.address(repository)?.with_jobs(jobs), repository.cache()?);
    match &import.versions {
        Some(versions) => address.fetch_version(versions, &cache, progress),
        None => Ok(fetch(repository, &address, &cache, progress)?.1),
    }
}

/// What `dvc status` says of a dependency whose store has another version now; `None` for one that is
/// as recorded, and for one that is not imported by version, which DVC does not ask for.
pub fn news_of_url(
    repository: &Repository,
    import: &ImportedUrl,
    progress: &dyn Progress,
) -> Result<Option<&'static str>, Error> {
    let Some(recorded) = &import.versions else { return Ok(None) };
    let now = import.address(repository)?.newest().fingerprint(&repository.workspace()?, progress)?;
    let word = if matches!(recorded, Fingerprint::Version(_)) { "update available" } else { "modified" };
    Ok((*recorded != now).then_some(word))
}

/// Takes what is at the address of an import now.
///
/// # Errors
/// What is in the workspace is not what was imported and would be lost, unless `force`.
pub fn update_url(
    repository: &Repository,
    pointer: &PointerFile,
    take: TakeUrl<'_>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Updated, Error> {
    let _lock = repository.lock()?;
    let not_an_import = || Error::NotAnImport { path: PathBuf::from(&pointer.path) };
    let Some(Import::Url(import)) = &pointer.import else { return Err(not_an_import()) };
    let ImportedUrl { url, options, .. } = import;
    let tracked = pointer.tracked()?;
    let [out] = tracked.as_slice() else { return Err(not_an_import()) };
    let _paths = repository.lock_to_write([&out.path])?;
    let file = pointer.path.as_str();
    let address = import.address(repository)?;
    let document = parse(file, &pointer.text)?;
    let unchanged = Updated { pointer: file.to_owned(), content: out.content.clone(), changed: false };
    let recorded = match document.root().to_value().get("deps") {
        Some(Value::Seq(deps)) => deps.first().cloned(),
        _ => None,
    };
    let found = address.fingerprint(&repository.workspace()?, progress)?;
    let now = dependency(url, Some(&found), options);
    if recorded.as_ref().is_some_and(|recorded| same_version(recorded, &now)) && out.content.is_some() {
        return Ok(unchanged);
    }
    let (fingerprint, content) = match take {
        TakeUrl::Nothing => return Ok(unchanged),
        TakeUrl::Fingerprint => (found, None),
        TakeUrl::ToRemote(_) if address.is_by_version() => return Err(Error::VersionToRemote { url: url.clone() }),
        TakeUrl::Data => {
            let (fingerprint, content) = fetch(repository, &address, &repository.cache()?, progress)?;
            checkout_over(repository, out, &content, force, progress)?;
            (fingerprint, Some(content))
        }
        TakeUrl::ToRemote(remote) => {
            let (fingerprint, content) = to_remote(repository, &address, remote, progress)?;
            (fingerprint, Some(content))
        }
    };
    let place = [Step::Key("deps"), Step::Index(0)];
    let mut text = edit::set(file, &pointer.text, &place, &dependency(url, Some(&fingerprint), options))?;
    if let Some(content) = &content {
        text = PointerFile::parse(file, text)?.with_content(&pointer.outs[0].path, content)?;
    } else {
        for key in ["md5", "size", "nfiles", "isexec"] {
            text = edit::remove(file, &text, &[Step::Key("outs"), Step::Index(0), Step::Key(key)])?;
        }
    }
    let text = with_checksum(file, &text)?;
    crate::files::write_atomically(&repository.root().join(file), text.as_bytes())?;
    Ok(Updated { pointer: file.to_owned(), content, changed: true })
}

fn same_version(recorded: &Value, now: &Value) -> bool {
    ["md5", "checksum", "etag", "version_id", "files"].iter().all(|key| recorded.get(key) == now.get(key))
}

/// Reads the dependency of an import from an address, whose `.dvc` file is in `folder`.
pub(super) fn read_dependency(dependency: Field<'_>, folder: &str) -> Result<ImportedUrl, YamlError> {
    let mut fields = dependency.fields()?;
    let url = fields.required("path")?.as_str()?.to_owned();
    let options = fields.optional("fs_config").map_or(Ok(RemoteOptions::new()), text_options)?;
    Ok(ImportedUrl { url, folder: folder.to_owned(), options, versions: recorded_versions(dependency)? })
}

/// What a dependency records of versions; `None` for one without.
fn recorded_versions(dependency: Field<'_>) -> Result<Option<Fingerprint>, YamlError> {
    let mut fields = dependency.fields()?;
    if let Some(files) = fields.optional("files") {
        let mut versions = BTreeMap::new();
        for file in files.items()? {
            let mut file = file.fields()?;
            let relpath = file.required("relpath")?;
            let path = relpath.as_str()?;
            if !stays_inside(path) {
                return Err(relpath.expected("a path below the folder"));
            }
            versions.insert(path.to_owned(), read_version(&mut file)?);
        }
        return Ok(Some(Fingerprint::Versions(versions)));
    }
    let has_version = dependency.fields()?.optional("version_id").is_some();
    has_version.then(|| read_version(&mut fields).map(Fingerprint::Version)).transpose()
}

fn read_version(fields: &mut Fields<'_>) -> Result<StoredVersion, YamlError> {
    Ok(StoredVersion {
        etag: fields.required("etag")?.as_str()?.to_owned(),
        size: fields.optional("size").map(|size| size.as_u64()).transpose()?,
        version_id: fields.required("version_id")?.as_str()?.to_owned(),
    })
}

/// `md5|checksum|etag, size, nfiles, version_id, hash, path, fs_config, files`.
fn dependency(path: &str, fingerprint: Option<&Fingerprint>, options: &RemoteOptions) -> Value {
    let of_store = |key: &str, value: &str, size: &Option<u64>| {
        let mut entries = vec![(key.to_owned(), Value::string(value))];
        entries.extend(size.map(|size| ("size".to_owned(), Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))));
        entries
    };
    let mut entries = match fingerprint {
        Some(Fingerprint::Content(content)) => match entry_of(path, content) {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        },
        Some(Fingerprint::Checksum { checksum, size }) => of_store("checksum", checksum, size),
        Some(Fingerprint::Etag { etag, size }) => of_store("etag", etag, size),
        Some(Fingerprint::Version(version)) => version_entries(version),
        Some(Fingerprint::Versions(_)) | None => Vec::new(),
    };
    if !matches!(fingerprint, Some(Fingerprint::Content(_))) {
        entries.push(("hash".to_owned(), "md5".into()));
        entries.push(("path".to_owned(), Value::string(path)));
    }
    if !options.is_empty() {
        let option = |(key, value): &(String, String)| match (key.as_str(), value.as_str()) {
            ("version_aware", "true") => (key.clone(), Value::Bool(true)),
            _ => (key.clone(), Value::string(value)),
        };
        entries.push(("fs_config".to_owned(), Value::Map(options.iter().map(option).collect())));
    }
    if let Some(Fingerprint::Versions(files)) = fingerprint {
        let file = |(relpath, version): (&String, &StoredVersion)| {
            let mut entry = vec![("relpath".to_owned(), Value::string(relpath))];
            entry.extend(version_entries(version));
            Value::Map(entry)
        };
        entries.push(("files".to_owned(), Value::Seq(files.iter().map(file).collect())));
    }
    Value::Map(entries)
}

fn version_entries(version: &StoredVersion) -> Vec<(String, Value)> {
    let mut entries = vec![("etag".to_owned(), Value::string(&version.etag))];
    let size = version.size.map(|size| Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
    entries.extend(size.map(|size| ("size".to_owned(), size)));
    entries.push(("version_id".to_owned(), Value::string(&version.version_id)));
    entries
}

/// The way from a folder to a path, both absolute, `..` resolved without asking the disk.
fn relative_to(folder: &Path, path: &Path) -> String {
    let plain = |path: &Path| {
        let mut parts: Vec<String> = Vec::new();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                _ => {}
            }
        }
        parts
    };
    let (from, to) = (plain(folder), plain(path));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - common);
    up.chain(to[common..].iter().cloned()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_folders_is_relative() {
        let way = |from: &str, to: &str| relative_to(Path::new(from), Path::new(to));
        assert_eq!(way("/a/b", "/a/b/c"), "c");
        assert_eq!(way("/a/b", "/a/b/../d/e"), "../d/e");
        assert_eq!(way("/a/b/sub", "/x"), "../../../x");
    }

    /// What real `dvc` 3.67 wrote.
    #[test]
    fn what_a_web_server_said_is_recorded_as_dvc_records_it() {
        let fingerprint = Fingerprint::Checksum { checksum: "\"abc-1\"".into(), size: Some(8) };
        let text = emit(&Value::Seq(vec![dependency("http://h/data.csv", Some(&fingerprint), &RemoteOptions::new())]));
        assert_eq!(text, "- checksum: '\"abc-1\"'\n  size: 8\n  hash: md5\n  path: http://h/data.csv\n");
    }
}
