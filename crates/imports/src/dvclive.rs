//! Folders that DVCLive writes: `metrics.json` with the latest values, `params.yaml`, and a file with
//! rows `[timestamp,] step, NAME` for each series. A folder is a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value as Json;
use towpath_core::{Clock as _, SystemClock, Timestamp};
use towpath_tracking::metrics::Point;
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{Lifecycle, adopt, tags};
use walkdir::WalkDir;

use crate::ImportError;
use crate::recorded::{Recorded, files_where, flatten, id_of, key_of, number, shown};

/// What DVCLive writes last at the end of each step.
const SUMMARY: &str = "metrics.json";
const PARAMS: &str = "params.yaml";
const SERIES: &str = "plots/metrics/";
/// A folder in which something changed so recently is still being written.
const QUIET: Duration = Duration::from_mins(1);

/// The folders of DVCLive at or below a path. One whose first step is not complete has no summary yet.
pub(crate) fn folders(root: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let summaries = files_where(root, |name| name == SUMMARY)?;
    let folders = summaries.iter().filter_map(|path| path.parent());
    Ok(folders.filter(|folder| folder.join("plots").is_dir()).map(Path::to_owned).collect())
}

/// Reads the folders of DVCLive at or below a path as runs of one experiment.
pub(crate) fn read(root: &Path, experiment: &str) -> Result<Recorded, ImportError> {
    let mut recorded = Recorded::default();
    for folder in folders(root)? {
        let name = folder.strip_prefix(root).unwrap_or(&folder).to_string_lossy().into_owned();
        let name = if name.is_empty() { file_name(&folder) } else { name };
        let live = Live::of(&texts(&folder)?)?;
        let run = live.adopted(&folder, experiment, name)?;
        recorded.add(experiment, run, live.series);
    }
    Ok(recorded)
}

/// The texts of files by their paths.
type Texts = BTreeMap<String, String>;

/// Whether a path in a folder of DVCLive is one of those that say what was logged.
pub fn is_record(path: &str) -> bool {
    path == SUMMARY || path == PARAMS || path.starts_with(SERIES) && path.ends_with(".tsv")
}

fn texts(folder: &Path) -> Result<Texts, ImportError> {
    let mut texts = Texts::new();
    for path in files_where(folder, |name| name == SUMMARY || name == PARAMS || name.ends_with(".tsv"))? {
        let below = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        if is_record(&below) {
            texts.insert(below, fs::read_to_string(&path).map_err(ImportError::file(&path))?);
        }
    }
    Ok(texts)
}

/// The series of a folder whose files are these.
pub(crate) fn series(files: &Texts) -> Result<adopt::Series, ImportError> {
    Ok(Live::of(files)?.series)
}

/// What one folder says.
#[derive(Debug, Default)]
struct Live {
    params: BTreeMap<String, String>,
    series: adopt::Series,
    /// Values of the summary that are no numbers.
    words: BTreeMap<String, String>,
    /// The rows of the first step: they stay as they are while the run goes on.
    first: Vec<(String, Point)>,
}

impl Live {
    /// Of the texts of a folder's files, by their paths in it.
    fn of(files: &Texts) -> Result<Self, ImportError> {
        let mut live = Self::default();
        if let Some(text) = files.get(PARAMS) {
            live.params = parameters(&towpath_yaml::parse(PARAMS, text)?.field().to_json());
        }
        for (path, text) in files {
            let Some(key) = path.strip_prefix(SERIES).and_then(|path| path.strip_suffix(".tsv")) else { continue };
            let points = points(text).ok_or_else(|| {
                let detail = "the columns are not [timestamp,] step and the name of the metric";
                ImportError::content(Path::new(path), detail)
            })?;
            live.series.insert(key_of(key), points);
        }
        let first = live.series.values().flatten().map(|point| point.step).min();
        live.first = (live.series.iter())
            .flat_map(|(key, points)| points.iter().map(move |point| (key.clone(), *point)))
            .filter(|(_, point)| Some(point.step) == first)
            .collect();
        live.summary(files.get(SUMMARY).map_or("", String::as_str));
        Ok(live)
    }

    /// Latest values: those of metrics that have no series, logged with `plot=False`, are points.
    fn summary(&mut self, text: &str) {
        // Half a file is what a step leaves that is being written.
        let Ok(summary) = serde_json::from_str::<Json>(text) else { return };
        let step = summary["step"].as_i64().unwrap_or(0);
        let at = self.series.values().flatten().map(|point| point.at).max().unwrap_or(0);
        let mut flat = Vec::new();
        for (name, value) in summary.as_object().into_iter().flatten().filter(|(name, _)| *name != "step") {
            flatten(name, value, "/", &mut flat);
        }
        for (name, value) in flat {
            let key = key_of(&name);
            match number(value) {
                Some(value) => {
                    self.series.entry(key).or_insert_with(|| vec![Point { step, at, value }]);
                }
                None => {
                    self.words.insert(key, shown(value));
                }
            }
        }
    }

