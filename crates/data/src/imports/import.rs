//! `dvc import`: takes data of another repository, tracks it, and records where it came from.

use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::Content;
use towpath_yaml::{Step, Value, edit, emit};

use super::checksum;
use crate::config::Overrides;
use crate::external::Source;
use crate::pointer::{PointerFile, entry_of};
use crate::{Error, Progress, Repository, Stage, files, hooks, verbs};

/// What to import, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The other repository, as typed.
    pub url: String,
    /// In the other repository.
    pub path: String,
    /// The branch, tag or commit that was asked for; `None`: the head of the default branch.
    pub rev: Option<String>,
    /// Settings for the configuration of the other repository.
    pub overrides: Overrides,
}

/// How much of an import is done now.
#[derive(Clone, Copy, Debug)]
pub enum Take<'s> {
    /// Only the `.dvc` file.
    Nothing,
    /// The `.dvc` file with the commit (40 hex digits), and no data.
    Commit(&'s str),
    /// Everything, from this source at this commit.
    Data(&'s Source, &'s str),
}

/// What `import` made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Relative to the root.
    pub path: String,
    /// The `.dvc` file, relative to the root.
    pub pointer: String,
    /// `None` when nothing was downloaded.
    pub content: Option<Content>,
    /// The `.gitignore` that got a line.
    pub gitignore: Option<PathBuf>,
}

/// Imports to `out` (relative to the root). The `.dvc` file is written last: a kill before that
/// leaves data in the cache and perhaps in the workspace, and nothing that refers to it.
///
/// # Errors
/// Something is at `out` or in its `.dvc` file and `force` is not given, or it overlaps with other
/// tracked data; what the source reports.
pub fn import(
    repository: &Repository,
    request: &Request,
    out: &Path,
    take: Take<'_>,
    force: bool,
    stages: &[Stage],
    progress: &dyn Progress,
) -> Result<Imported, Error> {
    let _lock = repository.lock()?;
    let path = check_place(repository, out, stages, force)?;
    let _paths = repository.lock_to_write([&path])?;
    let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
    let mut content = None;
    let mut rev_lock = None;
    match take {
        Take::Nothing => {}
        Take::Commit(commit) => rev_lock = Some(commit),
        Take::Data(source, commit) => {
            let fetched = source.fetch(&request.path, progress)?;
            let workspace = repository.workspace()?;
            repository.cache()?.checkout_watched(&workspace, &fetched, out, progress)?;
            workspace.save()?;
            rev_lock = Some(commit);
            content = Some(fetched);
        }
    }
    let text = text_of(request, rev_lock, name, content.as_ref())?;
    finish(repository, path, &text, content)
}

/// Writes the `.dvc` file, last of all.
pub(super) fn finish(
    repository: &Repository,
    path: String,
    text: &str,
    content: Option<Content>,
) -> Result<Imported, Error> {
    let root = repository.root();
    let pointer = PointerFile::path_for(&path);
    // Before the pointer: Git must not see the data as new files.
    let is_dir = content.as_ref().is_some_and(Content::is_dir);
    let gitignore = repository.keep_out_of_git(&path, is_dir)?;
    files::write_atomically(&root.join(&pointer), text.as_bytes())?;
    Ok(Imported { path, pointer, content, gitignore })
}

/// The path as text, if an import may be put there.
pub(crate) fn check_place(repository: &Repository, out: &Path, stages: &[Stage], force: bool) -> Result<String, Error> {
    let unusable = |problem: &str| Error::UnusablePath { path: out.to_owned(), problem: problem.to_owned() };
    let path = out.to_str().ok_or_else(|| unusable("its name is not UTF-8, which a .dvc file cannot hold"))?;
    if path.ends_with(".dvc") || matches!(out.file_name().and_then(|n| n.to_str()), Some("dvc.yaml" | "dvc.lock")) {
        return Err(unusable("files of DVC itself cannot be tracked by it"));
    }
    let own = PointerFile::path_for(path);
    for output in verbs::tracked(repository, stages)? {
        let overlaps = out.starts_with(&output.path) || Path::new(&output.path).starts_with(out);
        if overlaps && !(output.path == path && output.declared_by == own) {
            return Err(Error::AlreadyTracked { path: output.path, by: output.declared_by });
        }
    }
    let folder = repository.root().join(out);
    let folder = folder.parent().unwrap_or(repository.root());
    if !folder.is_dir() {
        return Err(unusable("the folder that it should be in does not exist"));
    }
    for there in [path, &own] {
        let there = repository.root().join(there);
        if !force && fs::symlink_metadata(&there).is_ok() {
            return Err(Error::Exists { path: there });
        }
    }
    if !repository.has_no_scm() && hooks::is_tracked_by_git(repository.root(), out)? {
        return Err(Error::TrackedByGit { path: path.to_owned() });
    }
    Ok(path.to_owned())
}

