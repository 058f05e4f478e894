//! Taking records over: files first, then the run in one transaction, then what is here is read again
//! and compared. A run that is there was taken over whole, so an import that broke off goes on.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use towpath_core::Actor;
use towpath_store::{Durability, Store, Tx, objects};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::metrics::{self, Point};
use towpath_tracking::{TrackingError, adopt, artifacts, logged_models, runs};

use crate::mlflow::rest::Rest;
use crate::neptune::Origin;
use crate::{DvcExperiment, ImportError, Source};

/// Files that are fetched from a server at the same time.
const FILES_AT_ONCE: usize = 4;

/// What was found, what of it was new, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub experiments: usize,
    pub runs: usize,
    pub new_runs: usize,
    pub points: usize,
    pub new_points: usize,
    pub logged_models: usize,
    pub new_logged_models: usize,
    pub files: u64,
    pub bytes: u64,
    pub models: usize,
    pub versions: usize,
    pub new_versions: usize,
    /// Runs and logged models whose files lie where only their clients reach them, such as a bucket.
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
    records(source, store, Some(files), served, by).await
}

/// Takes experiments of DVC over, as runs of one experiment. They bring no files.
pub async fn take_dvc_experiments(
    experiments: &[DvcExperiment],
    experiment: &str,
    store: &Store,
    by: &Actor,
) -> Result<Report, ImportError> {
    records(&Source::dvc_experiments(experiments, experiment)?, store, None, None, by).await
}

/// The same; without an artifact root files stay where they are, and runs and models name their folders.
pub(crate) async fn records(
    source: &Source,
    store: &Store,
    files: Option<Artifacts>,
    served: Option<&Path>,
    by: &Actor,
) -> Result<Report, ImportError> {
    let mut taking = Taking { source, store, files, served, by, report: Report::default(), moved: Vec::new() };
    for (theirs, experiment) in source.experiments().await? {
        taking.report.experiments += 1;
        let id = store.write(Durability::Relaxed, move |tx| adopt::experiment(tx, &experiment)).await?;
        for model in source.logged_models(&theirs).await? {
            taking.logged_model(id, model).await?;
        }
        for run in source.runs(&theirs).await? {
            let series = source.series(&theirs, &run.run_id).await?;
            taking.run(id, run, series).await?;
        }
    }
    for model in source.models().await? {
        taking.model(model).await?;
    }
    Ok(taking.report)
}

struct Taking<'t> {
    source: &'t Source,
    store: &'t Store,
    files: Option<Artifacts>,
    served: Option<&'t Path>,
    by: &'t Actor,
    report: Report,
    /// Where files were, and where they are now.
    moved: Vec<(String, String)>,
}

