//! What neptune-exporter keeps of Neptune: Parquet files, some for each run, and files beside them. A
//! project becomes an experiment. A file is read again for the series and the files of its runs, so that
//! memory holds one run.

mod attributes;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::{Timestamp, names};
use towpath_tracking::metrics::Point;
use towpath_tracking::{Lifecycle, adopt};

use crate::ImportError;
use crate::recorded::{files_where, id_of, key_of};
use attributes::Attributes;
use rows::{Record, Rows, Value};

/// An export: its runs by project and id.
#[derive(Debug)]
pub(crate) struct Neptune {
    runs: BTreeMap<(String, String), Run>,
    /// What the paths of files are relative to.
    files: PathBuf,
}

#[derive(Debug, Default)]
struct Run {
    parts: BTreeSet<PathBuf>,
    attributes: Attributes,
    /// What whole steps are made by: Neptune's have six decimals.
    multiplier: i64,
}

/// A file of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunFile {
    /// Below the run's artifacts.
    pub to: String,
    pub from: Origin,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file or a folder.
    Disk(PathBuf),
    Text(String),
    /// The export names it, and does not have it.
    Missing(String),
}

impl Neptune {
    /// The folder that was given as `--data-path`, or one that has it as `data/`.
    pub(crate) fn open(folder: &Path, files: Option<&Path>) -> Result<Self, ImportError> {
        let data = folder.join("data");
        let data = if data.is_dir() { data } else { folder.to_owned() };
        let files = files.map_or_else(|| data.parent().unwrap_or(&data).join("files"), Path::to_owned);
        let mut export = Self { runs: BTreeMap::new(), files };
        for path in files_where(&data, |name| name.ends_with(".parquet"))? {
            if is_whole(&path) {
                export.index(&path)?;
            }
        }
        if export.runs.is_empty() {
            return Err(ImportError::NoRuns(folder.to_owned()));
        }
        Ok(export)
    }

    fn index(&mut self, path: &Path) -> Result<(), ImportError> {
        for record in Rows::open(path)? {
            let Record { project, run, path: name, kind, step, at, value } = record?;
            let run = self.runs.entry((project, run)).or_default();
            run.parts.insert(path.to_owned());
            run.multiplier = run.multiplier.max(step.map_or(1, multiplier));
            run.attributes.seen(at);
            if !kind.ends_with("_series") {
                run.attributes.take(&name, value);
            }
        }
        Ok(())
    }

    pub(crate) fn experiments(&self) -> BTreeMap<String, adopt::Experiment> {
        let mut found: BTreeMap<String, adopt::Experiment> = BTreeMap::new();
        for ((project, _), run) in &self.runs {
            let at = run.attributes.started();
            let made = || adopt::Experiment {
                name: project.clone(),
                lifecycle: Lifecycle::Active,
                created_at: at,
                updated_at: at,
                tags: BTreeMap::new(),
            };
            let experiment = found.entry(project.clone()).or_insert_with(made);
            experiment.created_at = experiment.created_at.min(at);
            experiment.updated_at = experiment.updated_at.max(at);
        }
        found
    }

    pub(crate) fn runs(&self, experiment: &str) -> Vec<adopt::Run> {
        let of = || self.runs.iter().filter(|((project, _), _)| project == experiment);
        // A run is called by its id, or by the names that its user gave it.
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for ((project, id), run) in of() {
            for name in run.attributes.names().chain([id.as_str()]) {
                known.insert(name, run_id(project, id));
            }
        }
        let adopted = |((project, id), run): (&(String, String), &Run)| {
            let parent = run.attributes.parent().and_then(|parent| known.get(parent)).cloned();
            let mut adopted = run.attributes.adopted(id, run_id(project, id), parent);
            if run.multiplier > 1 {
                adopted.tags.insert("neptune.step_multiplier".into(), run.multiplier.to_string());
            }
            adopted
        };
        of().map(adopted).collect()
    }

    fn find(&self, wanted: &str) -> Option<(&(String, String), &Run)> {
        self.runs.iter().find(|((project, id), _)| run_id(project, id) == wanted)
    }

