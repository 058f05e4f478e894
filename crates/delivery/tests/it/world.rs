//! A project `digits` with staging and production, people with roles, and versions that runs make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_api::releases::{CastVote, Release, ReleaseState};
use towpath_core::project::{
    Approvals, CheckDeclaration, Environment, Gate, GateCondition, Inconclusive, JudgePolicy, MetricPolicy, OnFail,
    ProjectFile, RolloutPolicy, Safe, StepPolicy, Strategy, Target,
};
use towpath_core::{Actor, Content, Digest, HashName, ManualClock, Timestamp};
use towpath_delivery::{Delivery, DeliveryError, DeploymentId, OpenRequest, Opened};
use towpath_identity::{Identity, Scope, tokens, users};
use towpath_reconcile::Status;
use towpath_stats::judge::{Arm, Observation};
use towpath_store::{Durability, Store, ledger};
use towpath_tracking::TrackingError;
use towpath_tracking::lineage::{self, CheckVerdict, DataItem, VersionLineage};
use towpath_tracking::registry::{aliases, models, versions};

use crate::fake_target::FakeTarget;

pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) target: Arc<FakeTarget>,
    pub(crate) delivery: Delivery,
    pub(crate) file: ProjectFile,
    folder: tempfile::TempDir,
}

/// What a run made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// Names the bytes of the model.
    pub(crate) content: &'static str,
    pub(crate) accuracy: f64,
    /// Names the evaluation data.
    pub(crate) evaluation: &'static str,
}

pub(crate) fn made(content: &'static str, accuracy: f64) -> Made {
    Made { content, accuracy, evaluation: "week 0" }
}

fn environment(name: &str, after: Option<&str>, gates: Vec<Gate>, approvals: Option<Approvals>) -> Environment {
    let metric = |share| MetricPolicy { share, required: false, safe: Safe::Ceiling(0.05), over: vec![0.9] };
    Environment {
        name: name.into(),
        after: after.map(Into::into),
        soak_seconds: 60.0,
        gates,
        approvals,
        rollout: RolloutPolicy {
            strategy: Strategy::Canary,
            steps: vec![0.1, 0.5, 1.0],
            step: StepPolicy {
                min_seconds: 10.0,
                min_requests: 20,
                max_seconds: 3600.0,
                inconclusive: Inconclusive::Hold,
            },
            judge: JudgePolicy {
                alpha: 0.01,
                alpha_advance: 0.05,
                errors: Some(MetricPolicy { required: true, ..metric(0.6) }),
                latency: Some(metric(0.2)),
                labels: Some(metric(0.2)),
                metrics: Vec::new(),
                alone: false,
                min_bad_events: 3,
                shadow: None,
            },
            warm_seconds: 300.0,
            preview_seconds: 0.0,
            key: None,
            variants: None,
        },
        target: Target::Local,
        batching: None,
        prediction_log: None,
    }
}

pub(crate) fn project_file() -> ProjectFile {
    let gate = |name: &str, condition| Gate { name: name.into(), condition };
    let staging = vec![
        gate("data is valid", GateCondition::Checks { checks: vec!["all".into()] }),
        gate("no unsafe artifact", GateCondition::ArtifactScan { allow_pickle: false }),
    ];
    let expression = "candidate.metrics.accuracy >= production.metrics.accuracy - 0.01".to_owned();
    let production = vec![
        gate("no worse", GateCondition::Require { expression }),
        gate("fast enough", GateCondition::Latency { p99_ms: 20.0, requests: 50 }),
    ];
    let approvals = Approvals { count: 2, from: vec!["risk".into(), "ml-leads".into()] };
    let check =
        CheckDeclaration { path: "data/images".into(), suite: "checks/images.yaml".into(), on_fail: OnFail::Stop };
    ProjectFile {
        checks: BTreeMap::from([("images".to_owned(), check)]),
        environments: vec![
            environment("staging", None, staging, None),
            environment("production", Some("staging"), production, Some(approvals)),
        ],
        ..ProjectFile::default()
    }
}

pub(crate) fn person(name: &str, roles: &[&str]) -> Identity {
    Identity {
        actor: Actor::user(name),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        admin: roles.contains(&"admin"),
        token_id: Some(format!("token of {name}")),
        scope: Scope::User,
    }
}