impl Taking<'_> {
    async fn run(&mut self, experiment: i64, mut run: adopt::Run, series: adopt::Series) -> Result<(), ImportError> {
        let run_id = run.run_id.clone();
        let (ours, known) = self
            .store
            .read(move |tx| {
                let ours = adopt::artifact_uri(tx, experiment, &run_id)?;
                Ok::<_, TrackingError>((ours, runs::info(tx, &run_id).ok()))
            })
            .await?;
        let theirs = run.artifact_uri.take().unwrap_or_default();
        // A run that had ended was taken over with all its files.
        let complete = known.is_some_and(|known| known.end_time.is_some());
        run.artifact_uri = self.place_of_files(theirs, &ours, complete).await?;
        self.put_files(&run.run_id, &ours, complete).await?;
        self.report.runs += 1;
        self.report.points += series.values().map(Vec::len).sum::<usize>();
        let adopted = {
            let (run, series, by) = (run.clone(), series.clone(), self.by.clone());
            self.store.write(Durability::Relaxed, move |tx| adopt::run(tx, &by, experiment, &run, &series)).await?
        };
        self.report.new_runs += usize::from(adopted.new);
        self.report.new_points += adopted.points;
        let found = self.store.read(move |tx| differences(tx, &run, &series)).await?;
        self.report.differences.extend(found);
        Ok(())
    }

    async fn logged_model(&mut self, experiment: i64, mut model: adopt::LoggedModel) -> Result<(), ImportError> {
        let model_id = model.model_id.clone();
        let (ours, known) = self
            .store
            .read(move |tx| {
                let ours = adopt::logged_model_uri(tx, experiment, &model_id)?;
                Ok::<_, TrackingError>((ours, logged_models::get(tx, &model_id).is_ok()))
            })
            .await?;
        let theirs = model.artifact_uri.take().unwrap_or_default();
        model.artifact_uri = self.place_of_files(theirs, &ours, known).await?;
        self.report.logged_models += 1;
        let new = self.store.write(Durability::Relaxed, move |tx| adopt::logged_model(tx, experiment, &model)).await?;
        self.report.new_logged_models += usize::from(new);
        Ok(())
    }

    async fn model(&mut self, mut model: adopt::Model) -> Result<(), ImportError> {
        for version in &mut model.versions {
            let location = without_scheme(&version.storage_location);
            let below = self.moved.iter().find_map(|(from, to)| Some((to, below(location, without_scheme(from))?)));
            if let Some((to, rest)) = below {
                version.storage_location = format!("{to}{rest}");
            }
        }
        self.report.models += 1;
        self.report.versions += model.versions.len();
        let (now, by) = (self.store.now(), self.by.clone());
        let new = self.store.write(Durability::Full, move |tx| adopt::model(tx, now, &by, &model)).await?;
        self.report.new_versions += new;
        Ok(())
    }

    /// Brings files along; `None` when they are where ours are, or else where they stay.
    async fn place_of_files(
        &mut self,
        theirs: String,
        ours: &str,
        complete: bool,
    ) -> Result<Option<String>, ImportError> {
        let Some(files) = self.files.clone() else {
            let Some(folder) = folder_of(&theirs, self.served).map(|folder| folder.display().to_string()) else {
                self.report.files_elsewhere += usize::from(!theirs.is_empty());
                return Ok(Some(theirs));
            };
            self.moved.push((theirs, folder.clone()));
            return Ok(Some(folder));
        };
        if self.copy(&files, &theirs, ours, complete).await? {
            return Ok(None);
        }
        self.report.files_elsewhere += 1;
        Ok(Some(theirs))
    }

    /// Files of a run that the source names one by one; those of a complete run were put before.
    async fn put_files(&mut self, run_id: &str, ours: &str, complete: bool) -> Result<(), ImportError> {
        let (Some(files), Some(to)) = (self.files.clone(), artifacts::path_of_uri(ours)) else { return Ok(()) };
        for file in self.source.files(run_id)? {
            let place = format!("{to}/{}", file.to);
            let (count, bytes) = match file.from {
                Origin::Disk(_) | Origin::Text(_) if complete => (0, 0),
                Origin::Disk(path) => files.put_folder(&place, &path).await?,
                Origin::Text(text) => {
                    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
                    (1, files.put(&place, body).await?)
                }
                Origin::Missing(path) => {
                    self.report.differences.push(format!("run {run_id}: file '{path}' is not in the export"));
                    (0, 0)
                }
            };
            self.report.files += count;
            self.report.bytes += bytes;
        }
        Ok(())
    }

    /// Copies what lies at an address of the source, unless it was copied before; false when it is out
    /// of reach.
    async fn copy(&mut self, files: &Artifacts, theirs: &str, ours: &str, complete: bool) -> Result<bool, ImportError> {
        if theirs.is_empty() {
            return Ok(true);
        }
        let Some(to) = artifacts::path_of_uri(ours) else { return Ok(false) };
        let copied = match (folder_of(theirs, self.served), self.source.server(), artifacts::path_of_uri(theirs)) {
            (Some(folder), ..) if complete || !folder.is_dir() => (0, 0),
            (Some(folder), ..) => files.put_folder(to, &folder).await?,
            (None, Some(_), Some(_)) if complete => (0, 0),
            (None, Some(server), Some(from)) => download(files, server, from, to).await?,
            _ => return Ok(false),
        };
        self.report.files += copied.0;
        self.report.bytes += copied.1;
        self.moved.push((theirs.to_owned(), ours.to_owned()));
        Ok(true)
    }
}

/// Files that a server stores; one that is here with its size is not fetched again.
async fn download(files: &Artifacts, server: &Rest, from: &str, to: &str) -> Result<(u64, u64), ImportError> {
    let found = server.files(from).await?;
    let fetched = futures_util::stream::iter(found)
        .map(|file| async move {
            let place = format!("{to}/{}", file.path);
            if files.size(&place).await.ok() == Some(file.size) {
                return Ok(None);
            }
            let body = server.download(&format!("{from}/{}", file.path)).await?;
            Ok::<_, ImportError>(Some(files.put(&place, body).await?))
        })
        .buffer_unordered(FILES_AT_ONCE);
    let sizes: Vec<Option<u64>> = fetched.try_collect().await?;
    let sizes: Vec<u64> = sizes.into_iter().flatten().collect();
    Ok((sizes.len() as u64, sizes.iter().sum()))
}

/// What of a run is not here as it was there.
fn differences(tx: &mut Tx<'_>, run: &adopt::Run, series: &adopt::Series) -> Result<Vec<String>, TrackingError> {
    let here = runs::get(tx, &run.run_id)?;
    let mut found = Vec::new();
    let mut unequal = |what: String| found.push(format!("run {}: {what}", run.run_id));
    for (key, value) in run.params.iter().filter(|(key, value)| here.params.get(*key) != Some(*value)) {
        unequal(format!("param '{key}' is not '{value}'"));
    }
    if here.datasets.len() < run.datasets.len() {
        unequal(format!("{} of {} datasets", here.datasets.len(), run.datasets.len()));
    }
    for (key, points) in series {
        let there = metrics::history(tx, &run.run_id, key, 0, None)?;
        let lost = points.iter().filter(|point| !holds(&there, **point)).count();
        if lost > 0 {
            unequal(format!("metric '{key}' lacks {lost} of {} points", points.len()));
        }
    }
    Ok(found)
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
