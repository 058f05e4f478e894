//! What is here goes into a running MLflow server: experiments, runs with their histories and files,
//! logged models, the registry. Servers give ids of their own; the tag `towpath.run_id` keeps ours (a
//! Towpath takes it as the id), so that an export that broke off goes on. The tag `towpath.exported` says
//! what was brought: one that is made again brings only what has changed since.

mod files;
mod registry;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use towpath_core::{Digest, Timestamp};
use towpath_store::{Store, objects};
use towpath_tracking::artifacts::{Artifacts, path_of_uri};
use towpath_tracking::experiments::Experiment;
use towpath_tracking::logged_models::LoggedModel;
use towpath_tracking::metrics::{self, Point};
use towpath_tracking::runs::Run;
use towpath_tracking::search::{self, Query};
use towpath_tracking::tags::{self, BROUGHT, MODEL_ID, RUN_ID};
use towpath_tracking::{View, batch, views};

use self::files::File;
pub(crate) use self::files::Files;
use crate::mlflow::rest::{Credentials, Rest, int, real};
use crate::{ImportError, mlflow};

/// Runs and models of a page.
const PAGE: usize = 500;

/// What was found, what of it was new there, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
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
    let files = Files::Stored(Artifacts::new(objects::open(artifact_root)?));
    records(store, files, Numbers::Same, url, credentials).await
}

/// Which numbers the versions of registered models get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Those that they have here: the registry moves.
    Same,
    /// The next ones: others bring versions of the same models.
    Next,
}

pub(crate) async fn records(
    store: &Store,
    files: Files,
    numbers: Numbers,
    url: &str,
    credentials: Credentials,
) -> Result<Exported, ImportError> {
    let rest = mlflow::Server::open(url, credentials).await?.rest;
    let to_towpath = rest.is_towpath().await?;
    let mut export = Export {
        store,
        files,
        rest,
        to_towpath,
        done: Exported::default(),
        runs: BTreeMap::new(),
        models: BTreeMap::new(),
    };
    for experiment in store.read(views::experiments).await? {
        let id = experiment.id;
        let experiment = store.read(move |tx| towpath_tracking::experiments::get(tx, id)).await?;
        export.experiment(&experiment).await?;
    }
    export.registry(numbers).await?;
    Ok(export.done)
}

struct Export<'e> {
    store: &'e Store,
    files: Files,
    rest: Rest,
    /// The other server is a Towpath.
    to_towpath: bool,
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
    /// What of it was brought there last, and when that began.
    brought: Option<(String, i64)>,
    /// As it was found, with tags, parameters and latest points; nothing for one that is new.
    found: Value,
    /// What is being brought; nothing when all of it is there.
    bringing: Option<(String, i64)>,
}

impl There {
    fn run(run: &Value) -> Self {
        Self {
            id: text(&run["info"]["run_id"]),
            artifact_uri: text(&run["info"]["artifact_uri"]),
            brought: brought(&run["data"]["tags"]),
            found: run["data"].clone(),
            bringing: None,
        }
    }

    fn model(model: &Value) -> Self {
        let info = &model["info"];
        Self {
            id: text(&info["model_id"]),
            artifact_uri: text(&info["artifact_uri"]),
            brought: brought(&info["tags"]),
            found: model["data"].clone(),
            bringing: None,
        }
    }

    /// Whether something of it is to be brought; `content` stands for all of it.
    fn begin(&mut self, content: String, now: i64) -> bool {
        let is_there = self.brought.as_ref().is_some_and(|(brought, _)| *brought == content);
        self.bringing = (!is_there).then_some((content, now));
        !is_there
    }

    /// The tag that says so when all of it is there.
    fn seal(&self) -> Option<Value> {
        let (content, at) = self.bringing.as_ref()?;
        Some(json!({"key": BROUGHT, "value": format!("{content} {at}")}))
    }
}

