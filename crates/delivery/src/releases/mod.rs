//! Releases: one model version on its way into one environment. A release is its hash: everything it
//! [binds](Binds) was fixed when it was opened.

use serde_json::{Value as Json, json};
use towpath_api::releases::{Binds, ReleaseState};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::project::{Environment, ProjectFile};
use towpath_core::{Actor, Digest, Timestamp};
use towpath_store::{Row, Tx, ledger};

use crate::DeliveryError;
use crate::error::words as state_words;
use crate::registry::Version;

mod lifecycle;
mod open;
pub(crate) mod reconciler;

pub use lifecycle::{Event, is_final, ledger_kind, transition};
pub use open::{OpenRequest, Opened};
pub(crate) use open::{follow, open_for_version, promote};

/// A row of `releases`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Release {
    pub(crate) id: i64,
    pub(crate) project: String,
    pub(crate) environment: String,
    pub(crate) model: String,
    pub(crate) version: i64,
    pub(crate) hash: Digest,
    pub(crate) binds: Binds,
    pub(crate) pin: Digest,
    pub(crate) policy: Environment,
    pub(crate) state: ReleaseState,
    pub(crate) reason: Option<String>,
    pub(crate) requested_by: Actor,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// How often its gates have been begun.
    pub(crate) round: i64,
    /// The incumbent of this round.
    pub(crate) gated_against: Option<i64>,
    pub(crate) gated_at: Option<Timestamp>,
    pub(crate) verdicts_hash: Option<Digest>,
    pub(crate) live_at: Option<Timestamp>,
    pub(crate) warm_until: Option<Timestamp>,
}

impl Release {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DeliveryError> {
        Ok(Self {
            id: row.int("id")?,
            project: row.text("project")?,
            environment: row.text("environment")?,
            model: row.text("model")?,
            version: row.int("version")?,
            hash: row.digest("hash")?,
            binds: row.json("binds")?,
            pin: row.digest("pin")?,
            policy: row.json("policy")?,
            state: state_of(row)?,
            reason: row.opt_text("reason")?,
            requested_by: Actor(row.text("requested_by")?),
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            round: row.int("round")?,
            gated_against: row.opt_int("gated_against")?,
            gated_at: row.opt_time("gated_at")?,
            verdicts_hash: row.opt_text("verdicts_hash")?.and_then(|text| text.parse().ok()),
            live_at: row.opt_time("live_at")?,
            warm_until: row.opt_time("warm_until")?,
        })
    }

    /// `<model>-v<version>-r<release>`: its revision in the data plane.
    pub(crate) fn revision_id(&self) -> String {
        format!("{}-v{}-r{}", self.model, self.version, self.id)
    }

    /// `release 3 (digits v2)`.
    pub(crate) fn title(&self) -> String {
        format!("release {} ({} v{})", self.id, self.model, self.version)
    }

    /// An entry about this release.
    pub(crate) fn entry(&self, kind: &str, by: &Actor, now: Timestamp) -> Entry {
        let entry = Entry::new(kind, by, now)
            .about(words::release(self.id))
            .about(words::model_version(&self.model, self.version))
            .about(words::deployment(&self.project, &self.environment));
        match &self.binds.run {
            Some(run) => entry.about(format!("run/{run}")),
            None => entry,
        }
    }

    /// Moves it by `event`, with the ledger entry that says so, and tells who watches. `false`: it
    /// has moved meanwhile, and nothing was written.
    pub(crate) fn advance(
        &self,
        tx: &mut Tx<'_>,
        now: Timestamp,
        event: Event,
        by: &Actor,
        reason: &str,
        evidence: Json,
    ) -> Result<bool, DeliveryError> {
        let Some(next) = transition(self.state, event) else {
            return Err(DeliveryError::WrongState {
                release: self.id,
                state: state_words(self.state),
                wanted: wanted(event),
            });
        };
        let moved = tx.run(
            "update releases set state = $1, reason = $2, updated_at = $3 where id = $4 and state = $5 and round = $6",
            &[&text_of(next), &reason, &now, &self.id, &text_of(self.state), &self.round],
        )?;
        if moved == 0 {
            return Ok(false);
        }
        let entry = self.entry(ledger_kind(event, self.state), by, now);
        ledger::append(
            tx,
            entry.evidence(json!({
                "from": self.state,
                "to": next,
                "reason": reason,
                "release_hash": self.hash,
                "grounds": evidence,
            })),
        )?;
        self.changed(tx);
        Ok(true)
    }

    /// Says why it stands where it stands; not a transition, so not in the ledger.
    pub(crate) fn explain(&self, tx: &mut Tx<'_>, reason: &str) -> Result<(), DeliveryError> {
        if self.reason.as_deref() != Some(reason) {
            tx.run("update releases set reason = $1 where id = $2 and round = $3", &[&reason, &self.id, &self.round])?;
            self.changed(tx);
        }
        Ok(())
    }

    pub(crate) fn changed(&self, tx: &mut Tx<'_>) {
        tx.notify(&[json!("releases"), json!(self.id)]);
        tx.notify(&[json!("deployments"), json!(self.project), json!(self.environment)]);
    }
}

