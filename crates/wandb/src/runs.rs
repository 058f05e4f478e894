//! Operations on runs: a project is an experiment, a run a tracked run whose id follows from its names.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_core::{Timestamp, names};
use towpath_edge::Refusal as _;
use towpath_imports::wandb::mapping::{self, Object};
use towpath_store::Tx;
use towpath_tracking::artifacts::path_of_uri;
use towpath_tracking::registry::versions;
use towpath_tracking::runs::{self as tracked, Run, RunStatus, Update};
use towpath_tracking::{KeyValue, Lifecycle, TrackingError, adopt, experiments, metrics, params, tags, views};

use crate::access::Caller;
use crate::graphql::Variables;
use crate::progress::{self, Progress};
use crate::{ApiError, address, history};

/// The tag with the id that the client gave the run.
const RUN_ID: &str = "wandb.run_id";
const NOTE: &str = "mlflow.note.content";
/// Characters of an entity, a project or the id of a run.
const NAME: usize = 256;

/// Which run of Weights & Biases.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub entity: String,
    pub project: String,
    pub name: String,
}

impl Named {
    pub(crate) fn new(entity: String, project: &str, name: String) -> Result<Self, ApiError> {
        let project = mapping::experiment(project).to_owned();
        for (what, text) in [("entity", &entity), ("project", &project), ("run", &name)] {
            let refused = text.is_empty() || text.chars().count() > NAME || text.contains(['/', '\n', '\0']);
            if refused {
                return Err(ApiError::invalid(format!(
                    "the name of the {what} is empty, longer than {NAME} characters, or has a slash or a line end"
                )));
            }
        }
        Ok(Self { entity, project, name })
    }

    fn of(caller: &Caller, variables: &Variables, name: &str) -> Result<Self, ApiError> {
        Self::under(caller, variables, ["entity", "project", name])
    }

    /// By the names that the variables have for these.
    pub(crate) fn under(
        caller: &Caller,
        variables: &Variables,
        [entity, project, run]: [&str; 3],
    ) -> Result<Self, ApiError> {
        let entity = variables.text(entity)?.filter(|e| !e.is_empty()).unwrap_or_else(|| caller.entity());
        Self::new(entity, &variables.text(project)?.unwrap_or_default(), variables.required(run)?)
    }

    pub(crate) fn run_id(&self) -> String {
        mapping::run_id(&self.entity, &self.project, &self.name)
    }

    fn is_not_there(&self) -> ApiError {
        ApiError::not_found(format!("there is no run {}/{}/{}", self.entity, self.project, self.name))
    }

    /// The tracked run with what the client sent of it.
    pub(crate) fn find(&self, tx: &mut Tx<'_>) -> Result<Option<(Run, Progress)>, ApiError> {
        let run_id = self.run_id();
        let run = match tracked::get(tx, &run_id) {
            Err(TrackingError::NoRun(_)) => return Ok(None),
            run => run?,
        };
        Ok(Some((run, progress::get(tx, &run_id)?.unwrap_or_default())))
    }

    pub(crate) fn get(&self, tx: &mut Tx<'_>) -> Result<(Run, Progress), ApiError> {
        self.find(tx)?.ok_or_else(|| self.is_not_there())
    }

    /// By `run` or `name`: different queries have different words for it.
    pub(crate) fn by_either(caller: &Caller, variables: &Variables) -> Result<Self, ApiError> {
        let words = ["run", "runName", "name"];
        let word = words.into_iter().find(|word| variables.text(word).is_ok_and(|text| text.is_some()));
        Self::of(caller, variables, word.unwrap_or("name"))
    }

    /// To read it only: also the run of another entity, or one that another client logged to the project.
    pub(crate) fn seen_if_there(&self, tx: &mut Tx<'_>) -> Result<Option<Run>, ApiError> {
        if let Some((run, _)) = self.find(tx)? {
            return Ok(Some(run).filter(|run| run.info.lifecycle == Lifecycle::Active));
        }
        let mut runs = views::runs_with_tag(tx, RUN_ID, &self.name)?;
        runs.extend(tracked::get(tx, &self.name).ok());
        let project = match experiments::by_name(tx, &self.project) {
            Err(TrackingError::NoExperimentNamed(_)) => return Ok(None),
            project => project?.id,
        };
        let here = |run: &Run| run.info.experiment == project && run.info.lifecycle == Lifecycle::Active;
        Ok(runs.into_iter().rev().find(here))
    }