pub(crate) fn yes(reason: &str) -> CastVote {
    CastVote { reason: reason.into(), hash: None }
}

pub(crate) fn staging() -> DeploymentId {
    DeploymentId { project: "digits".into(), environment: "staging".into() }
}

pub(crate) fn production() -> DeploymentId {
    DeploymentId { project: "digits".into(), environment: "production".into() }
}

impl World {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("towpath.db").to_string_lossy().into_owned();
        Self::over(&url, folder).await
    }

    pub(crate) async fn on_postgres() -> Self {
        let url = towpath_testkit::postgres::schema().await.unwrap();
        Self::over(&url, tempfile::tempdir().unwrap()).await
    }

    async fn over(url: &str, folder: tempfile::TempDir) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = Store::open(url, clock.clone()).await.unwrap();
        let target = FakeTarget::new(clock.clone());
        let people = |tx: &mut towpath_store::Tx<'_>| {
            let local = Actor::local();
            for (name, roles) in
                [("ana", "risk"), ("ben", "risk"), ("tess", "risk"), ("rita", "risk"), ("mo", "ml-leads")]
            {
                users::add(tx, START, &local, name, &[format!("{name}@example.org")], false)?;
                tokens::create(tx, START, &local, name, &[roles.to_owned()], None)?;
            }
            models::ensure(tx, START, &local, "digits")?;
            Ok::<_, Failed>(())
        };
        store.write(Durability::Full, people).await.unwrap();
        let delivery = Delivery::new(store.clone(), target.clone(), target.clone());
        Self { store, clock, target, delivery, file: project_file(), folder }
    }

    /// A second server over the same database and data planes.
    pub(crate) fn restarted(&self) -> Delivery {
        Delivery::new(self.store.clone(), self.target.clone(), self.target.clone())
    }

    /// A run ends: registers the version, with ana as author, tess as trainer and ben who pushed.
    pub(crate) async fn run_ends(&self, made: Made) -> (i64, Opened) {
        let path = self.folder.path().join(made.content);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("model.onnx"), made.content).unwrap();
        let (delivery, file, now) = (self.delivery.clone(), self.file.clone(), self.store.now());
        let end = move |tx: &mut towpath_store::Tx<'_>| {
            let by = Actor::user("tess");
            let new = versions::NewVersion {
                model: "digits".into(),
                source: "mlflow-artifacts:/1/model".into(),
                ..versions::NewVersion::default()
            };
            let version = versions::create(tx, now, &by, &new)?.version;
            lineage::record(tx, now, &by, "digits", version, &lineage_of(&made, version, &path))?;
            tx.run(
                "insert into check_verdicts (project, name, data_hash, suite_hash, passed, number, detail, at) \
                 values ('digits', 'images', 'aa.dir', 'ss', 1, $1, '[]', $2)",
                &[&version, &now],
            )?;
            let opened = delivery.open_for_version(
                tx,
                now,
                OpenRequest {
                    project: "digits",
                    model: "digits",
                    version,
                    file: &file,
                    requested_by: &Actor::user("ben"),
                },
            )?;
            Ok::<_, Failed>((version, opened))
        };
        self.store.write(Durability::Full, end).await.unwrap()
    }

    /// Activates the reconcilers until nothing moves any more.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            let statuses = self.delivery.activate().await;
            if let Some(Status::Failed(reason)) = statuses.iter().find(|s| matches!(s, Status::Failed(_))) {
                panic!("{reason}");
            }
            if statuses.iter().all(|status| *status == Status::Settled) && self.delivery.activate().await == statuses {
                return;
            }
        }
        panic!("it never settles");
    }

    pub(crate) async fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.settle().await;
    }

    /// `requests` answered by each arm at the weight in force, `bad` of the candidate's failed.
    pub(crate) fn traffic(&self, id: &DeploymentId, requests: u64, bad: u64) {
        let weight = self.target.table(id).unwrap().rollout.unwrap().weight;
        let request = |arm, error| Observation::Request { arm, weight, key: None, error, latency_seconds: Some(0.001) };
        // As many of each arm as the weight says.
        let stable = (requests as f64 * (1.0 - weight) / weight) as u64;
        let mut observations: Vec<Observation> = (0..stable).map(|_| request(Arm::Stable, false)).collect();
        observations.extend((0..requests).map(|i| request(Arm::Candidate, i < bad)));
        self.target.observe_all(id, &observations);
    }

    pub(crate) async fn release(&self, id: i64) -> Release {
        self.delivery.release(id).await.unwrap()
    }

    pub(crate) async fn state(&self, id: i64) -> ReleaseState {
        self.release(id).await.summary.state
    }

    /// The newest release into an environment.
    pub(crate) async fn newest(&self, environment: &str) -> Release {
        let filter =
            towpath_delivery::Filter { environment: Some(environment.into()), ..towpath_delivery::Filter::default() };
        let page = self.delivery.releases(filter).await.unwrap();
        self.release(page.items[0].id).await
    }

    pub(crate) async fn alias(&self, environment: &'static str) -> Option<i64> {
        self.store.read(move |tx| aliases::version_of(tx, "digits", environment)).await.unwrap()
    }

    /// Brings the newest release into production to live; its id.
    pub(crate) async fn approve_newest(&self) -> i64 {
        let id = self.newest("production").await.summary.id;
        for (name, role) in [("rita", "risk"), ("mo", "ml-leads")] {
            self.delivery.approve(&person(name, &[role]), id, &yes("looks good")).await.unwrap();
        }
        self.settle().await;
        id
    }

    /// A run ends, and its version goes live in staging: at once when it is the first there, by its
    /// canary otherwise; then it soaks. What production does next is up to the test.
    pub(crate) async fn through_staging(&self, made: Made) -> i64 {
        let (version, opened) = self.run_ends(made).await;
        let Opened::Release(id) = opened else { panic!("{opened:?}") };
        self.settle().await;
        self.through_canary(&staging(), id).await;
        self.later(61).await;
        version
    }

    /// Sends good traffic until the release is live.
    pub(crate) async fn through_canary(&self, deployment: &DeploymentId, id: i64) {
        for _ in 0..5 {
            if self.state(id).await == ReleaseState::Live {
                return;
            }
            self.traffic(deployment, 300, 0);
            self.later(11).await;
        }
        panic!("release {id} is {:?}", self.release(id).await.summary);
    }

    /// Kinds of the ledger entries about a release, oldest first.
    pub(crate) async fn kinds(&self, id: i64) -> Vec<String> {
        let mut kinds: Vec<String> = self.release(id).await.history.into_iter().map(|entry| entry.kind).collect();
        kinds.reverse();
        kinds
    }

    pub(crate) async fn ledger_is_intact(&self) {
        assert_eq!(ledger::verify(&self.store).await.unwrap().broken, None);
    }
}