    /// The records of a run.
    fn records(&self, run_id: &str, mut each: impl FnMut(&Run, Record)) -> Result<(), ImportError> {
        let Some(((project, id), run)) = self.find(run_id) else { return Ok(()) };
        for part in &run.parts {
            for record in Rows::open(part)? {
                let record = record?;
                if record.project == *project && record.run == *id {
                    each(run, record);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn series(&self, run_id: &str) -> Result<adopt::Series, ImportError> {
        let mut series = adopt::Series::new();
        self.records(run_id, |run, record| {
            if let Value::Float(value) = record.value
                && record.kind == "float_series"
            {
                let at = record.at.unwrap_or_else(|| run.attributes.started().millis());
                let step = record.step.map_or(0, |step| whole(step, run.multiplier));
                series.entry(key_of(&record.path)).or_default().push(Point { step, at, value });
            }
        })?;
        Ok(series)
    }

    /// Files as the exporter's own loader places them: below the name of their attribute.
    pub(crate) fn files(&self, run_id: &str) -> Result<Vec<RunFile>, ImportError> {
        let mut found = Vec::new();
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut histograms: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        self.records(run_id, |run, record| {
            let key = key_of(&record.path);
            let step = record.step.map(|step| whole(step, run.multiplier));
            let at = record.at.map(|at| Timestamp(at).to_string());
            match (record.kind.as_str(), record.value) {
                ("string_series", Value::Text(text)) => {
                    let step = step.map(|step| step.to_string()).unwrap_or_default();
                    let lines = texts.entry(format!("{key}/series.txt")).or_default();
                    // Writing to a String cannot fail.
                    let _ = writeln!(lines, "{step}; {}; {text}", at.unwrap_or_default());
                }
                (_, Value::Histogram { kind, edges, values }) => {
                    let histogram =
                        json!({"step": step, "type": kind, "edges": edges, "values": values, "timestamp": at});
                    histograms.entry(format!("{key}/histograms.json")).or_default().push(histogram);
                }
                ("file_set", Value::File(path)) => found.push(RunFile { to: key, from: self.on_disk(&path) }),
                (kind, Value::File(path)) => {
                    let name = path.rsplit('/').next().unwrap_or("file").to_owned();
                    let to = match step.filter(|_| kind == "file_series") {
                        Some(step) => format!("{key}/step_{step}/{name}"),
                        None => format!("{key}/{name}"),
                    };
                    found.push(RunFile { to, from: self.on_disk(&path) });
                }
                ("string", Value::Text(text)) if attributes::is_cut(&text) => {
                    found.push(RunFile { to: format!("{key}/value.txt"), from: Origin::Text(text) });
                }
                _ => {}
            }
        })?;
        found.extend(texts.into_iter().map(|(to, text)| RunFile { to, from: Origin::Text(text) }));
        found.extend(histograms.into_iter().map(|(to, list)| {
            let text = json!({"histograms": list}).to_string();
            RunFile { to, from: Origin::Text(text) }
        }));
        Ok(found)
    }

    fn on_disk(&self, path: &str) -> Origin {
        match names::confined_path(path.trim_end_matches('/')).map(|path| self.files.join(path)) {
            Some(found) if found.exists() => Origin::Disk(found),
            _ => Origin::Missing(path.to_owned()),
        }
    }
}

/// The id that a run of the export has here.
fn run_id(project: &str, run: &str) -> String {
    id_of(&["neptune", project, run])
}

/// A run of which the exporter has written the last part: the first one gets its name last.
fn is_whole(path: &Path) -> bool {
    let Some((run, _)) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once("_part_"))
    else {
        return true;
    };
    fs::exists(path.with_file_name(format!("{run}_part_0.parquet"))).unwrap_or(false)
}

/// Millionths in a step.
const MILLION: i64 = 1_000_000;

/// The least power of ten that makes a step, in millionths, whole.
fn multiplier(millionths: i64) -> i64 {
    let mut multiplier = 1;
    while multiplier < MILLION && millionths % (MILLION / multiplier) != 0 {
        multiplier *= 10;
    }
    multiplier
}

fn whole(millionths: i64, multiplier: i64) -> i64 {
    millionths / (MILLION / multiplier.clamp(1, MILLION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_whole_by_the_least_power_of_ten() {
        assert_eq!((multiplier(3_000_000), multiplier(0), multiplier(500_000)), (1, 1, 10));
        assert_eq!((multiplier(1_250_000), multiplier(-1), multiplier(1)), (100, MILLION, MILLION));
        assert_eq!((whole(1_250_000, 100), whole(3_000_000, 100), whole(7, MILLION)), (125, 300, 7));
    }
}