    /// The same; it must be there.
    pub(crate) fn seen(&self, tx: &mut Tx<'_>) -> Result<Run, ApiError> {
        self.seen_if_there(tx)?.ok_or_else(|| self.is_not_there())
    }
}

/// A run in few words: its name, project and entity as the client asks for it.
pub(crate) fn link(project: &str, run: &Run) -> Value {
    let entity = if run.info.user.is_empty() { "local" } else { &run.info.user };
    let id = run.info.experiment.to_string();
    json!({
        "__typename": "Run",
        "id": run.info.run_id,
        "name": run.tags.get(RUN_ID).unwrap_or(&run.info.run_id),
        "project": {"id": id, "internalId": id, "name": project, "entity": {"id": entity, "name": entity}},
    })
}

/// What the client says of a run beside its config; `None` stays as it is.
#[derive(Clone, Debug)]
struct Said {
    display_name: Option<String>,
    tags: BTreeMap<String, String>,
    /// A client says these when it begins, and when they change; not with a config alone.
    begins: bool,
    /// It knows the run from the server's answer.
    knows_run: bool,
}

impl Said {
    fn of(variables: &Variables) -> Result<Self, ApiError> {
        let mut said = BTreeMap::new();
        for (variable, tag) in [
            ("notes", NOTE),
            ("groupName", "wandb.group"),
            ("jobType", "wandb.job_type"),
            ("sweep", "wandb.sweep"),
            ("host", "wandb.host"),
            ("program", "mlflow.source.name"),
            ("commit", tags::COMMIT),
            ("repo", "mlflow.source.git.repoURL"),
        ] {
            if let Some(value) = variables.text(variable)?.filter(|v| !v.is_empty()) {
                said.insert(tag.to_owned(), value);
            }
        }
        if let Some(list) = variables.texts("tags")? {
            said.insert("wandb.tags".to_owned(), list.join(","));
        }
        // `Api().run(...).update()` has a word of its own; it begins nothing.
        let edited = variables.text("display_name")?;
        let begins = edited.is_none();
        let display_name = variables.text("displayName")?.or(edited).filter(|n| !n.is_empty());
        Ok(Self {
            begins: begins && (display_name.is_some() || !said.is_empty()),
            display_name,
            tags: said,
            knows_run: variables.text("id")?.is_some(),
        })
    }
}

pub(crate) async fn upsert(state: &crate::State, caller: Caller, variables: &Variables) -> Result<Value, ApiError> {
    caller.may_write()?;
    if variables.text("name")?.is_none()
        && let Some(run_id) = variables.text("id")?
    {
        return summary_of(state, run_id, variables.required("summaryMetrics")?).await;
    }
    let named = Named::of(&caller, variables, "name")?;
    let said = Said::of(variables)?;
    let config = variables.text("config")?.map(|text| config_of(&text).map(|config| (text, config))).transpose()?;
    let now = state.store.now();
    let write = move |tx: &mut Tx<'_>| {
        let found = named.find(tx)?;
        let inserted = found.is_none();
        let run_id = named.run_id();
        let mut progress = match found {
            None => {
                begin(tx, now, &caller, &named, &said)?;
                Progress::default()
            }
            Some((run, progress)) if said.begins && !said.knows_run && progress.history_lines > 0 => {
                // A client that begins a run anew, without resuming it, writes over what was there.
                for metric in &run.metrics {
                    metrics::delete(tx, &run_id, &metric.key)?;
                }
                Progress { history_lines: 0, last_row: "{}".into(), summary: "{}".into(), ..progress }
            }
            Some((_, progress)) => progress,
        };
        let info = tracked::active(tx, &run_id)?;
        let known = params_of(&progress.config);
        if let Some((text, config)) = &config {
            let given = mapping::params(config);
            let changed = given.iter().filter(|(key, value)| known.get(*key) != Some(*value));
            params::replace(tx, &info, changed)?;
            progress.config.clone_from(text);
        }
        for (key, value) in &said.tags {
            tags::set(tx, &run_id, &KeyValue::new(key, value))?;
        }
        if !inserted && (said.display_name.is_some() || said.begins) {
            let status = said.begins.then_some(RunStatus::Running);
            tracked::update(tx, &run_id, &Update { status, end_time: None, name: said.display_name.clone() })?;
        }
        progress::put(tx, &run_id, &progress)?;
        let (run, progress) = named.get(tx)?;
        Ok(json!({"upsertBucket": {"bucket": bucket(&named.project, &run, &progress), "inserted": inserted}}))
    };
    state.write(write).await
}

