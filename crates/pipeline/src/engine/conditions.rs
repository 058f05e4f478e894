//! Which stages are left out: those whose condition does not hold, and those that need what such a
//! stage makes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use towpath_plan::condition::{self, Facts};
use towpath_plan::pipeline::Stage;

use super::outcome::{StageFailure, StageOutcome, StageStatus};
use super::{Run, data, read_text};
use crate::Error;

/// What values a condition sees as `params`.
const PARAMS_FILE: &str = "params.yaml";

/// What is known of the stages before.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    left_out: BTreeSet<String>,
    metrics: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Conditions {
    /// The outcome of a stage that is left out or whose condition cannot be evaluated.
    pub(super) fn decide(&mut self, run: &Run<'_>, stage: &Stage) -> Result<Option<StageOutcome>, Error> {
        let params = stage.params.iter().map(|params| &params.file);
        let missing = stage.deps.iter().chain(params).find_map(|dep| {
            let maker = data::maker_of(&run.pipeline, &dep.path).filter(|maker| self.left_out.contains(*maker))?;
            Some(format!("stage '{maker}', which makes {}, was left out", dep.path))
        });
        let because = match (missing, run.project.policy_of(&stage.name).and_then(|p| p.condition.as_deref())) {
            (Some(because), _) => Some(because),
            (None, None) => None,
            (None, Some(expression)) => match condition::holds(expression, &self.facts(run)?) {
                Ok(true) => None,
                Ok(false) => Some(format!("its condition does not hold: {expression}")),
                Err(problem) => return Ok(Some(StageOutcome::failed(&stage.name, StageFailure::Condition(problem)))),
            },
        };
        Ok(because.map(|because| {
            self.left_out.insert(stage.name.clone());
            StageOutcome { skipped_because: because, ..StageOutcome::new(&stage.name, StageStatus::Skipped) }
        }))
    }

    /// Later conditions see these.
    pub(super) fn saw(&mut self, outcome: &StageOutcome) {
        if !outcome.metrics.is_empty() {
            self.metrics.insert(outcome.stage.clone(), outcome.metrics.clone());
        }
    }

    fn facts(&self, run: &Run<'_>) -> Result<Facts, Error> {
        let text = read_text(&run.workspace.root().join(PARAMS_FILE))?.unwrap_or_default();
        let document = towpath_yaml::parse(PARAMS_FILE, &text).map_err(towpath_plan::Error::from)?;
        let params = match document.root().to_json() {
            serde_json::Value::Null => json!({}),
            params => params,
        };
        Ok(Facts { params, metrics: json!(self.metrics), trigger: run.request.trigger.clone() })
    }
}
