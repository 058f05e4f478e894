//! DVC's run cache (`<cache>/runs/<k[:2]>/<k>/<v>`) and, beside it, the environment of each entry and what
//! single items of a stage's input gave.
//!
//! What the keys are hashes of is the pipeline's business; here they are names of files.

use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::Digest;

use crate::{Cache, Error, files};

/// Results of earlier stage runs, by what went into them.
#[derive(Clone, Debug)]
pub struct RunCache {
    runs: PathBuf,
    environments: PathBuf,
    datums: PathBuf,
}

/// A stage run with the same inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRun {
    pub value: Digest,
    /// The lock entry as YAML.
    pub text: String,
}

impl RunCache {
    pub fn open(cache: &Cache) -> Self {
        let own = cache.own_dir();
        Self { runs: cache.dir().join("runs"), environments: own.join("environments"), datums: own.join("datums") }
    }

    /// All runs with this key, newest first: DVC takes the first one.
    pub fn get(&self, key: &Digest) -> Result<Vec<CachedRun>, Error> {
        let folder = folder_of(&self.runs, key);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &folder)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &folder))?;
            // Other names are temporary files of DVC.
            let Some(value) = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()) else { continue };
            let modified = entry.metadata().and_then(|m| m.modified()).map_err(Error::io("read", &entry.path()))?;
            if let Some(text) = files::read_text(&entry.path())? {
                found.push((modified, CachedRun { value, text }));
            }
        }
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(found.into_iter().map(|(_, run)| run).collect())
    }

    /// The newest run with this key.
    pub fn latest(&self, key: &Digest) -> Result<Option<CachedRun>, Error> {
        Ok(self.get(key)?.into_iter().next())
    }

    /// Stores a run unless this very result is known already, as DVC does.
    pub fn save(&self, key: &Digest, value: &Digest, text: &str) -> Result<(), Error> {
        let path = folder_of(&self.runs, key).join(value.as_str());
        if path.exists() { Ok(()) } else { files::write_unsynced(&path, text.as_bytes()) }
    }

    /// The hash of the environment that the run was made in; `None` for runs of real `dvc`.
    pub fn environment(&self, key: &Digest, value: &Digest) -> Result<Option<Digest>, Error> {
        let path = folder_of(&self.environments, key).join(value.as_str());
        Ok(files::read_text(&path)?.and_then(|text| text.trim().parse().ok()))
    }

    pub fn save_environment(&self, key: &Digest, value: &Digest, environment: &Digest) -> Result<(), Error> {
        let path = folder_of(&self.environments, key).join(value.as_str());
        files::write_unsynced(&path, environment.as_str().as_bytes())
    }

    /// What is recorded of one item of a stage's input.
    pub fn datum(&self, key: &Digest) -> Result<Option<String>, Error> {
        files::read_text(&folder_of(&self.datums, key))
    }

    pub fn save_datum(&self, key: &Digest, record: &str) -> Result<(), Error> {
        files::write_unsynced(&folder_of(&self.datums, key), record.as_bytes())
    }
}

fn folder_of(base: &Path, key: &Digest) -> PathBuf {
    base.join(&key.as_str()[..2]).join(key.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_newest_run_of_a_key_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let runs = RunCache::open(&Cache::open(dir.path()));
        let (key, old, new) = (Digest::of(b"k"), Digest::of(b"old"), Digest::of(b"new"));
        assert_eq!(runs.latest(&key).unwrap(), None);
        for (i, (value, text)) in [(&new, "new"), (&old, "old")].into_iter().enumerate() {
            runs.save(&key, value, text).unwrap();
            let path = dir.path().join("runs").join(&key.as_str()[..2]).join(key.as_str()).join(value.as_str());
            let time = UNIX_EPOCH + Duration::from_secs(2_000 - 1_000 * i as u64);
            fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
        assert_eq!(runs.latest(&key).unwrap().unwrap().text, "new");
        assert_eq!(runs.get(&key).unwrap().len(), 2);
    }

    #[test]
    fn the_environment_stands_beside_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let runs = RunCache::open(&Cache::open(dir.path()));
        let (key, value, environment) = (Digest::of(b"k"), Digest::of(b"v"), Digest::of(b"e"));
        assert_eq!(runs.environment(&key, &value).unwrap(), None);
        runs.save_environment(&key, &value, &environment).unwrap();
        assert_eq!(runs.environment(&key, &value).unwrap(), Some(environment));
    }
}