/// `Api().run(...).summary.update()`: the summary of a run by its id here.
async fn summary_of(state: &crate::State, run_id: String, text: String) -> Result<Value, ApiError> {
    let summary: Object = mapping::json(&text)
        .and_then(serde_json::from_value)
        .map_err(|e| ApiError::invalid(format!("the summary is no JSON object: {e}")))?;
    let write = move |tx: &mut Tx<'_>| {
        let run = tracked::get(tx, &run_id)?;
        tracked::active(tx, &run_id)?;
        let sent = progress::get(tx, &run_id)?.unwrap_or_else(|| Progress::of(&run));
        for (key, value) in mapping::summary_tags(&summary) {
            tags::set(tx, &run_id, &KeyValue::new(key, value))?;
        }
        let progress = Progress { summary: text.clone(), ..sent };
        progress::put(tx, &run_id, &progress)?;
        let run = tracked::get(tx, &run_id)?;
        let project = experiments::get(tx, run.info.experiment)?.name;
        Ok(json!({"upsertBucket": {"bucket": bucket(&project, &run, &progress), "inserted": false}}))
    };
    state.write(write).await
}

fn begin(tx: &mut Tx<'_>, now: Timestamp, caller: &Caller, named: &Named, said: &Said) -> Result<(), ApiError> {
    let experiment = match experiments::by_name(tx, &named.project) {
        Err(TrackingError::NoExperimentNamed(_)) => experiments::create(tx, now, &named.project, None, &[])?,
        experiment => experiment?,
    };
    if experiment.lifecycle == Lifecycle::Deleted {
        return Err(ApiError::invalid(format!(
            "experiment '{}' is deleted: `towpath experiment restore {}` brings it back",
            named.project, experiment.id
        )));
    }
    let name = said.display_name.as_ref().unwrap_or(&named.name).clone();
    let run = adopt::Run {
        run_id: named.run_id(),
        user: named.entity.clone(),
        status: RunStatus::Running,
        start_time: now,
        end_time: None,
        lifecycle: Lifecycle::Active,
        artifact_uri: None,
        params: BTreeMap::new(),
        tags: BTreeMap::from([(tags::RUN_NAME.to_owned(), name.clone()), (RUN_ID.to_owned(), named.name.clone())]),
        name,
        datasets: Vec::new(),
        model_inputs: Vec::new(),
        model_outputs: Vec::new(),
    };
    adopt::run(tx, caller.actor(), experiment.id, &run, &adopt::Series::new())?;
    Ok(())
}

/// A config as the client wraps it: `{"lr": {"value": 0.1}}`.
pub(crate) fn config_of(text: &str) -> Result<Object, ApiError> {
    let wrapped: Object = mapping::json(text)
        .and_then(serde_json::from_value)
        .map_err(|e| ApiError::invalid(format!("the config is no JSON object: {e}")))?;
    let inner = |value: Value| match value {
        Value::Object(mut wrapping) => wrapping.remove("value").unwrap_or(Value::Object(wrapping)),
        other => other,
    };
    Ok(wrapped.into_iter().map(|(name, value)| (name, inner(value))).collect())
}

fn params_of(config: &str) -> BTreeMap<String, String> {
    config_of(config).map(|config| mapping::params(&config)).unwrap_or_default()
}

