//! The table of paths that running stages read and write (dvc, `rwlock.py`).
//!
//! `{"write": {"/abs/path": {"pid": 1, "cmd": "dvc repro"}}, "read": {"/abs/path": [{...}]}}`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::Locking;
use crate::{Error, files};

/// A process that works on a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    pub pid: i32,
    /// Its command line.
    pub cmd: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    write: BTreeMap<PathBuf, Holder>,
    #[serde(default)]
    read: BTreeMap<PathBuf, Vec<Holder>>,
}

/// Paths that this process reads and writes, in the table until dropped.
#[derive(Debug)]
pub struct PathLocks {
    locking: Locking,
    own: Holder,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl PathLocks {
    /// Enters absolute paths. Processes that have ended are taken out of the table on the way.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process writes one of them or what is in it, or reads one that is
    /// to be written; [`Error::LockTable`] when the table is damaged.
    pub fn take(locking: &Locking, read: Vec<PathBuf>, write: Vec<PathBuf>) -> Result<Self, Error> {
        let mut taken = Self { locking: locking.clone(), own: Holder::this_process(), read, write };
        if taken.read.is_empty() && taken.write.is_empty() {
            return Ok(taken);
        }
        let _guard = locking.table()?;
        let mut table = Table::read(locking)?;
        table.forget_the_dead();
        table.refuse_blocked(&taken).map_err(|(path, holders)| Error::Busy {
            path,
            holders,
            table: Table::path(locking),
        })?;
        let own = &taken.own;
        // What is entered already, for somebody else in this process, is theirs to take out.
        taken.read.retain(|path| !table.read.get(path).is_some_and(|readers| readers.contains(own)));
        taken.write.retain(|path| table.write.get(path) != Some(own));
        for path in &taken.read {
            table.read.entry(path.clone()).or_default().push(own.clone());
        }
        for path in &taken.write {
            table.write.insert(path.clone(), own.clone());
        }
        table.save(locking)?;
        Ok(taken)
    }

    fn release(&self) -> Result<(), Error> {
        let _guard = self.locking.table()?;
        let mut table = Table::read(&self.locking)?;
        for path in self.write.iter().filter(|path| table.write.get(*path) == Some(&self.own)).collect::<Vec<_>>() {
            table.write.remove(path);
        }
        for path in &self.read {
            if let Some(readers) = table.read.get_mut(path) {
                readers.retain(|reader| *reader != self.own);
            }
        }
        table.read.retain(|_, readers| !readers.is_empty());
        table.save(&self.locking)
    }
}

impl Drop for PathLocks {
    fn drop(&mut self) {
        if !(self.read.is_empty() && self.write.is_empty()) {
            // What stays in the table is taken out by the next command, for this process will have ended.
            let _ = self.release();
        }
    }
}

impl Holder {
    fn this_process() -> Self {
        let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        Self { pid: std::process::id().cast_signed(), cmd: words.join(" ") }
    }

    fn is_alive(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return true };
        // One of somebody else cannot be signalled, and is there.
        test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
    }
}

impl Table {
    fn path(locking: &Locking) -> PathBuf {
        locking.tmp_dir.join("rwlock")
    }

    fn read(locking: &Locking) -> Result<Self, Error> {
        let path = Self::path(locking);
        let Some(text) = files::read_text(&path)? else { return Ok(Self::default()) };
        serde_json::from_str(&text).map_err(|source| Error::LockTable { path, problem: source.to_string() })
    }

    fn save(&self, locking: &Locking) -> Result<(), Error> {
        let path = Self::path(locking);
        let text = serde_json::to_string(self)
            .map_err(|source| Error::LockTable { path: path.clone(), problem: source.to_string() })?;
        files::write_unsynced(&path, text.as_bytes())
    }

    fn forget_the_dead(&mut self) {
        self.write.retain(|_, writer| writer.is_alive());
        for readers in self.read.values_mut() {
            readers.retain(Holder::is_alive);
        }
        self.read.retain(|_, readers| !readers.is_empty());
    }

