use std::path::Path;

use towpath_core::Content;

use super::{Added, Changed};
use crate::external::Address;
use crate::imports::{ToRemote, check_place, through_scratch_cache};
use crate::pointer::PointerFile;
use crate::{Error, Progress, Repository, Stage};

/// Tracks at `out` (relative to the root) what is at an address, without remembering the address: what
/// `dvc add --out` and `dvc add --to-remote` do. With a remote the data goes there, and stays out of
/// workspace and cache.
///
/// # Errors
/// Something is at `out` and `force` is not given, or it overlaps with other tracked data.
pub fn add_from(
    repository: &Repository,
    address: &Address,
    out: &Path,
    to_remote: Option<ToRemote<'_>>,
    force: bool,
    stages: &[Stage],
    progress: &dyn Progress,
) -> Result<Added, Error> {
    let _lock = repository.lock()?;
    // A `.dvc` file whose data is not here gets another version.
    let overwrite = force || !repository.root().join(out).exists();
    let path = check_place(repository, out, stages, overwrite)?;
    let _paths = repository.lock_paths(address.disk_path(), [Path::new(&path)])?;
    let workspace = repository.workspace()?;
    let content = if let Some(remote) = to_remote {
        through_scratch_cache(repository, remote, progress, |cache| {
            let content = address.fetch(cache, &workspace, progress)?;
            Ok((content.clone(), content))
        })?
    } else {
        let cache = repository.cache()?;
        let content = address.fetch(&cache, &workspace, progress)?;
        cache.checkout_watched(&workspace, &content, out, progress)?;
        content
    };
    workspace.save()?;
    record(repository, path, content, to_remote.is_none())
}

/// Writes the `.dvc` file; one that is there gets the new version.
fn record(repository: &Repository, path: String, content: Content, is_here: bool) -> Result<Added, Error> {
    let mut changed = Changed::new(repository);
    let gitignore = if is_here { repository.keep_out_of_git(&path, content.is_dir())? } else { None };
    let pointer = PointerFile::path_for(&path);
    let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
    let old = PointerFile::read(repository.root(), &pointer)?;
    let text = match &old {
        Some(old) => old.with_content(old.name_of(&path).unwrap_or(name), &content)?,
        None => PointerFile::text_for(name, &content),
    };
    let is_new = old.is_none_or(|old| old.text != text);
    if is_new {
        repository.write(&pointer, &text)?;
    }
    changed.file(&pointer);
    changed.paths(gitignore.iter().cloned());
    changed.stage()?;
    Ok(Added { path, pointer, content, changed: is_new, gitignore })
}