/// What the tag of something that was brought says.
fn brought(tags: &Value) -> Option<(String, i64)> {
    let tag = tag(tags, BROUGHT)?;
    let (content, at) = tag.split_once(' ')?;
    Some((content.to_owned(), at.parse().ok()?))
}

impl Export<'_> {
    async fn experiment(&mut self, experiment: &Experiment) -> Result<(), ImportError> {
        let theirs = self.experiment_there(experiment).await?;
        self.done.experiments += 1;
        let known = self.known_runs(&theirs).await?;
        let runs = self.runs_of(experiment.id).await?;
        for run in &runs {
            self.run(&theirs, run, known.get(&run.info.run_id).cloned()).await?;
        }
        let known = self.known_models(&theirs).await?;
        for model in self.logged_models_of(experiment.id).await? {
            self.logged_model(&theirs, &model, known.get(&model.model_id).cloned()).await?;
        }
        for run in &runs {
            self.finish(run).await?;
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
        let known = |run: &Value| (tag(&run["data"]["tags"], RUN_ID).unwrap_or_default(), There::run(run));
        Ok(found.iter().map(known).collect())
    }

    async fn known_models(&self, experiment: &str) -> Result<BTreeMap<String, There>, ImportError> {
        let asked = json!({"experiment_ids": [experiment], "max_results": 50});
        let found = match self.rest.all("/logged-models/search", asked, "models").await {
            Err(ImportError::Refused { status: 404, .. }) => Vec::new(),
            found => found?,
        };
        let known = |model: &Value| Some((tag(&model["info"]["tags"], MODEL_ID)?, There::model(model)));
        Ok(found.iter().filter_map(known).collect())
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
        let now = self.store.now().millis();
        let known = match known {
            Some(there) => Some(there),
            None => self.create_run(experiment, run).await?,
        };
        let Some(mut there) = known else { return Ok(()) };
        let series = self.series(run).await?;
        let files = self.files.below(&run.info.artifact_uri).await?;
        if there.begin(content_of_run(run, &series, files.as_deref()), now) {
            self.log(&there, run, &series).await?;
            self.upload(&run.info.artifact_uri, files, &there).await?;
        }
        self.runs.insert(run.info.run_id.clone(), there);
        Ok(())
    }

    async fn series(&mut self, run: &Run) -> Result<BTreeMap<String, Vec<Point>>, ImportError> {
        let keys: BTreeSet<String> = run.metrics.iter().map(|metric| metric.key.clone()).collect();
        let mut series = BTreeMap::new();
        for key in keys {
            let (run_id, of) = (run.info.run_id.clone(), key.clone());
            series.insert(key, self.store.read(move |tx| metrics::history(tx, &run_id, &of, 0, None)).await?);
        }
        Ok(series)
    }

    /// `None`, and a difference that says so, when it was deleted there.
    async fn create_run(&mut self, experiment: &str, run: &Run) -> Result<Option<There>, ImportError> {
        let mut tags = self.tags_there(run);
        tags.insert(RUN_ID.into(), run.info.run_id.clone());
        let asked = json!({
            "experiment_id": experiment, "user_id": run.info.user, "run_name": run.info.name,
            "start_time": run.info.start_time.millis(), "tags": pairs(&tags),
        });
        match self.rest.post("/runs/create", &asked).await {
            Err(ImportError::Refused { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => {
                let found = self.rest.get("/runs/get", &[("run_id", &run.info.run_id)]).await?;
                if found["run"]["info"]["lifecycle_stage"] == "deleted" {
                    self.done.differences.push(format!("run {}: it is deleted there", run.info.run_id));
                    return Ok(None);
                }
                Ok(Some(There::run(&found["run"])))
            }
            made => {
                let mut there = There::run(&made?["run"]);
                there.found = Value::Null;
                self.done.new_runs += 1;
                Ok(Some(there))
            }
        }
    }

    /// The tags of a run as they are there: a parent that was brought has another id on some servers, and
    /// a Towpath writes its own tags itself.
    fn tags_there(&self, run: &Run) -> BTreeMap<String, String> {
        let mut tags = run.tags.clone();
        tags.retain(|key, _| key != BROUGHT && !(self.to_towpath && tags::is_reserved(key)));
        if let Some(parent) = tags.get_mut(tags::PARENT)
            && let Some(there) = self.runs.get(parent.as_str())
        {
            parent.clone_from(&there.id);
        }
        tags
    }

    /// Logs what is not there.
    async fn log(
        &mut self,
        there: &There,
        run: &Run,
        series: &BTreeMap<String, Vec<Point>>,
    ) -> Result<(), ImportError> {
        let batch = |what: &str, values: &[Value]| json!({"run_id": there.id, what: values});
        let (params, tags) = (texts(&there.found["params"]), texts(&there.found["tags"]));
        // What has another value there cannot be changed, and is found by the comparison.
        let lacking = run.params.iter().filter(|(key, _)| !params.contains_key(*key));
        let lacking: Vec<Value> = lacking.map(|(key, value)| json!({"key": key, "value": value})).collect();
        for params in lacking.chunks(batch::PARAMS) {
            self.rest.post("/runs/log-batch", &batch("params", params)).await?;
        }
        if !there.found.is_null() {
            let mut changed = self.tags_there(run);
            changed.retain(|key, value| tags.get(key) != Some(value));
            for tags in pairs(&changed).chunks(batch::TAGS) {
                self.rest.post("/runs/log-batch", &batch("tags", tags)).await?;
            }
        }
        let latest: BTreeSet<String> =
            there.found["metrics"].as_array().into_iter().flatten().map(|metric| text(&metric["key"])).collect();
        let mut lacking = Vec::new();
        for (key, points) in series {
            let known = if latest.contains(key) { self.history(&there.id, key).await? } else { BTreeSet::new() };
            let points = points.iter().filter(|point| !known.contains(&place_of(point)));
            lacking.extend(points.map(|point| metric(key, point)));
        }
        self.done.new_points += lacking.len();
        for points in lacking.chunks(batch::METRICS) {
            self.rest.post("/runs/log-batch", &batch("metrics", points)).await?;
        }
        Ok(())
    }

    /// The points of a series there.
    async fn history(&self, run_id: &str, key: &str) -> Result<BTreeSet<(i64, i64, u64)>, ImportError> {
        let asked = [("run_id", run_id), ("metric_key", key), ("max_results", "25000")];
        let history = self.rest.all_by_query("/metrics/get-history", &asked, "metrics").await?;
        let point = |point: &Value| Point {
            step: int(&point["step"]),
            at: int(&point["timestamp"]),
            value: real(&point["value"]),
        };
        Ok(history.iter().map(|found| place_of(&point(found))).collect())
    }

    async fn logged_model(
        &mut self,
        experiment: &str,
        model: &LoggedModel,
        known: Option<There>,
    ) -> Result<(), ImportError> {
        self.done.logged_models += 1;
        let now = self.store.now().millis();
        let mut there = match known {
            Some(there) => there,
            None => self.create_model(experiment, model).await?,
        };
        let files = self.files.below(&model.artifact_uri).await?;
        let is_there = !there.begin(content_of_model(model, files.as_deref()), now);
        self.models.insert(model.model_id.clone(), there.clone());
        if is_there {
            return Ok(());
        }
        self.upload(&model.artifact_uri, files, &there).await?;
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
        let whole = json!({"model_id": there.id, "tags": [there.seal()]});
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
        match self.rest.post("/logged-models", &asked).await {
            Err(ImportError::Refused { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => {
                let found = self.rest.get(&format!("/logged-models/{}", model.model_id), &[]).await?;
                Ok(There::model(&found["model"]))
            }
            made => {
                self.done.new_logged_models += 1;
                Ok(There::model(&made?["model"]))
            }
        }
    }

    /// What a run read and which models it read and made, how it ended, and that it is there as a whole.
    async fn finish(&mut self, run: &Run) -> Result<(), ImportError> {
        let Some(there) = self.runs.get(&run.info.run_id).cloned() else { return Ok(()) };
        if let Some(seal) = there.seal() {
            self.links(run, &there).await?;
            let asked = json!({
                "run_id": there.id, "status": run.info.status.as_str(), "run_name": run.info.name,
                "end_time": run.info.end_time.map(Timestamp::millis),
            });
            self.rest.post("/runs/update", &asked).await?;
            self.rest.post("/runs/log-batch", &json!({"run_id": there.id, "tags": [seal]})).await?;
        }
        self.compare(run, &there).await
    }

    async fn links(&self, run: &Run, there: &There) -> Result<(), ImportError> {
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

    /// Files that the other server stores itself.
    async fn upload(&mut self, ours: &str, files: Option<Vec<File>>, there: &There) -> Result<(), ImportError> {
        let (Some(files), Some(to)) = (files.as_deref(), path_of_uri(&there.artifact_uri)) else {
            self.done.files_elsewhere += usize::from(files.is_none_or(|files| !files.is_empty()));
            return Ok(());
        };
        let sent_at = there.brought.as_ref().map(|(_, at)| *at);
        let sent = self.files.send(&self.rest, ours, files, to, sent_at).await?;
        self.done.files += sent.files;
        self.done.bytes += sent.bytes;
        Ok(())
    }

    /// Reads a run there again: parameters, and every point.
    async fn compare(&mut self, run: &Run, there: &There) -> Result<(), ImportError> {
        let found = self.rest.get("/runs/get", &[("run_id", &there.id)]).await?;
        let params = texts(&found["run"]["data"]["params"]);
        let mut differs = |what: String| self.done.differences.push(format!("run {}: {what}", run.info.run_id));
        for (key, value) in run.params.iter().filter(|(key, value)| params.get(*key) != Some(*value)) {
            differs(format!("param '{key}' is not '{value}'"));
        }
        for (key, points) in self.series(run).await? {
            self.done.points += points.len();
            let known = self.history(&there.id, &key).await?;
            let lost = points.iter().filter(|point| !known.contains(&place_of(point))).count();
            if lost > 0 {
                let what = format!("metric '{key}' lacks {lost} of {} points", points.len());
                self.done.differences.push(format!("run {}: {what}", run.info.run_id));
            }
        }
        Ok(())
    }
}

/// A text that stands for all of a run that is brought.
fn content_of_run(run: &Run, series: &BTreeMap<String, Vec<Point>>, files: Option<&[File]>) -> String {
    let info = (&run.info.name, run.info.status, run.info.end_time);
    let tags: Vec<_> = run.tags.iter().filter(|(key, _)| !key.starts_with(tags::OURS)).collect();
    let series: Vec<_> =
        series.iter().map(|(key, points)| (key, points.iter().map(place_of).collect::<Vec<_>>())).collect();
    let all = (info, &run.params, &run.datasets, &run.model_inputs, &run.model_outputs, tags, series);
    shortened(&format!("{all:?}"), files)
}

fn content_of_model(model: &LoggedModel, files: Option<&[File]>) -> String {
    let text = format!("{:?}", (&model.status, &model.metrics, &model.params, &model.tags));
    shortened(&text, files)
}

fn shortened(text: &str, files: Option<&[File]>) -> String {
    let files = format!("{files:?}");
    Digest::of(format!("{text}\n{files}").as_bytes()).as_str()[..32].to_owned()
}

/// What makes two points the same.
fn place_of(point: &Point) -> (i64, i64, u64) {
    (point.step, point.at, bits(point.value))
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

fn texts(list: &Value) -> BTreeMap<String, String> {
    let pairs = list.as_array().into_iter().flatten();
    pairs.map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect()
}

fn tag(tags: &Value, key: &str) -> Option<String> {
    let mut tags = tags.as_array()?.iter();
    tags.find(|tag| tag["key"] == key).map(|tag| text(&tag["value"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