/// The `.dvc` file. Its MD5 stands in it as soon as the commit does.
fn text_of(request: &Request, rev_lock: Option<&str>, name: &str, content: Option<&Content>) -> Result<String, Error> {
    let mut repo = vec![("url".to_owned(), Value::string(&request.url))];
    let fields = [("rev", request.rev.as_deref()), ("rev_lock", rev_lock)];
    repo.extend(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::string(value?)))));
    repo.extend(request.overrides.recorded()?);
    let dependency = vec![("path".to_owned(), Value::string(&request.path)), ("repo".to_owned(), Value::Map(repo))];
    let entries = |checksum: Option<String>, out: Value| {
        let mut entries: Vec<(String, Value)> = Vec::new();
        entries.extend(checksum.map(|md5| ("md5".to_owned(), Value::String(md5))));
        entries.push(("frozen".to_owned(), Value::Bool(true)));
        entries.push(("deps".to_owned(), Value::Seq(vec![Value::Map(dependency.clone())])));
        entries.push(("outs".to_owned(), Value::Seq(vec![out])));
        Value::Map(entries)
    };
    let out = match content {
        Some(content) => entry_of(name, content),
        None => Value::Map(vec![("hash".to_owned(), "md5".into()), ("path".to_owned(), Value::string(name))]),
    };
    let md5 = rev_lock.map(|_| checksum(&entries(None, out.clone())));
    Ok(emit(&entries(md5, out)))
}

/// The text of an import with its MD5 made again.
pub(crate) fn with_checksum(file: &str, text: &str) -> Result<String, Error> {
    let md5 = checksum(&towpath_yaml::parse(file, text)?.root().to_value());
    Ok(edit::set(file, text, &[Step::Key("md5")], &Value::String(md5))?)
}

#[cfg(test)]
mod tests {
    use towpath_core::HashName;

    use super::*;

    /// What real `dvc` 3.67 wrote, the commit included.
    #[test]
    fn an_import_is_recorded_as_dvc_records_it() {
        let overrides = Overrides::default();
        let request = Request { url: "../src".into(), path: "code".into(), rev: Some("v1".into()), overrides };
        let content = Content {
            md5: "a92a0e3da672ce49cb4ba71787501110.dir".into(),
            hash: HashName::Md5,
            size: 16,
            nfiles: Some(3),
            isexec: false,
        };
        let text = text_of(&request, Some("eacafcbb88a8cdafd7c8cdc7e05f04e05dd1c119"), "c", Some(&content)).unwrap();
        assert_eq!(
            text,
            "md5: cc3c2c13ee25af9e25fbe248885758ed\nfrozen: true\ndeps:\n- path: code\n  repo:\n    url: ../src\n    rev: v1\n    rev_lock: eacafcbb88a8cdafd7c8cdc7e05f04e05dd1c119\nouts:\n- md5: a92a0e3da672ce49cb4ba71787501110.dir\n  size: 16\n  nfiles: 3\n  hash: md5\n  path: c\n"
        );
        let bare = text_of(&Request { rev: None, ..request.clone() }, None, "x", None).unwrap();
        assert_eq!(
            bare,
            "frozen: true\ndeps:\n- path: code\n  repo:\n    url: ../src\nouts:\n- hash: md5\n  path: x\n"
        );
    }
}
