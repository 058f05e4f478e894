//! What is here goes into a running MLflow server: experiments, runs with their histories and files,
//! logged models, the registry. Servers give ids of their own; the tag `towpath.run_id` keeps ours, so
//! that an export that broke off goes on, and one that is made again adds what is new.

mod registry;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use towpath_core::Timestamp;
use towpath_store::{Store, objects};
use towpath_tracking::artifacts::{Artifacts, path_of_uri};
use towpath_tracking::experiments::Experiment;
use towpath_tracking::logged_models::LoggedModel;
use towpath_tracking::metrics::{self, Point};
use towpath_tracking::runs::Run;
use towpath_tracking::search::{self, Query};
use towpath_tracking::{View, batch, views};

use crate::mlflow::rest::{Credentials, Rest, int, real};
use crate::{ImportError, mlflow};

/// Tags of what was exported: whose copy it is, and that the copy is whole.
const RUN_ID: &str = "towpath.run_id";
const MODEL_ID: &str = "towpath.model_id";
const EXPORTED: &str = "towpath.exported";
/// Runs and models of a page.
const PAGE: usize = 500;

/// What was found, what of it was new there, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    pub experiments: usize,
    pub runs: usize,
    pub new_runs: usize,
    pub points: usize,
    pub logged_models: usize,
    pub new_logged_models: usize,
    pub files: u64,
    pub bytes: u64,
    pub models: usize,
    pub versions: usize,
    pub new_versions: usize,
    /// Runs and logged models whose files neither server stores itself: they stay where they are.
    pub files_elsewhere: usize,
    /// What is not there as it is here.
    pub differences: Vec<String>,
}

/// Brings everything that is not deleted to the MLflow server at `url`.
pub async fn export(
    store: &Store,
    artifact_root: &str,
    url: &str,
    credentials: Credentials,
) -> Result<Exported, ImportError> {
    let rest = mlflow::Server::open(url, credentials).await?.rest;
    let files = Artifacts::new(objects::open(artifact_root)?);
    let mut export =
        Export { store, files, rest, done: Exported::default(), runs: BTreeMap::new(), models: BTreeMap::new() };
    for experiment in store.read(views::experiments).await? {
        let id = experiment.id;
        let experiment = store.read(move |tx| towpath_tracking::experiments::get(tx, id)).await?;
        export.experiment(&experiment).await?;
    }
    export.registry().await?;
    Ok(export.done)
}

struct Export<'e> {
    store: &'e Store,
    files: Artifacts,
    rest: Rest,
    done: Exported,
    /// Ours to theirs: id and artifact address.
    runs: BTreeMap<String, There>,
    models: BTreeMap<String, There>,
}

/// Where something is on the other server.
#[derive(Clone, Debug)]
struct There {
    id: String,
    artifact_uri: String,
    /// It was brought there whole.
    complete: bool,
}

