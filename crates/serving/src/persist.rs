//! The state directory: what a restart goes on with.
//!
//! | file | what | written |
//! |---|---|---|
//! | `table.json` | the last good routing table | with each new one: temporary file, fsync, rename, fsync of the folder |
//! | `state.bin` | counters and the judge's state: one line of JSON, then the filter of keys with a bad event | several times a second when changed, at once when something was decided |
//! | `predictions/` | the prediction log ([`crate::prediction_log`]) | several times a second |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use towpath_api::control::{LabelCounts, RoutingTable};
use towpath_stats::judge::FirstBad;

use crate::error::ServeError;
use crate::evidence::StoredJudge;
use crate::revision::TallyValues;

/// Everything that counts up or was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) predictions_logged: u64,
    pub(crate) labels: LabelCounts,
    /// By revision id.
    pub(crate) revisions: BTreeMap<String, TallyValues>,
    pub(crate) judge: StoredJudge,
}

#[derive(Serialize, Deserialize)]
struct Line<S> {
    stored: S,
    /// CRC-32 of the filter behind the line.
    filter_crc32: u32,
}

pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    pub(crate) fn open(path: &Path) -> Result<Self, ServeError> {
        fs::create_dir_all(path).map_err(|source| ServeError::State { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn predictions(&self) -> PathBuf {
        self.path.join("predictions")
    }

    /// The last table, if there was one.
    pub(crate) fn table(&self) -> Result<Option<RoutingTable>, ServeError> {
        let path = self.path.join("table.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ServeError::State { path, source }),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| ServeError::Table { path, detail: error.to_string() })
    }

    pub(crate) fn write_table(&self, table: &RoutingTable) -> io::Result<()> {
        let bytes = serde_json::to_vec(table)?;
        self.replace("table.json", &[&bytes], true)
    }

    /// The last counters and judge. A file that cannot be read back is set aside, not fatal:
    /// serving goes on, and the rollout collects its evidence anew.
    pub(crate) fn stored(&self) -> (Stored, FirstBad) {
        let path = self.path.join("state.bin");
        let Ok(bytes) = fs::read(&path) else {
            return Default::default();
        };
        read_stored(&bytes).unwrap_or_else(|| {
            tracing::error!(path = %path.display(), "the stored state is damaged; counters and evidence start anew");
            let _ = fs::rename(&path, path.with_extension("damaged"));
            Default::default()
        })
    }

    pub(crate) fn write_stored(&self, stored: &Stored, filter: &[u8], durable: bool) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { stored, filter_crc32: crc32(filter) })?;
        line.push(b'\n');
        self.replace("state.bin", &[&line, filter], durable)
    }

    /// Readers see the old file or the new one, never a mixture.
    /// The content is always on disk before its name is, so that a power loss leaves a whole file;
    /// `durable` also waits for the name.
    fn replace(&self, name: &str, parts: &[&[u8]], durable: bool) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.tmp"));
        let mut file = File::create(&temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_data()?;
        fs::rename(&temporary, self.path.join(name))?;
        if durable {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }
}

fn read_stored(bytes: &[u8]) -> Option<(Stored, FirstBad)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line: Line<Stored> = serde_json::from_slice(&bytes[..end]).ok()?;
    let filter = &bytes[end + 1..];
    let intact = crc32(filter) == line.filter_crc32;
    let first_bad = intact.then(|| FirstBad::from_bytes(filter)).flatten()?;
    Some((line.stored, first_bad))
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_read_back_and_a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let mut filter = FirstBad::default();
        filter.see(42);
        let stored = Stored { requests: 7, ..Stored::default() };
        state.write_stored(&stored, &filter.to_bytes(), true).unwrap();
        assert_eq!(state.stored(), (stored, filter));

        let path = dir.path().join("state.bin");
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 1);
        fs::write(&path, bytes).unwrap();
        assert_eq!(state.stored().0, Stored::default());
        assert!(dir.path().join("state.damaged").exists());
    }

    #[test]
    fn a_table_that_is_no_table_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.table().unwrap(), None);
        fs::write(dir.path().join("table.json"), "{").unwrap();
        assert!(state.table().unwrap_err().to_string().contains("table.json is not a routing table"));
    }
}
