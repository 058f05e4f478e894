//! The routing table that an environment shall have: computed from its releases, stored with a
//! version that rises whenever it changes.

use serde_json::json;
use towpath_api::control::{Revision, Rollout as Route, RoutingTable};
use towpath_api::releases::ReleaseState;
use towpath_core::Timestamp;
use towpath_identity::{accounts_exist, tokens};
use towpath_store::{Row, Tx};
use towpath_tracking::lineage;

use super::of_release;
use crate::DeliveryError;
use crate::releases::{self, Release};
use crate::target::DeploymentId;

/// A row of `deployments`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    pub(crate) id: DeploymentId,
    pub(crate) table: RoutingTable,
}

impl Desired {
    fn from_row(row: &Row) -> Result<Self, DeliveryError> {
        let version = u64::try_from(row.int("table_version")?).unwrap_or(0);
        Ok(Self {
            id: DeploymentId { project: row.text("project")?, environment: row.text("environment")? },
            table: RoutingTable { version, ..row.json("routing")? },
        })
    }
}

/// All deployments, by project and environment.
pub(crate) fn all(tx: &mut Tx<'_>) -> Result<Vec<Desired>, DeliveryError> {
    tx.list("select * from deployments order by project, environment limit 1000", &[], Desired::from_row)
}

pub(crate) fn of(tx: &mut Tx<'_>, id: &DeploymentId) -> Result<Option<Desired>, DeliveryError> {
    tx.opt("select * from deployments where project = $1 and environment = $2", &[&id.project, &id.environment])?
        .as_ref()
        .map(Desired::from_row)
        .transpose()
}

/// Computes the table again and stores it under the next version when it differs.
pub(crate) fn refresh(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    environment: &str,
) -> Result<bool, DeliveryError> {
    let id = DeploymentId { project: project.to_owned(), environment: environment.to_owned() };
    let stored = of(tx, &id)?;
    let version = stored.as_ref().map_or(0, |stored| stored.table.version);
    let model = stored.as_ref().map(|stored| stored.table.model.clone());
    let Some(mut table) = compute(tx, now, &id, version, model)? else { return Ok(false) };
    if stored.as_ref().is_some_and(|stored| stored.table == table) {
        return Ok(false);
    }
    table.version += 1;
    tx.run(
        "insert into deployments (project, environment, model, table_version, routing) values ($1,$2,$3,$4,$5) \
         on conflict (project, environment) do update set model = excluded.model, \
         table_version = excluded.table_version, routing = excluded.routing",
        &[&id.project, &id.environment, &table.model, &(table.version as i64), &json!(table)],
    )?;
    tx.notify(&[json!("deployments"), json!(id.project), json!(id.environment)]);
    Ok(true)
}

/// Whether the stored table is still the one that [`refresh`] would compute.
pub(crate) fn is_current(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    environment: &str,
) -> Result<bool, DeliveryError> {
    let id = DeploymentId { project: project.to_owned(), environment: environment.to_owned() };
    let Some(stored) = of(tx, &id)? else { return Ok(true) };
    let computed = compute(tx, now, &id, stored.table.version, Some(stored.table.model.clone()))?;
    Ok(computed.is_none_or(|computed| computed == stored.table))
}

/// The data plane has a table of version `in_force`, which this database does not know (it was
/// restored from an older copy): the desired one has to be newer.
pub(crate) fn overtake(tx: &mut Tx<'_>, id: &DeploymentId, in_force: u64) -> Result<(), DeliveryError> {
    tx.run(
        "update deployments set table_version = $1 where project = $2 and environment = $3 and table_version < $1",
        &[&(in_force.saturating_add(1) as i64), &id.project, &id.environment],
    )?;
    Ok(())
}

/// `None`: nothing was ever released here.
fn compute(
    tx: &mut Tx<'_>,
    now: Timestamp,
    id: &DeploymentId,
    version: u64,
    model: Option<String>,
) -> Result<Option<RoutingTable>, DeliveryError> {
    let newest = |tx: &mut Tx<'_>, state| -> Result<Option<Release>, DeliveryError> {
        Ok(releases::of_environment(tx, &id.project, &id.environment, state)?.into_iter().next())
    };
    let live = newest(tx, ReleaseState::Live)?;
    let rolling = newest(tx, ReleaseState::RollingOut)?;
    let warm = releases::of_environment(tx, &id.project, &id.environment, ReleaseState::Superseded)?
        .into_iter()
        .filter(|release| release.warm_until.is_some_and(|until| until > now))
        .max_by_key(|release| release.warm_until);
    let Some(model) = live.as_ref().or(rolling.as_ref()).map(|release| release.model.clone()).or(model) else {
        return Ok(None);
    };
    let mut table = RoutingTable {
        version,
        project: id.project.clone(),
        environment: id.environment.clone(),
        model,
        stable: live.as_ref().map(|release| revision(tx, release)).transpose()?,
        rollout: None,
        warm: warm.as_ref().map(|release| revision(tx, release)).transpose()?,
        accepted_tokens: accepted_tokens(tx, now)?,
        batching: rolling.as_ref().or(live.as_ref()).and_then(|release| release.policy.batching),
        prediction_log: rolling.as_ref().or(live.as_ref()).and_then(|release| release.policy.prediction_log.clone()),
    };
    if let Some(release) = rolling
        && let Some(rollout) = of_release(tx, release.id)?
    {
        let candidate = revision(tx, &release)?;
        if rollout.is_judged(&release) {
            table.rollout = Some(Route {
                id: rollout.id,
                candidate,
                weight: rollout.weight,
                step: rollout.step,
                judge: release.policy.rollout.judge.clone(),
                key: release.policy.rollout.key.clone(),
                variants: release.policy.rollout.variants.clone(),
            });
        } else {
            table.warm = table.stable.replace(candidate).or(table.warm);
        }
    }
    Ok(Some(table))
}

fn revision(tx: &mut Tx<'_>, release: &Release) -> Result<Revision, DeliveryError> {
    // Not by the registry: what serves goes on serving when its entry there is deleted.
    let made = lineage::get(tx, &release.model, release.version)?
        .ok_or_else(|| DeliveryError::NoVersion { model: release.model.clone(), version: release.version })?;
    Ok(Revision {
        id: release.revision_id(),
        release: release.id,
        model_version: release.version,
        path: made.path,
        allow_pickle: release.policy.allows_pickle(),
    })
}

/// Hashes of the living tokens of users: whoever may call the server may predict. Without accounts
/// the data plane is open, on loopback.
fn accepted_tokens(tx: &mut Tx<'_>, now: Timestamp) -> Result<Option<Vec<String>>, DeliveryError> {
    if !accounts_exist(tx)? {
        return Ok(None);
    }
    Ok(Some(tokens::living_hashes(tx, now)?))
}
