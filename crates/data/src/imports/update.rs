//! `dvc update`: brings an import to what the other repository has now.

use std::path::PathBuf;

use towpath_core::Content;
use towpath_yaml::{Field, Step, Value, YamlError, edit};

use super::import::with_checksum;
use super::{Import, Request, Take};
use crate::config::Overrides;
use crate::pointer::PointerFile;
use crate::{Error, Progress, Repository, files};

/// Where an import comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedFrom {
    pub request: Request,
    /// The commit that was imported; `None` after `--no-exec`.
    pub rev_lock: Option<String>,
}

/// What `update` did with one import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The `.dvc` file, relative to the root.
    pub pointer: String,
    /// `None` when nothing was downloaded.
    pub content: Option<Content>,
    /// False when the import had this version already.
    pub changed: bool,
}

pub(super) fn read_dependency(dependency: Field<'_>) -> Result<ImportedFrom, YamlError> {
    let mut dependency = dependency.fields()?;
    let path = dependency.required("path")?.as_str()?.to_owned();
    let mut repo = dependency.required("repo")?.fields()?;
    let url = repo.required("url")?.as_str()?.to_owned();
    let mut optional =
        |key: &'static str| repo.optional(key).map(|field| field.as_str().map(str::to_owned)).transpose();
    let [rev, rev_lock] = [optional("rev")?, optional("rev_lock")?];
    let overrides = Overrides::of_import(repo.optional("config"), repo.optional("remote"))?;
    repo.finish()?;
    Ok(ImportedFrom { request: Request { url, path, rev, overrides }, rev_lock })
}

/// Records another commit, and with it another version of the data.
///
/// # Errors
/// What is in the workspace is not what was imported and would be lost, unless `force`; what the
/// source reports.
pub fn update(
    repository: &Repository,
    pointer: &PointerFile,
    rev: Option<&str>,
    take: Take<'_>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Updated, Error> {
    let _lock = repository.lock()?;
    let Some(Import::Repository(from)) = &pointer.import else {
        return Err(Error::NotAnImport { path: PathBuf::from(&pointer.path) });
    };
    let tracked = pointer.tracked()?;
    let (1, [out]) = (pointer.outs.len(), tracked.as_slice()) else {
        return Err(Error::NotAnImport { path: PathBuf::from(&pointer.path) });
    };
    let _paths = repository.lock_to_write([&out.path])?;
    let unchanged = Updated { pointer: pointer.path.clone(), content: out.content.clone(), changed: false };
    let (commit, fetched) = match take {
        Take::Nothing => return Ok(unchanged),
        Take::Commit(commit) => (commit, None),
        Take::Data(source, commit) => (commit, Some(source.fetch(&from.request.path, progress)?)),
    };
    let file = pointer.path.as_str();
    let repo = |key| [Step::Key("deps"), Step::Index(0), Step::Key("repo"), Step::Key(key)];
    let mut text = pointer.text.clone();
    if let Some(rev) = rev {
        text = edit::set(file, &text, &repo("rev"), &Value::string(rev))?;
    }
    text = edit::set(file, &text, &repo("rev_lock"), &Value::string(commit))?;
    let moved = text != pointer.text;
    if let Some(content) = &fetched {
        let name = &pointer.outs[0].path;
        text = PointerFile::parse(file, text)?.with_content(name, content)?;
        checkout_over(repository, out, content, force, progress)?;
    } else if moved {
        // What is recorded of the old version would be told as the new one's.
        for key in ["md5", "size", "nfiles", "isexec"] {
            text = edit::remove(file, &text, &[Step::Key("outs"), Step::Index(0), Step::Key(key)])?;
        }
    }
    if text == pointer.text {
        return Ok(unchanged);
    }
    let text = with_checksum(file, &text)?;
    files::write_atomically(&repository.root().join(file), text.as_bytes())?;
    Ok(Updated { pointer: pointer.path.clone(), content: fetched, changed: true })
}

pub(super) fn checkout_over(
    repository: &Repository,
    out: &crate::TrackedOutput,
    content: &Content,
    force: bool,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (cache, workspace) = (repository.cache()?, repository.workspace()?);
    if !force
        && let Some(found) = workspace.hash(out.path.as_ref())?
        && out.content.as_ref().is_some_and(|recorded| recorded.md5 != found.content.md5)
        && found.content.md5 != content.md5
    {
        return Err(Error::WouldOverwrite { path: out.path.clone() });
    }
    cache.checkout_watched(&workspace, content, out.path.as_ref(), progress)?;
    workspace.save()
}