    fn adopted(&self, folder: &Path, experiment: &str, name: String) -> Result<adopt::Run, ImportError> {
        let (begun, changed) = times(folder)?;
        let ended = !is_being_written(folder, changed);
        let stamps = || self.series.values().flatten().map(|point| point.at).filter(|at| *at > 0);
        let (begun, changed) = (stamps().min().unwrap_or(begun), stamps().max().unwrap_or(changed));
        // DVCLive empties the folder for the next run. So a run is what it began with.
        let identity = format!("{:?}{:?}", self.params, self.first);
        let mut tags = BTreeMap::from([(tags::RUN_NAME.to_owned(), name.clone())]);
        for (key, word) in &self.words {
            tags.insert(key_of(&format!("dvclive.summary.{key}")), word.clone());
        }
        Ok(adopt::Run {
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
            run_id: id_of(&["dvclive", experiment, &name, &identity]),
            name,
            user: String::new(),
            status: if ended { RunStatus::Finished } else { RunStatus::Running },
            start_time: Timestamp(begun),
            end_time: ended.then_some(Timestamp(changed)),
            lifecycle: Lifecycle::Active,
            artifact_uri: Some(folder.display().to_string()),
            params: self.params.clone(),
            tags,
        })
    }
}

/// The values of a file of parameters by their dotted names; a list is one value.
pub(crate) fn parameters(values: &Json) -> BTreeMap<String, String> {
    let mut flat = Vec::new();
    for (name, value) in values.as_object().into_iter().flatten() {
        flatten(name, value, ".", &mut flat);
    }
    flat.into_iter().map(|(name, value)| (key_of(&name), shown(value))).collect()
}

/// The rows of a series; a last one without its end is still being written. `None` for other columns.
fn points(text: &str) -> Option<Vec<Point>> {
    let mut lines = text.split_inclusive('\n');
    let columns: Vec<&str> = lines.next()?.trim_end().split('\t').collect();
    let (timed, width) = match columns[..] {
        ["timestamp", "step", _] => (true, 3),
        ["step", _] => (false, 2),
        _ => return None,
    };
    let point = |line: &str| {
        let cells: Vec<&str> = line.trim_end().split('\t').collect();
        let [.., step, value] = cells[..] else { return None };
        if cells.len() != width {
            return None;
        }
        let at = if timed { cells[0].parse().ok()? } else { 0 };
        Some(Point { step: step.parse().ok()?, at, value: value.parse().ok()? })
    };
    Some(lines.filter(|line| line.ends_with('\n')).filter_map(point).collect())
}

/// When something in the folder changed first and last, in milliseconds.
fn times(folder: &Path) -> Result<(i64, i64), ImportError> {
    let (mut first, mut last) = (i64::MAX, 0);
    for entry in WalkDir::new(folder) {
        let entry = entry.map_err(|e| ImportError::File { path: folder.to_owned(), source: e.into() })?;
        let Ok(about) = entry.metadata() else { continue };
        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if let Some(changed) = changed.filter(|_| entry.file_type().is_file()) {
            let changed = changed.as_millis() as i64;
            (first, last) = (first.min(changed), last.max(changed));
        }
    }
    Ok((first.min(last), last))
}

/// Something changed just now, or DVCLive says in the repository's folder that it is at work.
fn is_being_written(folder: &Path, changed: i64) -> bool {
    let signal = |folder: &Path| folder.join(".dvc/tmp/exps/run/DVCLIVE_ONLY");
    if let Some(repository) = folder.ancestors().find(|folder| folder.join(".dvc").is_dir()) {
        return fs::read_to_string(signal(repository)).is_ok_and(|text| is_alive(&text));
    }
    SystemClock.now().since(Timestamp(changed)) < QUIET
}

/// Whether the process that a signal of DVCLive names is there: one that was killed leaves its signal.
fn is_alive(signal: &str) -> bool {
    let signal: Json = serde_json::from_str(signal).unwrap_or_default();
    signal["pid"].as_u64().is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
}

fn file_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_step_and_maybe_a_time_and_the_last_may_be_half() {
        let point = |step, at, value| Point { step, at, value };
        assert_eq!(points("step\tloss\n0\t0.5\n1\t0.2"), Some(vec![point(0, 0, 0.5)]));
        assert_eq!(points("timestamp\tstep\tloss\n17\t3\tnan\n"), Some(vec![point(3, 17, f64::NAN)]));
        assert_eq!(points("step\tword\n0\tgood\n"), Some(Vec::new()));
        assert!(points("loss\n1\n").is_none() && points("").is_none());
    }
}
