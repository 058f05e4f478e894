//! What starts runs beside a push to a branch, as `towpath.yaml` declares it under `on`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that starts runs, by its name in the project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    pub name: String,
    pub when: When,
    /// Values of `params.yaml` (or `file:key`) that its runs get.
    pub params: BTreeMap<String, Value>,
    pub overlap: Overlap,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum When {
    Schedule(Schedule),
    /// A push brought another version of one of these tracked paths.
    Data {
        paths: Vec<String>,
    },
    /// An alias of a registered model names another version.
    Model {
        model: String,
        alias: String,
    },
    /// A run of another project came to its end.
    Run {
        project: String,
        ended: Ended,
    },
    /// A signed request to the server.
    Webhook {
        /// Kinds of events that start a run, as people know them: `push`, `tag`; empty means every one.
        events: Vec<String>,
        /// Parameter -> JSON pointer into the body.
        values: BTreeMap<String, String>,
    },
    /// A pull request has a new head.
    PullRequest {
        /// Patterns of the branches that it is to be merged into.
        branches: Vec<String>,
    },
    /// A monitor (Alertmanager, Grafana) says that an alert fires.
    Monitor {
        /// Patterns of names; empty means every one.
        alerts: Vec<String>,
        /// Label -> pattern of its value: all must fit.
        labels: BTreeMap<String, String>,
        /// Parameter -> JSON pointer into the alert.
        values: BTreeMap<String, String>,
    },
}

impl When {
    /// As `on` calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "schedule",
            Self::Data { .. } => "data",
            Self::Model { .. } => "model",
            Self::Run { .. } => "run",
            Self::Webhook { .. } => "webhook",
            Self::PullRequest { .. } => "pull_request",
            Self::Monitor { .. } => "monitor",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub rhythm: Rhythm,
    /// Each start is this many seconds late at most, by a hash of its planned time.
    pub jitter_seconds: u64,
    pub catch_up: CatchUp,
    /// Gets the planned time of each run.
    pub time_param: Option<TimeParam>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rhythm {
    /// Five fields, in a time zone of the IANA database.
    Cron { expression: String, timezone: String },
    /// Multiples of this many seconds since 1970.
    Every { seconds: u64 },
}

/// What is done about planned times that passed while no server ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    Skip,
    /// One run, for the newest of them.
    Latest,
    /// A run for each of the newest so many.
    All {
        limit: u32,
    },
}

/// What happens when a run of the trigger is not over yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// No new run.
    Skip,
    /// A new one beside it.
    Allow,
    /// The old one is cancelled.
    Cancel,
}

/// A parameter that says which time a run is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeParam {
    pub name: String,
    /// As `strftime` has it.
    pub format: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Succeeded,
    Failed,
    /// However it ended.
    Any,
}

/// A parameter that whoever starts a run by hand may set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManualParam {
    #[serde(rename = "type")]
    pub kind: ParamKind,
    pub default: Option<Value>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// The only values allowed; empty means all of the type.
    pub choices: Vec<Value>,
    pub description: Option<String>,
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    Integer,
    Number,
    Text,
    Boolean,
}

impl ParamKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Boolean => "true or false",
        }
    }
}

impl ManualParam {
    /// What is wrong with a value, as what would be right.
    ///
    /// # Errors
    /// The value has another type, is out of bounds, or is none of the choices.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match self.kind {
            ParamKind::Integer => value.is_i64() || value.is_u64(),
            ParamKind::Number => value.is_number(),
            ParamKind::Text => value.is_string(),
            ParamKind::Boolean => value.is_boolean(),
        };
        if !fits {
            return Err(self.kind.word().to_owned());
        }
        let number = value.as_f64();
        if let (Some(number), Some(min)) = (number, self.min)
            && number < min
        {
            return Err(format!("at least {min}"));
        }
        if let (Some(number), Some(max)) = (number, self.max)
            && number > max
        {
            return Err(format!("at most {max}"));
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
            return Err(format!("one of {}", choices.join(", ")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_a_manual_run_has_the_type_the_bounds_and_the_choices_of_its_declaration() {
        let integer = ManualParam {
            kind: ParamKind::Integer,
            default: None,
            min: Some(1.0),
            max: Some(10.0),
            choices: Vec::new(),
            description: None,
            required: false,
        };
        assert_eq!(integer.check(&json!(3)), Ok(()));
        assert_eq!(integer.check(&json!(0)), Err("at least 1".into()));
        assert_eq!(integer.check(&json!(11)), Err("at most 10".into()));
        assert_eq!(integer.check(&json!(2.5)), Err("an integer".into()));
        let text = ManualParam { kind: ParamKind::Text, min: None, max: None, choices: vec![json!("a")], ..integer };
        assert_eq!(text.check(&json!("b")), Err("one of \"a\"".into()));
        assert_eq!(text.check(&json!("a")), Ok(()));
    }
}
