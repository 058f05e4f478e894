//! Writing small files so that a kill at any moment leaves the old or the new one.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::Error;
use crate::scratch::Scratch;

/// Replaces the file at `path`, making the folders above it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_with_mode(path, bytes, 0o644)
}

/// As [`write_atomically`], but not synced to the disk: for what can be made again. A power loss may
/// leave it empty, so whoever reads it takes what cannot be read for absent.
pub(crate) fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_unsynced_by(path, |to| to.write_all(bytes))
}

/// As [`write_unsynced`], of what `write` writes.
pub(crate) fn write_unsynced_by(path: &Path, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let (file, _scratch) = unfinished(path, write, 0o644)?;
    file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    Ok(())
}

/// As [`write_atomically`]; a new file gets this mode, an existing one keeps its own.
pub(crate) fn write_with_mode(path: &Path, bytes: &[u8], new_mode: u32) -> Result<(), Error> {
    let (file, _scratch) = unfinished(path, |to| to.write_all(bytes), new_mode)?;
    file.as_file().sync_data().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    Ok(())
}

/// A complete file on the file system of `path`, not yet under its name, and the folder it waits in.
fn unfinished(
    path: &Path,
    write: impl Fn(&mut dyn Write) -> io::Result<()>,
    new_mode: u32,
) -> Result<(NamedTempFile, Scratch), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let scratch = Scratch::near(folder)?;
    let mut file = scratch.file()?;
    write(file.as_file_mut()).map_err(Error::io("write", path))?;
    let mode = fs::metadata(path).map_or(new_mode, |m| m.permissions().mode() & 0o777);
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))?;
    Ok((file, scratch))
}

/// The file's text; `None` when there is no such file.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}