fn lineage_of(made: &Made, version: i64, path: &std::path::Path) -> VersionLineage {
    VersionLineage {
        project: "digits".into(),
        number: version,
        tracking_run: None,
        commit: format!("{version:040x}"),
        author: "Ana".into(),
        author_email: "Ana@example.org".into(),
        trainer: Actor::user("tess"),
        model: Content {
            md5: format!("{version:032x}.dir"),
            hash: HashName::Md5,
            size: 1,
            nfiles: Some(1),
            isexec: false,
        },
        content: Digest::of(made.content.as_bytes()),
        size: 1,
        data: vec![DataItem {
            path: "data/images".into(),
            md5: "aa.dir".into(),
            size: None,
            nfiles: None,
            stage: None,
        }],
        params: BTreeMap::from([("depth".to_owned(), json!(4))]),
        params_hash: Digest::of(b"depth: 4"),
        metrics: BTreeMap::from([("accuracy".to_owned(), made.accuracy)]),
        environment_hash: None,
        evaluation_hash: Some(made.evaluation.into()),
        checks: vec![CheckVerdict {
            name: "images".into(),
            path: "data/images".into(),
            data_hash: "aa.dir".into(),
            suite_hash: "ss".into(),
            passed: true,
        }],
        lock_sha: BTreeMap::new(),
        path: path.to_string_lossy().into_owned(),
    }
}

/// Whatever a step of the set-up fails with.
#[derive(Debug)]
pub(crate) struct Failed(String);

macro_rules! failed_from {
    ($($error:ty)*) => {
        $(impl From<$error> for Failed {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

failed_from!(towpath_store::StoreError TrackingError DeliveryError towpath_identity::IdentityError);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