fn wanted(event: Event) -> &'static str {
    match event {
        Event::Refused | Event::GatesFailed => "rejected",
        Event::RolledBack => "rolled back",
        Event::WentLive | Event::Restored => "made live",
        Event::Superseded => "superseded",
        Event::Admitted => "rolled out",
        Event::GatesBegun | Event::GatesPassed | Event::GroundsChanged => "gated",
        Event::Broke => "given up",
    }
}

/// The word in the database and on the wire.
pub(crate) fn text_of(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Pending => "pending",
        ReleaseState::Gating => "gating",
        ReleaseState::AwaitingApproval => "awaiting_approval",
        ReleaseState::RollingOut => "rolling_out",
        ReleaseState::Live => "live",
        ReleaseState::Rejected => "rejected",
        ReleaseState::RolledBack => "rolled_back",
        ReleaseState::Superseded => "superseded",
        ReleaseState::Failed => "failed",
    }
}

fn state_of(row: &Row) -> Result<ReleaseState, DeliveryError> {
    let text = row.text("state")?;
    serde_json::from_value(Json::String(text.clone())).map_err(|_| {
        DeliveryError::Store(towpath_store::StoreError::Column {
            column: "state".into(),
            expected: "a state of a release",
            found: text,
        })
    })
}

pub(crate) fn find(tx: &mut Tx<'_>, id: i64) -> Result<Option<Release>, DeliveryError> {
    tx.opt("select * from releases where id = $1", &[&id])?.as_ref().map(Release::from_row).transpose()
}

pub(crate) fn get(tx: &mut Tx<'_>, id: i64) -> Result<Release, DeliveryError> {
    find(tx, id)?.ok_or(DeliveryError::NoRelease(id))
}

/// All releases in `state`, oldest first.
pub(crate) fn in_state(tx: &mut Tx<'_>, state: ReleaseState) -> Result<Vec<Release>, DeliveryError> {
    tx.list("select * from releases where state = $1 order by id", &[&text_of(state)], Release::from_row)
}

/// Those of an environment in `state`, newest first.
pub(crate) fn of_environment(
    tx: &mut Tx<'_>,
    project: &str,
    environment: &str,
    state: ReleaseState,
) -> Result<Vec<Release>, DeliveryError> {
    tx.list(
        "select * from releases where project = $1 and environment = $2 and state = $3 order by id desc limit 100",
        &[&project, &environment, &text_of(state)],
        Release::from_row,
    )
}

/// What serves in an environment now.
pub(crate) fn incumbent(tx: &mut Tx<'_>, project: &str, environment: &str) -> Result<Option<Release>, DeliveryError> {
    Ok(of_environment(tx, project, environment, ReleaseState::Live)?.into_iter().next())
}

/// What `towpath.yaml` said at the commit of a version, and who pushed it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VersionPolicy {
    pub(crate) project: String,
    pub(crate) file: ProjectFile,
    pub(crate) pushed_by: Actor,
}

pub(crate) fn policy_of(tx: &mut Tx<'_>, model: &str, version: i64) -> Result<Option<VersionPolicy>, DeliveryError> {
    tx.opt("select * from version_policies where model = $1 and version = $2", &[&model, &version])?
        .map(|row| {
            Ok(VersionPolicy {
                project: row.text("project")?,
                file: row.json("project_file")?,
                pushed_by: Actor(row.text("requested_by")?),
            })
        })
        .transpose()
}

/// What a release of `version` into `environment` binds.
pub(crate) fn binds(version: &Version, environment: &Environment) -> Binds {
    let view = &version.view;
    let lineage = view.lineage.as_ref();
    Binds {
        environment: environment.name.clone(),
        model: view.model.clone(),
        version: view.version,
        model_content: lineage.map(|l| l.content.clone()),
        data: lineage.map(|l| {
            let mut items: Vec<_> = l.data.iter().map(|item| (&item.path, &item.hash)).collect();
            items.sort();
            Digest::of_json(&json!(items))
        }),
        commit: lineage.map(|l| l.commit.clone()),
        run: lineage.map(|l| format!("{}/{}", l.project, l.run)),
        params: lineage.and_then(|l| l.params_hash.parse().ok()).or_else(|| Some(Digest::of_json(&json!(view.params)))),
        metrics: Digest::of_json(&json!(view.metrics)),
        evaluation: lineage.and_then(|l| l.evaluation_hash.clone()),
        python_environment: lineage.and_then(|l| l.environment_hash.clone()),
        policy: Digest::of_json(&json!(environment)),
    }
}

/// The names of what differs, for people.
pub(crate) fn differing(a: &Binds, b: &Binds) -> Vec<String> {
    let (Json::Object(a), Json::Object(b)) = (json!(a), json!(b)) else { return Vec::new() };
    a.into_iter().filter(|(name, value)| b.get(name) != Some(value)).map(|(name, _)| name).collect()
}

/// What a rolled-back release is recognised by when it comes again: the bytes of the model, whatever
/// commit, data or run made them this time. Of a version without lineage nothing is known but its
/// number.
pub(crate) fn pin(binds: &Binds) -> Digest {
    match &binds.model_content {
        Some(content) => Digest::of_json(&json!({"model": binds.model, "content": content})),
        None => Digest::of_json(&json!({"model": binds.model, "version": binds.version})),
    }
}
