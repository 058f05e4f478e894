//! The `dvc.lock` of each pipeline file, as a run last read or wrote it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use towpath_plan::lock::{Lock, LockText, LockedStage};
use towpath_plan::pipeline::{Pipeline, Stage};

use super::read_text;
use crate::Error;

/// Shared by the threads of a run.
pub(super) struct LockFiles {
    root: PathBuf,
    files: Mutex<BTreeMap<String, LockFile>>,
}

struct LockFile {
    lock: Lock,
    text: LockText,
}

impl LockFiles {
    /// Of all files that the pipeline was read from.
    pub(super) fn read(root: &Path, pipeline: &Pipeline) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for stage in &pipeline.stages {
            let file = stage.lock_file();
            if files.contains_key(&file) {
                continue;
            }
            let text = read_text(&root.join(&file))?;
            let lock = Lock::read(&file, text.as_deref().unwrap_or_default()).map_err(towpath_plan::Error::from)?;
            let text = LockText::new(&file, text);
            files.insert(file, LockFile { lock, text });
        }
        Ok(Self { root: root.to_owned(), files: Mutex::new(files) })
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, LockFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text of a lock now; empty without one.
    pub(super) fn text(&self, file: &str) -> String {
        self.files().get(file).and_then(|file| file.text.text()).unwrap_or_default().to_owned()
    }

    pub(super) fn get(&self, stage: &Stage) -> Option<LockedStage> {
        self.files().get(&stage.lock_file())?.lock.get(&stage.entry).cloned()
    }

    /// Replaces this stage's entry; the rest of the file may have been changed by others meanwhile.
    pub(super) fn write(&self, stage: &Stage, entry: &LockedStage) -> Result<(), Error> {
        let name = stage.lock_file();
        let path = self.root.join(&name);
        let mut files = self.files();
        let file = files
            .entry(name.clone())
            .or_insert_with(|| LockFile { lock: Lock::default(), text: LockText::new(&name, None) });
        let old = read_text(&path)?;
        if old.as_deref() != file.text.text() {
            file.text = LockText::new(&name, old);
        }
        let text = file.text.set(&stage.entry, entry).map_err(towpath_plan::Error::from)?;
        replace(&path, text).map_err(|source| Error::Io { action: "write", path, source })?;
        match file.lock.stages.iter_mut().find(|(name, _)| *name == stage.entry) {
            Some((_, locked)) => *locked = entry.clone(),
            None => file.lock.stages.push((stage.entry.clone(), entry.clone())),
        }
        Ok(())
    }
}

/// Writes a file so that a kill at any moment leaves the old or the new one. Not synced to the disk:
/// after a power loss the run is made again.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), text)?;
    let mode = fs::metadata(path).map_or(0o644, |m| m.permissions().mode() & 0o777);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.persist(path)?;
    Ok(())
}
