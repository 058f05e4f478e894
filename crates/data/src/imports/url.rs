//! `dvc import-url`: takes data from an address, tracks it, and records what it was.

use std::path::{Component, Path, PathBuf};

use towpath_core::Content;
use towpath_yaml::{Field, Step, Value, edit, emit, parse};

use super::import::{check_place, finish, with_checksum};
use super::update::checkout_over;
use super::{Imported, Updated, checksum};
use crate::config::{RemoteOptions, text_options};
use crate::external::{Address, Fingerprint};
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
        TakeUrl::Fingerprint => (Some(address.fingerprint(&repository.workspace()?)?), None),
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
    let out_entry = match &content {
        Some(content) => entry_of(name, content),
        None => Value::Map(vec![("hash".to_owned(), "md5".into()), ("path".to_owned(), Value::string(name))]),
    };
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
    let before = address.fingerprint(&workspace)?;
    let content = address.fetch(cache, &workspace, progress)?;
    if address.fingerprint(&workspace)? != before {
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

/// The address of an import from one; `None` for other `.dvc` files.
pub fn imported_from_url(pointer: &PointerFile) -> Result<Option<String>, Error> {
    let value = parse(&pointer.path, &pointer.text)?.root().to_value();
    let Some(Value::Seq(deps)) = value.get("deps") else { return Ok(None) };
    let [dependency] = deps.as_slice() else { return Ok(None) };
    let foreign = ["repo", "db", "dataset"].iter().any(|key| dependency.get(key).is_some());
    Ok(match dependency.get("path") {
        Some(Value::String(path)) if !foreign && value.get("cmd").is_none() => Some(path.clone()),
        _ => None,
    })
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
    let url = imported_from_url(pointer)?.ok_or_else(not_an_import)?;
    let tracked = pointer.tracked()?;
    let [out] = tracked.as_slice() else { return Err(not_an_import()) };
    let _paths = repository.lock_to_write([&out.path])?;
    let file = pointer.path.as_str();
    let folder = repository.root().join(file).parent().unwrap_or(repository.root()).to_owned();
    let document = parse(file, &pointer.text)?;
    let options = recorded_options(document.field())?;
    let address = Address::open(&url, &folder, Some(repository.config()), &options)?;
    let unchanged = Updated { pointer: file.to_owned(), content: out.content.clone(), changed: false };
    let recorded = match document.root().to_value().get("deps") {
        Some(Value::Seq(deps)) => deps.first().cloned(),
        _ => None,
    };
    let now = dependency(&url, Some(&address.fingerprint(&repository.workspace()?)?), &options);
    if recorded.as_ref().is_some_and(|recorded| same_version(recorded, &now)) && out.content.is_some() {
        return Ok(unchanged);
    }
    let (fingerprint, content) = match take {
        TakeUrl::Nothing => return Ok(unchanged),
        TakeUrl::Fingerprint => (address.fingerprint(&repository.workspace()?)?, None),
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
    let mut text = edit::set(file, &pointer.text, &place, &dependency(&url, Some(&fingerprint), &options))?;
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
    ["md5", "checksum", "etag"].iter().all(|key| recorded.get(key) == now.get(key))
}

/// The options with which an import is to be asked for again (`fs_config`).
fn recorded_options(file: Field<'_>) -> Result<RemoteOptions, Error> {
    let mut options = RemoteOptions::new();
    let dependencies = file.fields()?.required("deps")?.items()?;
    for dependency in dependencies.iter().take(1) {
        if let Some(recorded) = dependency.fields()?.optional("fs_config") {
            options = text_options(recorded)?;
        }
    }
    Ok(options)
}

/// `md5|checksum|etag, size, nfiles, hash, path, fs_config`.
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
        None => Vec::new(),
    };
    if !matches!(fingerprint, Some(Fingerprint::Content(_))) {
        entries.push(("hash".to_owned(), "md5".into()));
        entries.push(("path".to_owned(), Value::string(path)));
    }
    if !options.is_empty() {
        let options = options.iter().map(|(key, value)| (key.clone(), Value::string(value))).collect();
        entries.push(("fs_config".to_owned(), Value::Map(options)));
    }
    Value::Map(entries)
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
