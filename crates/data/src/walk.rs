//! Walking a tracked folder: folders in parallel, one `stat` for each file.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::Error;
use crate::ignore::DvcIgnore;
use crate::state::Stamp;

/// Files are handed on in groups of about so many, across folders, so that there is enough to hash
/// at a time wherever they lie.
const GROUP: usize = 256;

/// A file of a folder that was walked, or what a symbolic link to a file leads to.
#[derive(Debug)]
pub(crate) struct WalkedFile {
    /// Below the folder.
    pub(crate) relpath: String,
    pub(crate) stamp: Stamp,
}

/// Hands all files below `folder` that are not ignored to `visit`, in groups and on several threads;
/// returns what it made of them, in no order.
pub(crate) fn walk<T: Send>(
    folder: &Path,
    ignore: &DvcIgnore,
    visit: impl Fn(Vec<WalkedFile>) -> Result<Vec<T>, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let walk = Walk { folder, ignore, visit, waiting: Mutex::default(), done: Mutex::default() };
    walk.enter("")?;
    let rest = walk.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut done = walk.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.extend((walk.visit)(rest)?);
    Ok(done)
}

struct Walk<'w, V, T> {
    folder: &'w Path,
    ignore: &'w DvcIgnore,
    visit: V,
    /// Not yet a group.
    waiting: Mutex<Vec<WalkedFile>>,
    done: Mutex<Vec<T>>,
}

impl<T: Send, V: Fn(Vec<WalkedFile>) -> Result<Vec<T>, Error> + Sync> Walk<'_, V, T> {
    /// `below` is empty or ends with `/`.
    fn enter(&self, below: &str) -> Result<(), Error> {
        let folder = self.folder.join(below);
        let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(Error::io("read", &folder))?;
        let rules = self.ignore.above(&folder);
        entries.into_par_iter().chunks(GROUP).try_for_each(|entries| {
            let mut files = Vec::with_capacity(entries.len());
            let mut folders = Vec::new();
            for entry in entries {
                let path = folder.join(entry.file_name());
                let file_type = entry.file_type().map_err(Error::io("read", &path))?;
                if rules.exclude(&path, file_type.is_dir()) {
                    continue;
                }
                let relpath = format!("{below}{}", utf8_name(&entry, &path)?);
                if file_type.is_dir() {
                    folders.push(relpath + "/");
                    continue;
                }
                let metadata = stat(&entry, &path)?;
                if metadata.is_file() {
                    files.push(WalkedFile { relpath, stamp: Stamp::of(&metadata) });
                } else if !metadata.is_dir() {
                    let problem = "it is neither a regular file nor a folder".to_owned();
                    return Err(Error::UnusablePath { path, problem });
                }
                // A link to a folder is no part of the data, as in DVC.
            }
            self.hand_on(files)?;
            folders.par_iter().try_for_each(|folder| self.enter(folder))
        })
    }

    fn hand_on(&self, mut files: Vec<WalkedFile>) -> Result<(), Error> {
        if files.len() < GROUP {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.append(&mut files);
            if waiting.len() < GROUP {
                return Ok(());
            }
            files = std::mem::take(&mut *waiting);
        }
        let made = (self.visit)(files)?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
        Ok(())
    }
}

fn stat(entry: &DirEntry, path: &Path) -> Result<Metadata, Error> {
    if entry.file_name() == ".dvcignore" {
        let problem = "a .dvcignore below a tracked folder has no effect in DVC; move it to a folder above";
        return Err(Error::UnusablePath { path: path.to_owned(), problem: problem.to_owned() });
    }
    // Relative to the open folder, without looking the path up.
    let metadata = entry.metadata().map_err(Error::io("read", path))?;
    if metadata.is_symlink() { fs::metadata(path).map_err(Error::io("read", path)) } else { Ok(metadata) }
}

fn utf8_name(entry: &DirEntry, path: &Path) -> Result<String, Error> {
    entry.file_name().into_string().map_err(|_| Error::UnusablePath {
        path: PathBuf::from(path),
        problem: "its name is not UTF-8, which a manifest cannot hold; rename it".to_owned(),
    })
}
