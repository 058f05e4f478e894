//! Experiments of DVC: each is a commit, and becomes a run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use towpath_core::Timestamp;
use towpath_tracking::metrics::Point;
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{Lifecycle, adopt, tags};

use crate::recorded::{Recorded, flatten, id_of, key_of, number, shown};
use crate::{ImportError, dvclive};

/// The commit of an experiment, as whoever has the repository reads it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DvcExperiment {
    pub name: String,
    pub commit: String,
    /// The commit it began from.
    pub baseline: String,
    /// Seconds since 1970.
    pub committed_at: i64,
    /// Values of parameters and metrics by their file.
    pub params: BTreeMap<String, Json>,
    pub metrics: BTreeMap<String, Json>,
    /// Which version of its data (an MD5) a stage read, by path.
    pub data: BTreeMap<String, String>,
    /// Texts of the files that DVCLive wrote, by their folder and their path in it.
    pub live: BTreeMap<String, BTreeMap<String, String>>,
}

/// The file whose parameters need no name of a file before theirs.
const PARAMS: &str = "params.yaml";

pub(crate) fn read(experiments: &[DvcExperiment], experiment: &str) -> Result<Recorded, ImportError> {
    let mut recorded = Recorded::default();
    for one in experiments {
        let series = one.series()?;
        recorded.add(experiment, one.adopted(), series);
    }
    Ok(recorded)
}

impl DvcExperiment {
    /// The id of the run that an experiment becomes: always the same for its commit.
    pub fn run_id(commit: &str) -> String {
        id_of(&["dvc experiment", commit])
    }

    fn series(&self) -> Result<adopt::Series, ImportError> {
        let mut series = adopt::Series::new();
        let at = self.committed_at * 1000;
        let lives = |file: &str| {
            let folder = Path::new(file).parent().map(|folder| folder.to_string_lossy().into_owned());
            folder.is_some_and(|folder| self.live.contains_key(&folder))
        };
        for (file, values) in self.metrics.iter().filter(|(file, _)| !lives(file)) {
            let several = self.metrics.keys().filter(|file| !lives(file)).count() > 1;
            for (name, value) in values_of(file, values, several) {
                if let Some(value) = number(value) {
                    series.insert(key_of(&name), vec![Point { step: 0, at, value }]);
                }
            }
        }
        for files in self.live.values() {
            for (key, mut points) in dvclive::series(files)? {
                // What was logged without times was logged before the commit.
                points.iter_mut().filter(|point| point.at == 0).for_each(|point| point.at = at);
                series.entry(key).or_insert(points);
            }
        }
        Ok(series)
    }

    fn adopted(&self) -> adopt::Run {
        let mut params = BTreeMap::new();
        for (file, values) in &self.params {
            for (name, value) in values_of(file, values, file != PARAMS) {
                params.insert(key_of(&name), shown(value));
            }
        }
        let mut tags = BTreeMap::from([
            (tags::RUN_NAME.to_owned(), self.name.clone()),
            (tags::COMMIT.to_owned(), self.commit.clone()),
            ("dvc.exp.baseline".to_owned(), self.baseline.clone()),
        ]);
        for (path, version) in &self.data {
            tags.insert(key_of(&format!("dvc.data.{path}")), version.clone());
        }
        let at = Timestamp(self.committed_at * 1000);
        adopt::Run {
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
            run_id: Self::run_id(&self.commit),
            name: self.name.clone(),
            user: String::new(),
            status: RunStatus::Finished,
            start_time: at,
            end_time: Some(at),
            lifecycle: Lifecycle::Active,
            artifact_uri: None,
            params,
            tags,
        }
    }
}

/// The values of a file, each under the names that lead to it; behind the file's if that is needed.
fn values_of<'j>(file: &str, values: &'j Json, with_file: bool) -> Vec<(String, &'j Json)> {
    let mut flat = Vec::new();
    for (name, value) in values.as_object().into_iter().flatten() {
        flatten(name, value, ".", &mut flat);
    }
    // A colon parts them, as in DVC's tables.
    let named = |(name, value)| if with_file { (format!("{file}:{name}"), value) } else { (name, value) };
    flat.into_iter().map(named).collect()
}