/// A run with all that the client asks of one.
pub(crate) fn bucket(project: &str, run: &Run, progress: &Progress) -> Value {
    let tag_list: Vec<&str> = run
        .tags
        .get("wandb.tags")
        .map(|list| list.split(',').filter(|tag| !tag.is_empty()).collect())
        .unwrap_or_default();
    let mut answer = link(project, run);
    let user = answer["project"]["entity"]["name"].clone();
    let latest = run.metrics.iter().map(|metric| metric.timestamp).max().unwrap_or(0);
    let heard = Timestamp(latest.max(run.info.end_time.unwrap_or(run.info.start_time).millis()));
    let more = json!({
        "projectId": run.info.experiment,
        "displayName": run.info.name,
        "description": null,
        "notes": run.tags.get(NOTE),
        "tags": tag_list,
        "group": run.tags.get("wandb.group"),
        "jobType": run.tags.get("wandb.job_type"),
        "commit": run.tags.get(tags::COMMIT),
        "host": run.tags.get("wandb.host"),
        "readOnly": false,
        "createdAt": run.info.start_time.to_string(),
        "heartbeatAt": heard.to_string(),
        "user": {"name": user, "username": user},
        "config": progress.config,
        "summaryMetrics": progress.summary,
        "systemMetrics": "{}",
        "historyKeys": history::keys(run),
        "sweepName": run.tags.get("wandb.sweep"),
        "state": state_of(run.info.status),
        "historyLineCount": progress.history_lines,
        // Lines of the console and of system metrics are not kept.
        "logLineCount": 0,
        "eventsLineCount": 0,
        "historyTail": json!([progress.last_row]).to_string(),
        "eventsTail": "[]",
        // The client asks for the key `t` of what it says of itself: the run has begun.
        "wandbConfig": json!({"t": {}}).to_string(),
    });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    answer
}

fn state_of(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Scheduled => "pending",
        RunStatus::Finished => "finished",
        RunStatus::Failed => "failed",
        RunStatus::Killed => "killed",
    }
}

pub(crate) async fn resume_status(
    state: &crate::State,
    caller: Caller,
    variables: &Variables,
) -> Result<Value, ApiError> {
    let named = Named::of(&caller, variables, "name")?;
    let read = move |tx: &mut Tx<'_>| {
        let Some((run, progress)) = named.find(tx)? else { return Ok(json!({"model": null})) };
        let bucket = bucket(&named.project, &run, &progress);
        let mut model = bucket["project"].clone();
        model["bucket"] = bucket;
        Ok(json!({"model": model}))
    };
    state.read(read).await
}

pub(crate) async fn create_files(
    state: &crate::State,
    caller: Caller,
    origin: &str,
    variables: &Variables,
) -> Result<Value, ApiError> {
    caller.may_write()?;
    let named = Named::of(&caller, variables, "run")?;
    let files = variables.texts("files")?.unwrap_or_default();
    let wanted = files.clone();
    let (run_id, root) = state
        .read(move |tx| {
            let (run, _) = named.get(tx)?;
            tracked::active(tx, &run.info.run_id)?;
            let uri = &run.info.artifact_uri;
            let root = path_of_uri(uri)
                .ok_or_else(|| ApiError::invalid(format!("the files of this run are at {uri}, not on this server")))?;
            for file in &wanted {
                if names::confined_path(file).is_none() || file.contains('#') {
                    return Err(TrackingError::ArtifactPath(file.chars().take(200).collect()).into());
                }
                if let Some((model, version)) = versions::with_files_at(tx, &format!("{root}/{file}"))? {
                    return Err(ApiError::denied(format!(
                        "'{file}' belongs to version {version} of model '{model}', whose files never change"
                    )));
                }
            }
            Ok((run.info.run_id.clone(), root.to_owned()))
        })
        .await?;
    let mut answered = Vec::with_capacity(files.len());
    for file in &files {
        let url = address::upload_to(state, origin, &format!("{root}/{file}"), None)?;
        answered.push(json!({"name": file, "uploadUrl": url}));
    }
    Ok(json!({"createRunFiles": {"runID": run_id, "uploadHeaders": [], "files": answered}}))
}

/// The latest alert is a tag: nobody is called.
pub(crate) async fn alert(state: &crate::State, caller: Caller, variables: &Variables) -> Result<Value, ApiError> {
    caller.may_write()?;
    let entity = variables.text("entityName")?.filter(|e| !e.is_empty()).unwrap_or_else(|| caller.entity());
    let named =
        Named::new(entity, &variables.text("projectName")?.unwrap_or_default(), variables.required("runName")?)?;
    let told = format!("{}: {}", variables.required("title")?, variables.text("text")?.unwrap_or_default());
    let write = move |tx: &mut Tx<'_>| {
        let (run, _) = named.get(tx)?;
        tags::set(tx, &run.info.run_id, &KeyValue::new("wandb.alert", &told))?;
        Ok(json!({"notifyScriptableRunAlert": {"success": true}}))
    };
    state.write_briefly(write).await
}
