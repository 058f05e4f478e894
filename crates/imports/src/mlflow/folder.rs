//! `mlruns/`: a folder for each experiment, in it one for each run; `meta.yaml` says what they are,
//! a file holds a tag, a parameter or a series.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use towpath_core::Timestamp;
use towpath_tracking::adopt;
use towpath_tracking::metrics::Point;
use towpath_tracking::runs::RunStatus;
use walkdir::WalkDir;

use super::{DELETED, lifecycle};
use crate::ImportError;

/// As MLflow numbers them, from 1.
const STATUSES: [RunStatus; 5] =
    [RunStatus::Running, RunStatus::Scheduled, RunStatus::Finished, RunStatus::Failed, RunStatus::Killed];

#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn open(root: &Path) -> Result<Self, ImportError> {
        fs::read_dir(root).map_err(ImportError::file(root))?;
        // Versions of models name their files by whole paths.
        let root = root.canonicalize().map_err(ImportError::file(root))?;
        Ok(Self { root })
    }

    /// Whether it is one of MLflow's.
    pub(crate) fn has_experiments(&self) -> Result<bool, ImportError> {
        let is_experiment = |folder: &PathBuf| folder.join("meta.yaml").is_file();
        Ok(folders(&self.root)?.iter().any(is_experiment))
    }

    pub(crate) fn experiments(&self) -> Result<BTreeMap<String, adopt::Experiment>, ImportError> {
        let mut found = BTreeMap::new();
        for folder in [folders(&self.root)?, folders(&self.root.join(".trash"))?].concat() {
            // `models/` and others are no experiments.
            let meta = Meta::read(&folder)?.filter(|meta| meta.0.get("experiment_id").is_some());
            let Some(meta) = meta else { continue };
            let experiment = adopt::Experiment {
                name: meta.text("name").unwrap_or_default(),
                lifecycle: lifecycle(meta.text("lifecycle_stage").as_deref()),
                created_at: meta.time("creation_time").unwrap_or(Timestamp(0)),
                updated_at: meta.time("last_update_time").unwrap_or(Timestamp(0)),
                tags: texts(&folder.join("tags"))?,
            };
            found.insert(name_of(&folder), experiment);
        }
        Ok(found)
    }

    pub(crate) fn runs(&self, experiment: &str) -> Result<Vec<adopt::Run>, ImportError> {
        let mut runs = Vec::new();
        for folder in folders(&self.experiment(experiment))? {
            let meta = Meta::read(&folder)?;
            let Some(meta) = meta else { continue };
            let Some(run_id) = meta.text("run_id").or_else(|| meta.text("run_uuid")) else { continue };
            let status = meta.0.get("status").and_then(Value::as_u64).unwrap_or(3);
            let tags = texts(&folder.join("tags"))?;
            runs.push(adopt::Run {
                datasets: Vec::new(),
                model_inputs: Vec::new(),
                model_outputs: Vec::new(),
                name: meta.text("run_name").or_else(|| tags.get("mlflow.runName").cloned()).unwrap_or_default(),
                user: meta.text("user_id").unwrap_or_default(),
                status: STATUSES.get((status as usize).wrapping_sub(1)).copied().unwrap_or(RunStatus::Finished),
                start_time: meta.time("start_time").unwrap_or(Timestamp(0)),
                end_time: meta.time("end_time"),
                lifecycle: lifecycle(meta.text("lifecycle_stage").as_deref()),
                // The folder may have been moved since the address was written.
                artifact_uri: Some(folder.join("artifacts").display().to_string()),
                params: texts(&folder.join("params"))?,
                tags,
                run_id,
            });
        }
        runs.sort_by(|a, b| (a.start_time, &a.run_id).cmp(&(b.start_time, &b.run_id)));
        Ok(runs)
    }

    pub(crate) fn series(&self, experiment: &str, run_id: &str) -> Result<adopt::Series, ImportError> {
        let folder = self.experiment(experiment).join(run_id).join("metrics");
        let mut series = adopt::Series::new();
        for (key, path) in files(&folder)? {
            let text = fs::read_to_string(&path).map_err(ImportError::file(&path))?;
            let points = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let points = points.map(|(number, line)| {
                point(line).ok_or_else(|| {
                    let detail = format!("line {}: '{line}' is not 'TIME VALUE STEP'", number + 1);
                    ImportError::content(&path, detail)
                })
            });
            series.insert(key, points.collect::<Result<_, _>>()?);
        }
        Ok(series)
    }

    pub(crate) fn models(&self) -> Result<Vec<adopt::Model>, ImportError> {
        let mut models = Vec::new();
        for folder in folders(&self.root.join("models"))? {
            let Some(meta) = Meta::read(&folder)? else { continue };
            let mut aliases = BTreeMap::new();
            for (alias, version) in texts(&folder.join("aliases"))? {
                let version = version
                    .trim()
                    .parse()
                    .map_err(|_| ImportError::content(&folder.join("aliases").join(&alias), "a version is a number"))?;
                aliases.insert(alias, version);
            }
            let mut versions = Vec::new();
            for folder in folders(&folder)? {
                let Some(version) = name_of(&folder).strip_prefix("version-").and_then(|v| v.parse().ok()) else {
                    continue;
                };
                // MLflow keeps a deleted version under a stage of its own.
                let meta = Meta::read(&folder)?;
                if let Some(meta) = meta.filter(|m| m.text("current_stage").as_deref() != Some(DELETED)) {
                    versions.push(adopt::Version { tags: texts(&folder.join("tags"))?, ..meta.version(version) });
                }
            }
            versions.sort_by_key(|v: &adopt::Version| v.version);
            models.push(adopt::Model {
                name: meta.text("name").unwrap_or_else(|| name_of(&folder)),
                created_at: meta.time("creation_timestamp").unwrap_or(Timestamp(0)),
                updated_at: meta.time("last_updated_timestamp").unwrap_or(Timestamp(0)),
                description: meta.text("description"),
                tags: texts(&folder.join("tags"))?,
                aliases,
                versions,
            });
        }
        Ok(models)
    }

    fn experiment(&self, id: &str) -> PathBuf {
        let active = self.root.join(id);
        if active.is_dir() { active } else { self.root.join(".trash").join(id) }
    }
}

