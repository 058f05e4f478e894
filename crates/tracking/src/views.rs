//! What the page and the CLI show of tracking beyond what MLflow's API answers.

use std::collections::BTreeMap;

use towpath_core::Timestamp;
use towpath_store::Tx;

use crate::metrics::{self, Point, Stretch};
use crate::registry::models::{self, RegisteredModel};
use crate::registry::versions::{self, ModelVersion};
use crate::runs::{self, Run};
use crate::search::registered_models::IS_PROMPT;
use crate::search::{self, Found, Part, Query, walk};
use crate::{TrackingError, View, experiments};

/// An experiment with how many runs it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedExperiment {
    pub id: i64,
    pub name: String,
    pub created_at: Timestamp,
    /// Active ones.
    pub runs: i64,
    /// Those that are running.
    pub running: i64,
}

/// Active experiments, newest first, at most 10000.
pub fn experiments(tx: &mut Tx<'_>) -> Result<Vec<CountedExperiment>, TrackingError> {
    tx.list(
        "select e.id, e.name, e.created_at, count(r.id) as runs, \
         count(case when r.status = 'RUNNING' then 1 end) as running \
         from experiments e left join tracked_runs r on r.experiment = e.id and r.lifecycle_stage = 'active' \
         where e.lifecycle_stage = 'active' group by e.id, e.name, e.created_at \
         order by e.created_at desc, e.id desc limit 10000",
        &[],
        |row| {
            Ok(CountedExperiment {
                id: row.int("id")?,
                name: row.text("name")?,
                created_at: row.time("created_at")?,
                runs: row.int("runs")?,
                running: row.int("running")?,
            })
        },
    )
}

/// A page of an experiment's active runs, by MLflow's filter and order.
pub fn runs(tx: &mut Tx<'_>, experiment: i64, query: &Query) -> Result<Found<Run>, TrackingError> {
    experiments::get(tx, experiment)?;
    let Part { items, next_page_token } = search::runs::search(tx, &[experiment], View::Active, query)?;
    let total = search::runs::count(tx, &[experiment], View::Active, &query.filter)?;
    Ok(Found { items, next_page_token, total })
}

/// Everything about one run.
pub fn run(tx: &mut Tx<'_>, run_id: &str) -> Result<Run, TrackingError> {
    runs::get(tx, run_id)
}

/// Runs whose tag has this value, oldest first, at most 1000: `towpath.pipeline_run` finds the parent
/// and the stages of a pipeline run.
pub fn runs_with_tag(tx: &mut Tx<'_>, key: &str, value: &str) -> Result<Vec<Run>, TrackingError> {
    let infos = tx.list(
        &format!(
            "select r.* from tracked_runs r join run_tags t on t.run = r.id \
             where t.key = $1 and {} and t.value = $2 order by r.id limit 1000",
            walk::INDEXED
        ),
        &[&key, &value],
        runs::info_from_row,
    )?;
    runs::with_data(tx, infos)
}

/// A stretch of one metric of several runs, at most `points` each, as a chart needs them, and how many
/// there are.
pub fn series(
    tx: &mut Tx<'_>,
    run_ids: &[String],
    key: &str,
    stretch: Stretch,
    points: usize,
) -> Result<BTreeMap<String, (Vec<Point>, usize)>, TrackingError> {
    let mut found = BTreeMap::new();
    for run_id in run_ids {
        found.insert(run_id.clone(), metrics::charted(tx, run_id, key, stretch, points)?);
    }
    Ok(found)
}

/// A registered model with all its versions, newest first.
pub fn model(tx: &mut Tx<'_>, name: &str) -> Result<(RegisteredModel, Vec<ModelVersion>), TrackingError> {
    Ok((models::get(tx, name)?, versions::list(tx, name)?))
}

/// Prompts lie among the registered models, and are none.
const IS_MODEL: &str = "not exists (select 1 from registered_model_tags t \
                        where t.model = m.name and t.key = $1 and lower(t.value) = 'true')";

/// How many [`models`] there are.
pub fn count_models(tx: &mut Tx<'_>) -> Result<i64, TrackingError> {
    let row = tx.one(&format!("select count(*) as n from registered_models m where {IS_MODEL}"), &[&IS_PROMPT])?;
    Ok(row.int("n")?)
}

/// Registered models by name, each with all its versions; at most `limit` models after `after`.
pub fn models(
    tx: &mut Tx<'_>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<(RegisteredModel, Vec<ModelVersion>)>, TrackingError> {
    let names: Vec<String> = tx.list(
        &format!("select name from registered_models m where {IS_MODEL} and name > $2 order by name limit $3"),
        &[&IS_PROMPT, &after.unwrap_or(""), &limit],
        |row| Ok::<_, TrackingError>(row.text("name")?),
    )?;
    names.iter().map(|name| model(tx, name)).collect()
}
