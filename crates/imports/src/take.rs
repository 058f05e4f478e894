//! Taking records over: files first, then the run in one transaction, then what is here is read again
//! and compared. A run that is there was taken over whole, so an import that broke off goes on.

use std::path::{Path, PathBuf};

use serde::Serialize;
use towpath_core::Actor;
use towpath_store::{Durability, Store, objects};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::metrics::{self, Point};
use towpath_tracking::{TrackingError, adopt, artifacts, runs};

use crate::{ImportError, Source};

/// What was found, what of it was new, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub experiments: usize,
    pub runs: usize,
    pub new_runs: usize,
    pub points: usize,
    pub new_points: usize,
    pub files: u64,
    pub bytes: u64,
    pub models: usize,
    pub versions: usize,
    pub new_versions: usize,
    /// Runs whose files lie where only their clients reach them, such as a bucket.
    pub files_elsewhere: usize,
    /// What is not here as it was there.
    pub differences: Vec<String>,
}

/// Takes all records of the source over into a server's database and artifact root. `served` is the
/// folder behind the source's `mlflow-artifacts:` addresses, if there is one.
pub async fn take(
    source: &Source,
    store: &Store,
    artifact_root: &str,
    served: Option<&Path>,
    by: &Actor,
) -> Result<Report, ImportError> {
    let files = Artifacts::new(objects::open(artifact_root)?);
    let mut report = Report::default();
    // Where files were, and where they are now.
    let mut moved: Vec<(String, String)> = Vec::new();
    for (theirs, experiment) in source.experiments().await? {
        report.experiments += 1;
        let id = store.write(Durability::Relaxed, move |tx| adopt::experiment(tx, &experiment)).await?;
        for run in source.runs(&theirs).await? {
            let series = source.series(&theirs, &run.run_id).await?;
            take_run(store, &files, served, by, id, run, series, &mut report, &mut moved).await?;
        }
    }
    for mut model in source.models().await? {
        for version in &mut model.versions {
            let location = without_scheme(&version.storage_location);
            let below = moved.iter().find_map(|(from, to)| Some((to, below(location, without_scheme(from))?)));
            if let Some((to, rest)) = below {
                version.storage_location = format!("{to}{rest}");
            }
        }
        report.models += 1;
        report.versions += model.versions.len();
        let (now, by) = (store.now(), by.clone());
        report.new_versions += store.write(Durability::Full, move |tx| adopt::model(tx, now, &by, &model)).await?;
    }
    Ok(report)
}

#[expect(clippy::too_many_arguments, reason = "one step of the loop above")]
async fn take_run(
    store: &Store,
    files: &Artifacts,
    served: Option<&Path>,
    by: &Actor,
    experiment: i64,
    mut run: adopt::Run,
    series: adopt::Series,
    report: &mut Report,
    moved: &mut Vec<(String, String)>,
) -> Result<(), ImportError> {
    let run_id = run.run_id.clone();
    let ours = {
        let run_id = run_id.clone();
        store.read(move |tx| adopt::artifact_uri(tx, experiment, &run_id)).await?
    };
    let known = {
        let run_id = run_id.clone();
        store.read(move |tx| Ok::<_, TrackingError>(runs::info(tx, &run_id).ok())).await?
    };
    let theirs = run.artifact_uri.take().unwrap_or_default();
    match (folder_of(&theirs, served), artifacts::path_of_uri(&ours)) {
        (Some(folder), Some(path)) => {
            // A run that had ended was taken over with all its files.
            if folder.is_dir() && known.as_ref().is_none_or(|known| known.end_time.is_none()) {
                let (count, bytes) = files.put_folder(path, &folder).await?;
                report.files += count;
                report.bytes += bytes;
            }
            moved.push((theirs, ours));
        }
        // It has none.
        (None, _) if theirs.is_empty() => {}
        _ => {
            report.files_elsewhere += 1;
            run.artifact_uri = Some(theirs);
        }
    }
    report.runs += 1;
    report.points += series.values().map(Vec::len).sum::<usize>();
    let adopted = {
        let (run, series, by) = (run.clone(), series.clone(), by.clone());
        store.write(Durability::Relaxed, move |tx| adopt::run(tx, &by, experiment, &run, &series)).await?
    };
    report.new_runs += usize::from(adopted.new);
    report.new_points += adopted.points;
    let differences = store.read(move |tx| {
        let here = runs::get(tx, &run.run_id)?;
        let mut found = Vec::new();
        let mut unequal = |what: String| found.push(format!("run {}: {what}", run.run_id));
        for (key, value) in run.params.iter().filter(|(key, value)| here.params.get(*key) != Some(*value)) {
            unequal(format!("param '{key}' is not '{value}'"));
        }
        for (key, points) in &series {
            let there = metrics::history(tx, &run.run_id, key, 0, None)?;
            let lost = points.iter().filter(|point| !holds(&there, **point)).count();
            if lost > 0 {
                unequal(format!("metric '{key}' lacks {lost} of {} points", points.len()));
            }
        }
        Ok::<_, TrackingError>(found)
    });
    report.differences.append(&mut differences.await?);
    Ok(())
}

/// Whether a history has the point; infinities are stored as the greatest numbers.
fn holds(history: &[Point], point: Point) -> bool {
    let value = point.value.clamp(f64::MIN, f64::MAX) + 0.0;
    let point = Point { value, ..point };
    let start = history.partition_point(|other| (other.at, other.step) < (point.at, point.step));
    history[start..].iter().take_while(|other| (other.at, other.step) == (point.at, point.step)).any(|o| *o == point)
}

/// The folder on this machine that an artifact URI of the source names.
fn folder_of(uri: &str, served: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = artifacts::path_of_uri(uri) {
        return Some(served?.join(path));
    }
    let path = without_scheme(uri);
    (!path.contains("://") && !path.is_empty()).then(|| PathBuf::from(path))
}

/// `file:///a` and `/a` are the same place.
fn without_scheme(uri: &str) -> &str {
    uri.strip_prefix("file:").map_or(uri, |rest| rest.strip_prefix("//").unwrap_or(rest))
}

/// What follows the folder in the address of something in it.
fn below<'l>(location: &'l str, folder: &str) -> Option<&'l str> {
    location.strip_prefix(folder).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_on_this_machine_are_recognised() {
        let served = Path::new("/srv/artifacts");
        let folder = |uri: &str| folder_of(uri, Some(served)).map(|p| p.display().to_string());
        assert_eq!(folder("mlflow-artifacts:/1/r/artifacts").as_deref(), Some("/srv/artifacts/1/r/artifacts"));
        assert_eq!(folder("file:///data/1").as_deref(), Some("/data/1"));
        assert_eq!(folder("./mlruns/1").as_deref(), Some("./mlruns/1"));
        assert_eq!((folder("s3://b/1"), folder("")), (None, None));
        assert_eq!(folder_of("mlflow-artifacts:/1", None), None);
    }

    #[test]
    fn a_location_is_below_whole_parts_only() {
        assert_eq!((below("/a/b/model", "/a/b"), below("/a/b", "/a/b")), (Some("/model"), Some("")));
        assert_eq!(below("/a/bc", "/a/b"), None);
    }
}