/// What a `meta.yaml` says.
struct Meta(Value);

impl Meta {
    /// `None` if the folder has none.
    fn read(folder: &Path) -> Result<Option<Self>, ImportError> {
        let path = folder.join("meta.yaml");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self(towpath_yaml::parse(&path.display().to_string(), &text)?.field().to_json()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImportError::file(&path)(error)),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.0.get(key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn time(&self, key: &str) -> Option<Timestamp> {
        self.0.get(key)?.as_i64().map(Timestamp)
    }

    fn version(&self, version: i64) -> adopt::Version {
        let source = self.text("source").unwrap_or_default();
        adopt::Version {
            version,
            created_at: self.time("creation_timestamp").unwrap_or(Timestamp(0)),
            updated_at: self.time("last_updated_timestamp").unwrap_or(Timestamp(0)),
            created_by: self.text("user_id").unwrap_or_default(),
            description: self.text("description"),
            stage: self.text("current_stage").unwrap_or_else(|| "None".into()),
            storage_location: self.text("storage_location").unwrap_or_else(|| source.clone()),
            source,
            run_id: self.text("run_id"),
            run_link: self.text("run_link"),
            tags: BTreeMap::new(),
        }
    }
}

/// `TIME VALUE STEP`, and of newer versions the dataset; `TIME VALUE` of old ones.
fn point(line: &str) -> Option<Point> {
    let mut words = line.split(' ');
    let at = words.next()?.parse().ok()?;
    let value = words.next()?.parse().ok()?;
    let step = words.next().map_or(Some(0), |step| step.parse().ok())?;
    Some(Point { step, at, value })
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Folders in a folder, by name; none if it is not there.
fn folders(path: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImportError::file(path)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ImportError::file(path))?.path();
        if entry.is_dir() && !name_of(&entry).starts_with('.') {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// Files below a folder by their path in it: a key may have slashes.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.map_err(|e| ImportError::File { path: folder.to_owned(), source: e.into() })?;
            if let (true, Ok(key)) = (entry.file_type().is_file(), entry.path().strip_prefix(folder)) {
                found.push((key.to_string_lossy().into_owned(), entry.path().to_owned()));
            }
        }
    }
    Ok(found)
}

fn texts(folder: &Path) -> Result<BTreeMap<String, String>, ImportError> {
    let read = |(key, path): (String, PathBuf)| {
        let text = fs::read_to_string(&path).map_err(ImportError::file(&path))?;
        Ok((key, text))
    };
    files(folder)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_series_has_a_time_a_value_and_maybe_a_step() {
        assert_eq!(point("5 0.25 -3"), Some(Point { step: -3, at: 5, value: 0.25 }));
        assert_eq!(point("5 nan"), Some(Point { step: 0, at: 5, value: f64::NAN }));
        assert_eq!(point("5 inf 1 dataset digest"), Some(Point { step: 1, at: 5, value: f64::INFINITY }));
        assert!(point("").is_none() && point("a 1 1").is_none() && point("1 1 x").is_none());
    }
}
