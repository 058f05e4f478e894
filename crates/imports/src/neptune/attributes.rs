//! What an export says of a run beside its series and files: its own attributes become parameters, those
//! that Neptune keeps (`sys/...`) times, names and tags.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::Timestamp;
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{Lifecycle, adopt};

use super::rows::Value;
use crate::recorded::key_of;

const SYSTEM: &str = "sys/";
/// Characters of a parameter; a longer text is kept whole as a file.
const LONGEST: usize = 6000;
const PARENT: &str = "mlflow.parentRunId";

#[derive(Debug, Default)]
pub(super) struct Attributes {
    params: BTreeMap<String, String>,
    system: BTreeMap<String, Value>,
    /// The latest time of a point.
    latest: i64,
}

pub(super) fn is_cut(text: &str) -> bool {
    text.chars().count() > LONGEST
}

impl Attributes {
    pub(super) fn take(&mut self, path: &str, value: Value) {
        match (path.strip_prefix(SYSTEM), shown(&value)) {
            (Some(name), Some(_)) => {
                self.system.insert(name.to_owned(), value);
            }
            (None, Some(text)) => {
                self.params.insert(key_of(path), text);
            }
            _ => {}
        }
    }

    pub(super) fn seen(&mut self, at: Option<i64>) {
        self.latest = self.latest.max(at.unwrap_or(0));
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.system.get(name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        if let Some(Value::Time(millis)) = self.system.get(name) { Some(Timestamp(*millis)) } else { None }
    }

    fn is(&self, name: &str) -> bool {
        self.system.get(name) == Some(&Value::Bool(true))
    }

    pub(super) fn started(&self) -> Timestamp {
        self.time("creation_time").unwrap_or(Timestamp(0))
    }

    /// What the run is called elsewhere in the export.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        ["custom_run_id", "id"].into_iter().filter_map(|name| self.text(name))
    }

    /// The run that this one was forked from.
    pub(super) fn parent(&self) -> Option<&str> {
        self.text("forking/parent")
    }

    pub(super) fn adopted(&self, id: &str, run_id: String, parent: Option<String>) -> adopt::Run {
        let name = self.text("custom_run_id").unwrap_or(id).to_owned();
        let running = self.text("state").is_some_and(|state| ["running", "active"].contains(&&*state.to_lowercase()));
        let status = match (self.is("failed"), running) {
            (true, _) => RunStatus::Failed,
            (false, true) => RunStatus::Running,
            (false, false) => RunStatus::Finished,
        };
        let ended = self.time("ping_time").or(self.time("modification_time"));
        let ended = ended.unwrap_or(Timestamp(self.latest)).max(self.started());
        let mut tags =
            BTreeMap::from([("mlflow.runName".to_owned(), name.clone()), ("neptune.run_id".to_owned(), id.to_owned())]);
        if let Some(text) = self.text("description") {
            tags.insert("mlflow.note.content".into(), text.to_owned());
        }
        for (name, value) in self.system.iter().filter(|(name, _)| *name != "description") {
            tags.extend(shown(value).map(|text| (key_of(&format!("neptune.{name}")), text)));
        }
        tags.extend(parent.map(|parent| (PARENT.to_owned(), parent)));
        adopt::Run {
            run_id,
            name,
            user: self.text("owner").unwrap_or_default().to_owned(),
            status,
            start_time: self.started(),
            end_time: (status != RunStatus::Running).then_some(ended),
            lifecycle: if self.is("trashed") { Lifecycle::Deleted } else { Lifecycle::Active },
            artifact_uri: None,
            params: self.params.clone(),
            tags,
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        }
    }
}

/// A value as the exporter's loader and MLflow's client write it; `None` for what is no value alone.
fn shown(value: &Value) -> Option<String> {
    Some(match value {
        Value::Int(number) => number.to_string(),
        Value::Float(number) if number.is_finite() => json!(number).to_string(),
        Value::Float(number) => number.to_string().to_lowercase(),
        Value::Text(text) => text.chars().take(LONGEST).collect(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Time(millis) => Timestamp(*millis).to_string(),
        Value::Set(items) => {
            let mut items = items.clone();
            items.sort();
            items.join(",")
        }
        Value::None | Value::File(_) | Value::Histogram { .. } => return None,
    })
}