impl Export<'_> {
    async fn experiment(&mut self, experiment: &Experiment) -> Result<(), ImportError> {
        let theirs = self.experiment_there(experiment).await?;
        self.done.experiments += 1;
        let known = self.known_runs(&theirs).await?;
        for run in self.runs_of(experiment.id).await? {
            self.run(&theirs, &run, known.get(&run.info.run_id).cloned()).await?;
        }
        let known = self.known_models(&theirs).await?;
        for model in self.logged_models_of(experiment.id).await? {
            self.logged_model(&theirs, &model, known.get(&model.model_id).cloned()).await?;
        }
        for run in self.runs_of(experiment.id).await? {
            self.links(&run).await?;
        }
        Ok(())
    }

    /// The id of the experiment of that name, made if it is not there.
    async fn experiment_there(&self, experiment: &Experiment) -> Result<String, ImportError> {
        let named = [("experiment_name", experiment.name.as_str())];
        match self.rest.get("/experiments/get-by-name", &named).await {
            Ok(found) => Ok(text(&found["experiment"]["experiment_id"])),
            Err(ImportError::Refused { status: 404, .. }) => {
                let asked = json!({"name": experiment.name, "tags": pairs(&experiment.tags)});
                Ok(text(&self.rest.post("/experiments/create", &asked).await?["experiment_id"]))
            }
            Err(error) => Err(error),
        }
    }

    async fn known_runs(&self, experiment: &str) -> Result<BTreeMap<String, There>, ImportError> {
        let asked = json!({
            "experiment_ids": [experiment], "max_results": 1000,
            "filter": format!("tags.`{RUN_ID}` != ''"),
        });
        let found = self.rest.all("/runs/search", asked, "runs").await?;
        let known = found.iter().map(|run| {
            let tags = &run["data"]["tags"];
            let there = There {
                id: text(&run["info"]["run_id"]),
                artifact_uri: text(&run["info"]["artifact_uri"]),
                complete: tag(tags, EXPORTED).is_some(),
            };
            (tag(tags, RUN_ID).unwrap_or_default(), there)
        });
        Ok(known.collect())
    }

    async fn known_models(&self, experiment: &str) -> Result<BTreeMap<String, There>, ImportError> {
        let asked = json!({"experiment_ids": [experiment], "max_results": 50});
        let found = match self.rest.all("/logged-models/search", asked, "models").await {
            Err(ImportError::Refused { status: 404, .. }) => Vec::new(),
            found => found?,
        };
        let known = found.iter().filter_map(|model| {
            let info = &model["info"];
            let there = There {
                id: text(&info["model_id"]),
                artifact_uri: text(&info["artifact_uri"]),
                complete: tag(&info["tags"], EXPORTED).is_some(),
            };
            Some((tag(&info["tags"], MODEL_ID)?, there))
        });
        Ok(known.collect())
    }

    async fn runs_of(&self, experiment: i64) -> Result<Vec<Run>, ImportError> {
        let mut runs = Vec::new();
        let mut query = Query { order_by: vec!["start_time ASC".into()], limit: PAGE, ..Query::default() };
        loop {
            let asked = query.clone();
            let page = self.store.read(move |tx| search::runs::search(tx, &[experiment], View::Active, &asked)).await?;
            runs.extend(page.items);
            if page.next_page_token.is_none() {
                return Ok(runs);
            }
            query.page_token = page.next_page_token;
        }
    }

    async fn logged_models_of(&self, experiment: i64) -> Result<Vec<LoggedModel>, ImportError> {
        let mut models = Vec::new();
        let mut query = Query { limit: PAGE, ..Query::default() };
        loop {
            let asked = query.clone();
            let read =
                move |tx: &mut towpath_store::Tx<'_>| search::logged_models::search(tx, &[experiment], &[], &asked);
            let page = self.store.read(read).await?;
            models.extend(page.items);
            if page.next_page_token.is_none() {
                return Ok(models);
            }
            query.page_token = page.next_page_token;
        }
    }

    async fn run(&mut self, experiment: &str, run: &Run, known: Option<There>) -> Result<(), ImportError> {
        self.done.runs += 1;
        let there = match known {
            Some(there) => there,
            None => self.create_run(experiment, run).await?,
        };
        self.runs.insert(run.info.run_id.clone(), there.clone());
        let keys: BTreeSet<String> = run.metrics.iter().map(|metric| metric.key.clone()).collect();
        let mut series = BTreeMap::new();
        for key in keys {
            let (run_id, of) = (run.info.run_id.clone(), key.clone());
            let points = self.store.read(move |tx| metrics::history(tx, &run_id, &of, 0, None)).await?;
            self.done.points += points.len();
            series.insert(key, points);
        }
        if !there.complete {
            self.log(&there.id, run, &series).await?;
            self.upload(&run.info.artifact_uri, &there.artifact_uri).await?;
            let status = run.info.status.as_str();
            let ended = run.info.end_time.map(Timestamp::millis);
            self.rest.post("/runs/update", &json!({"run_id": there.id, "status": status, "end_time": ended})).await?;
            if ended.is_some() {
                let whole = json!({"run_id": there.id, "key": EXPORTED, "value": "complete"});
                self.rest.post("/runs/set-tag", &whole).await?;
            }
        }
        self.compare(run, &there, &series).await
    }

    async fn create_run(&mut self, experiment: &str, run: &Run) -> Result<There, ImportError> {
        let mut tags = run.tags.clone();
        tags.insert(RUN_ID.into(), run.info.run_id.clone());
        // A parent that was brought there has another id there.
        if let Some(parent) = tags.get_mut("mlflow.parentRunId")
            && let Some(there) = self.runs.get(parent.as_str())
        {
            parent.clone_from(&there.id);
        }
        let asked = json!({
            "experiment_id": experiment, "user_id": run.info.user, "run_name": run.info.name,
            "start_time": run.info.start_time.millis(), "tags": pairs(&tags),
        });
        let made = self.rest.post("/runs/create", &asked).await?;
        self.done.new_runs += 1;
        let info = &made["run"]["info"];
        Ok(There { id: text(&info["run_id"]), artifact_uri: text(&info["artifact_uri"]), complete: false })
    }

    async fn log(&self, run_id: &str, run: &Run, series: &BTreeMap<String, Vec<Point>>) -> Result<(), ImportError> {
        let batch = |what: &str, values: &[Value]| json!({"run_id": run_id, what: values});
        let params = pairs(&run.params);
        for params in params.chunks(batch::PARAMS) {
            self.rest.post("/runs/log-batch", &batch("params", params)).await?;
        }
        let points: Vec<Value> =
            series.iter().flat_map(|(key, points)| points.iter().map(move |point| metric(key, point))).collect();
        for points in points.chunks(batch::METRICS) {
            self.rest.post("/runs/log-batch", &batch("metrics", points)).await?;
        }
        Ok(())
    }

    async fn logged_model(
        &mut self,
        experiment: &str,
        model: &LoggedModel,
        known: Option<There>,
    ) -> Result<(), ImportError> {
        self.done.logged_models += 1;
        let there = match known {
            Some(there) => there,
            None => self.create_model(experiment, model).await?,
        };
        self.models.insert(model.model_id.clone(), there.clone());
        if there.complete {
            return Ok(());
        }
        self.upload(&model.artifact_uri, &there.artifact_uri).await?;
        for measured in &model.metrics {
            let Some(run) = self.runs.get(&measured.run_id) else { continue };
            let m = &measured.metric;
            let mut asked = metric(&m.key, &Point { step: m.step, at: m.timestamp, value: m.value });
            asked["run_id"] = json!(run.id);
            asked["model_id"] = json!(there.id);
            asked["dataset_name"] = json!(m.dataset_name);
            asked["dataset_digest"] = json!(m.dataset_digest);
            self.rest.post("/runs/log-metric", &asked).await?;
        }
        let place = format!("/logged-models/{}", there.id);
        let status = json!({"model_id": there.id, "status": model.status.as_str()});
        self.rest.call(Method::PATCH, &place, &status).await?;
        let whole = json!({"model_id": there.id, "tags": [{"key": EXPORTED, "value": "complete"}]});
        self.rest.call(Method::PATCH, &format!("{place}/tags"), &whole).await?;
        Ok(())
    }

    async fn create_model(&mut self, experiment: &str, model: &LoggedModel) -> Result<There, ImportError> {
        let mut tags = model.tags.clone();
        tags.insert(MODEL_ID.into(), model.model_id.clone());
        let run = model.source_run_id.as_ref().and_then(|run| self.runs.get(run)).map(|there| &there.id);
        let asked = json!({
            "experiment_id": experiment, "name": model.name, "model_type": model.model_type,
            "source_run_id": run, "params": pairs(&model.params), "tags": pairs(&tags),
        });
        let made = self.rest.post("/logged-models", &asked).await?;
        self.done.new_logged_models += 1;
        let info = &made["model"]["info"];
        Ok(There { id: text(&info["model_id"]), artifact_uri: text(&info["artifact_uri"]), complete: false })
    }

    /// What a run read and which models it read and made.
    async fn links(&self, run: &Run) -> Result<(), ImportError> {
        let Some(there) = self.runs.get(&run.info.run_id).filter(|there| !there.complete) else { return Ok(()) };
        let datasets: Vec<Value> = run
            .datasets
            .iter()
            .map(|input| {
                let d = &input.dataset;
                json!({"tags": input.tags, "dataset": {
                    "name": d.name, "digest": d.digest, "source_type": d.source_type, "source": d.source,
                    "schema": d.schema, "profile": d.profile,
                }})
            })
            .collect();
        let read = run.model_inputs.iter().filter_map(|model| self.models.get(model));
        let read: Vec<Value> = read.map(|there| json!({"model_id": there.id})).collect();
        if !datasets.is_empty() || !read.is_empty() {
            let asked = json!({"run_id": there.id, "datasets": datasets, "models": read});
            self.rest.post("/runs/log-inputs", &asked).await?;
        }
        let made =
            run.model_outputs.iter().filter_map(|output| Some((self.models.get(&output.model_id)?, output.step)));
        let made: Vec<Value> = made.map(|(there, step)| json!({"model_id": there.id, "step": step})).collect();
        if !made.is_empty() {
            self.rest.post("/runs/outputs", &json!({"run_id": there.id, "models": made})).await?;
        }
        Ok(())
    }

    /// Files that both servers store themselves.
    async fn upload(&mut self, ours: &str, theirs: &str) -> Result<(), ImportError> {
        let Some(from) = path_of_uri(ours) else {
            self.done.files_elsewhere += 1;
            return Ok(());
        };
        let files = self.files.files(from).await?;
        let Some(to) = path_of_uri(theirs) else {
            self.done.files_elsewhere += usize::from(!files.is_empty());
            return Ok(());
        };
        for file in files {
            let download = self.files.get(&format!("{from}/{}", file.path), None).await?;
            let body = download.body.map_err(std::io::Error::other);
            self.rest.upload(&format!("{to}/{}", file.path), reqwest::Body::wrap_stream(body)).await?;
            self.done.files += 1;
            self.done.bytes += file.size;
        }
        Ok(())
    }

    /// Reads a run there again: parameters, and every point.
    async fn compare(
        &mut self,
        run: &Run,
        there: &There,
        series: &BTreeMap<String, Vec<Point>>,
    ) -> Result<(), ImportError> {
        let found = self.rest.get("/runs/get", &[("run_id", &there.id)]).await?;
        let params: BTreeMap<String, String> = found["run"]["data"]["params"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|param| (text(&param["key"]), text(&param["value"])))
            .collect();
        let mut differs = |what: String| self.done.differences.push(format!("run {}: {what}", run.info.run_id));
        if params != run.params {
            differs("other parameters".into());
        }
        for (key, points) in series {
            let asked = [("run_id", there.id.as_str()), ("metric_key", key), ("max_results", "25000")];
            let history = self.rest.all_by_query("/metrics/get-history", &asked, "metrics").await?;
            let there: BTreeSet<(i64, i64, u64)> = history
                .iter()
                .map(|point| (int(&point["step"]), int(&point["timestamp"]), bits(real(&point["value"]))))
                .collect();
            let lost = points.iter().filter(|p| !there.contains(&(p.step, p.at, bits(p.value)))).count();
            if lost > 0 {
                differs(format!("metric '{key}' lacks {lost} of {} points", points.len()));
            }
        }
        Ok(())
    }
}

/// All NaN are one value, and so are both zeros.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

fn metric(key: &str, point: &Point) -> Value {
    let value = if point.value.is_nan() { json!("NaN") } else { json!(point.value) };
    json!({"key": key, "value": value, "timestamp": point.at, "step": point.step})
}

fn pairs(texts: &BTreeMap<String, String>) -> Vec<Value> {
    texts.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

fn tag(tags: &Value, key: &str) -> Option<String> {
    let mut tags = tags.as_array()?.iter();
    tags.find(|tag| tag["key"] == key).map(|tag| text(&tag["value"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