    /// The path that is busy, and who is at it.
    fn refuse_blocked(&self, wanted: &PathLocks) -> Result<(), (PathBuf, Vec<Holder>)> {
        let overlaps = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        let others = |holder: &&Holder| **holder != wanted.own;
        for path in wanted.read.iter().chain(&wanted.write) {
            let writers = self.write.iter().filter(|(taken, _)| overlaps(taken, path)).map(|(_, writer)| writer);
            let writers: Vec<Holder> = writers.filter(others).cloned().collect();
            if !writers.is_empty() {
                return Err((path.clone(), writers));
            }
        }
        for path in &wanted.write {
            let readers = self.read.iter().filter(|(taken, _)| overlaps(taken, path)).flat_map(|(_, all)| all);
            let readers: Vec<Holder> = readers.filter(others).cloned().collect();
            if !readers.is_empty() {
                return Err((path.clone(), readers));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of the process that started us: it lives, and is another.
    fn held(table: &str) -> (tempfile::TempDir, Locking) {
        let dir = tempfile::tempdir().unwrap();
        let parent = std::os::unix::process::parent_id().to_string();
        std::fs::write(dir.path().join("rwlock"), table.replace("PID", &parent)).unwrap();
        let locking = Locking { tmp_dir: dir.path().to_owned(), hardlink: false, wait: false };
        (dir, locking)
    }

    fn take(locking: &Locking, read: &[&str], write: &[&str]) -> Result<PathLocks, Error> {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        PathLocks::take(locking, paths(read), paths(write))
    }

    const DVC_REPRO: &str = r#"{"write": {"/r/model": {"pid": PID, "cmd": "dvc repro"}}, "read": {"/r/data": [{"pid": PID, "cmd": "dvc repro"}]}}"#;

    #[test]
    fn what_a_running_stage_writes_is_left_alone_and_what_it_reads_is_not_written() {
        let (_dir, locking) = held(DVC_REPRO);
        take(&locking, &["/r/data"], &["/r/model2", "/r/dat"]).unwrap();
        for (read, write) in [
            (&["/r/model"][..], &[][..]),
            (&[], &["/r/model"]),
            (&[], &["/r/model/part"]),
            (&[], &["/r"]),
            (&[], &["/r/data/x"]),
        ] {
            let refused = take(&locking, read, write).unwrap_err().to_string();
            assert!(refused.contains("is busy, it is being blocked by:\n  (PID "), "{refused}");
            assert!(refused.contains("): dvc repro"), "{refused}");
        }
    }

    #[test]
    fn our_paths_stand_in_the_table_as_long_as_they_are_held() {
        let (dir, locking) = held(DVC_REPRO);
        let read = || std::fs::read_to_string(dir.path().join("rwlock")).unwrap();
        let before = read().len();
        let outer = take(&locking, &["/r/data"], &["/r/out"]).unwrap();
        drop(take(&locking, &["/r/data"], &["/r/out"]).unwrap());
        let table: Table = serde_json::from_str(&read()).unwrap();
        let own = Holder::this_process();
        assert_eq!((&table.write[Path::new("/r/out")], &table.read[Path::new("/r/data")][1]), (&own, &own));
        drop(outer);
        assert!(read().len() <= before, "{}", read());
    }

    #[test]
    fn a_process_that_has_ended_blocks_nobody() {
        let ended = std::process::Command::new("true").spawn().and_then(|mut child| {
            let pid = child.id();
            child.wait().map(|_| pid)
        });
        let (_dir, locking) = held(&DVC_REPRO.replace("PID", &ended.unwrap().to_string()));
        take(&locking, &[], &["/r/model", "/r/data"]).unwrap();
    }

    #[test]
    fn a_damaged_table_is_named() {
        for damaged in ["", "{", r#"{"write": []}"#, r#"{"other": {}}"#] {
            let (_dir, locking) = held(damaged);
            assert!(matches!(take(&locking, &[], &["/r/x"]), Err(Error::LockTable { .. })), "{damaged}");
        }
    }
}
