//! Environments, gates, approvals, releases, rollouts and where they run.
//!
//! A [release](releases) is one model version on its way into one environment: past [gates], past
//! [approvals], through a rollout that is judged while it serves, into a deployment that a
//! [target] runs. [`Delivery`] is what a server calls.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use towpath_api::Page;
use towpath_api::control::PredictionRecord;
use towpath_api::deployments::{Deployment, Recomputed, RolloutView};
use towpath_api::releases::{CastVote, CreateRelease, Release, ReleaseState, ReleaseSummary};
use towpath_core::Timestamp;
use towpath_identity::Identity;
use towpath_reconcile::{Backoffs, Reconciler as _, Schedule, Status, run};
use towpath_store::{Durability, Store, Tx};

mod approvals;
mod comparison;
mod error;
pub mod gates;
mod registry;
pub mod releases;
mod rollouts;
pub mod target;
mod views;

pub use comparison::word as metric_word;
pub use error::DeliveryError;
pub use registry::view as version_view;
pub use releases::{OpenRequest, Opened};
pub use target::{DeploymentId, Prober, Target};
pub use views::Filter;

use releases::reconciler::ReleaseReconciler;
use rollouts::reconciler::RolloutReconciler;

/// Delivery as a server uses it. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    store: Store,
    target: Arc<dyn Target>,
    prober: Arc<dyn Prober>,
}

impl Delivery {
    pub fn new(store: Store, target: Arc<dyn Target>, prober: Arc<dyn Prober>) -> Self {
        Self { store, target, prober }
    }

    /// Runs the reconcilers until `shutdown`; then lets go of the data planes, or, with
    /// `stop_data_planes`, ends them, requests in flight first.
    pub async fn run(&self, shutdown: CancellationToken, stop_data_planes: bool) {
        let (releases, rollouts) = self.reconcilers();
        // Periods are for what time alone changes: soaking, warm revisions, tokens that expire.
        let release_schedule =
            Schedule { topics: &["releases", "users", "tokens", "checks"], period: Duration::from_secs(1) };
        let rollout_schedule =
            Schedule { topics: &["releases", "deployments", "users", "tokens"], period: Duration::from_millis(500) };
        let nobody = Arc::new(tokio::sync::Notify::new());
        tokio::join!(
            run(releases, self.store.listen_to(release_schedule.topics), nobody, release_schedule, shutdown.clone()),
            run(
                rollouts,
                self.store.listen_to(rollout_schedule.topics),
                self.target.changes(),
                rollout_schedule,
                shutdown
            ),
        );
        self.target.shut_down(stop_data_planes).await;
    }

    fn reconcilers(&self) -> (ReleaseReconciler, RolloutReconciler) {
        let releases = ReleaseReconciler {
            store: self.store.clone(),
            prober: Arc::clone(&self.prober),
            backoffs: Backoffs::default(),
        };
        let rollouts = RolloutReconciler {
            store: self.store.clone(),
            target: Arc::clone(&self.target),
            backoffs: Backoffs::default(),
        };
        (releases, rollouts)
    }

    /// One activation of each reconciler, which [`Delivery::run`] repeats whenever something changes.
    pub async fn activate(&self) -> [Status; 2] {
        let (mut releases, mut rollouts) = self.reconcilers();
        [releases.activate().await, rollouts.activate().await]
    }

    /// Opens the release of a version that a run has just registered into the first environment, in
    /// the caller's transaction (`Durability::Full`). May be called again for the same version.
    pub fn open_for_version(
        &self,
        tx: &mut Tx<'_>,
        now: Timestamp,
        request: OpenRequest<'_>,
    ) -> Result<Opened, DeliveryError> {
        releases::open_for_version(tx, now, request)
    }

    /// Opens a release because a person says so; its id.
    pub async fn promote(&self, identity: &Identity, request: &CreateRelease) -> Result<i64, DeliveryError> {
        let (identity, request) = (identity.clone(), request.clone());
        let now = self.store.now();
        self.store.write(Durability::Full, move |tx| releases::promote(tx, now, &identity, &request)).await
    }

    pub async fn approve(&self, identity: &Identity, release: i64, vote: &CastVote) -> Result<(), DeliveryError> {
        self.vote(identity, release, true, vote).await
    }

    /// Ends the release.
    pub async fn reject(&self, identity: &Identity, release: i64, vote: &CastVote) -> Result<(), DeliveryError> {
        self.vote(identity, release, false, vote).await
    }

    async fn vote(
        &self,
        identity: &Identity,
        release: i64,
        approve: bool,
        vote: &CastVote,
    ) -> Result<(), DeliveryError> {
        let (identity, vote) = (identity.clone(), vote.clone());
        let now = self.store.now();
        self.store.write(Durability::Full, move |tx| approvals::vote(tx, now, &identity, release, approve, &vote)).await
    }

    /// Takes back a rollout, or a live release in favour of the one it replaced. Has taken effect in
    /// the data plane when it returns, unless that is down: then it takes effect when it is back.
    pub async fn roll_back(&self, identity: &Identity, release: i64, reason: &str) -> Result<(), DeliveryError> {
        let (identity, reason) = (identity.clone(), reason.to_owned());
        let now = self.store.now();
        let (deployment, order) = self
            .store
            .write(Durability::Full, move |tx| {
                let order = rollouts::roll_back(tx, now, &identity, release, &reason)?;
                let release = releases::get(tx, release)?;
                let id = DeploymentId { project: release.project, environment: release.environment };
                let desired = rollouts::table::of(tx, &id)?;
                Ok::<_, DeliveryError>((desired, order))
            })
            .await?;
        let told = match (order, deployment) {
            (Some((id, order)), _) => self.target.roll_back(&id, &order).await,
            (None, Some(deployment)) => self.target.put_table(&deployment.id, &deployment.table).await,
            (None, None) => Ok(()),
        };
        if let Err(error) = told {
            // It is decided and recorded; the reconciler brings the table as soon as it can.
            tracing::warn!(%error, release, "the data plane could not be told of the rollback yet");
        }
        Ok(())
    }

    /// Ends an experiment: its candidate serves everybody. The reconciler brings the table at once.
    pub async fn end_experiment(&self, identity: &Identity, release: i64, reason: &str) -> Result<(), DeliveryError> {
        let (identity, reason) = (identity.clone(), reason.to_owned());
        let now = self.store.now();
        let end = move |tx: &mut Tx<'_>| rollouts::end_with_candidate(tx, now, &identity, release, &reason);
        self.store.write(Durability::Full, end).await
    }

    /// Newest first.
    pub async fn releases(&self, filter: Filter) -> Result<Page<ReleaseSummary>, DeliveryError> {
        self.store.read(move |tx| views::list(tx, &filter)).await
    }

    /// One release with everything people decide on. `commit` and the comparison's `code` are left to
    /// whoever has the repository.
    pub async fn release(&self, id: i64) -> Result<Release, DeliveryError> {
        let now = self.store.now();
        let mut release = self.store.read(move |tx| views::release(tx, now, id)).await?;
        release.rollout = match self.rollout(id).await {
            Ok(rollout) => Some(rollout),
            Err(DeliveryError::NoRollout(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(release)
    }

    pub async fn rollout(&self, release: i64) -> Result<RolloutView, DeliveryError> {
        let stored = self.store.read(move |tx| views::StoredRollout::read(tx, release)).await?;
        let observed = self.target.observe(&stored.deployment());
        Ok(stored.view(&observed, self.store.now()))
    }

    /// Decides everything that was decided on a rollout again, from the stored evidence.
    pub async fn recompute_rollout(&self, release: i64) -> Result<Recomputed, DeliveryError> {
        self.store
            .read(move |tx| {
                let rollout = rollouts::of_release(tx, release)?.ok_or(DeliveryError::NoRollout(release))?;
                rollouts::decisions::recompute(tx, &rollout.id)
            })
            .await
    }

    /// All deployments, or those of a project.
    pub async fn deployments(&self, project: Option<&str>) -> Result<Vec<Deployment>, DeliveryError> {
        let project = project.map(str::to_owned);
        let stored = self.store.read(views::StoredDeployment::all).await?;
        Ok(stored
            .into_iter()
            .filter(|stored| project.as_ref().is_none_or(|project| *project == stored.id().project))
            .map(|stored| {
                let observed = self.target.observe(stored.id());
                stored.view(observed)
            })
            .collect())
    }

    pub async fn deployment(&self, project: &str, environment: &str) -> Result<Deployment, DeliveryError> {
        let id = DeploymentId { project: project.to_owned(), environment: environment.to_owned() };
        let wanted = id.clone();
        let stored = self.store.read(move |tx| views::StoredDeployment::of(tx, &wanted)).await?.ok_or_else(|| {
            DeliveryError::NoDeployment { project: project.to_owned(), environment: environment.to_owned() }
        })?;
        let observed = self.target.observe(&id);
        Ok(stored.view(observed))
    }

    /// One prediction, whichever deployment answered it; `None` when none of those that run knows it.
    pub async fn prediction(&self, prediction: &str) -> Result<Option<PredictionRecord>, DeliveryError> {
        let mut told_by_id = None;
        for deployment in self.store.read(rollouts::table::all).await? {
            match self.target.prediction(&deployment.id, prediction).await {
                Ok(Some(record)) if record.note.is_none() => return Ok(Some(record)),
                Ok(Some(record)) => {
                    let release = record.release;
                    let release = self.store.read(move |tx| releases::find(tx, release)).await?;
                    // An id of another deployment looks like one of this one once in 4096 times.
                    let own = release.filter(|release| {
                        release.project == deployment.id.project && release.environment == deployment.id.environment
                    });
                    told_by_id = told_by_id.or(own.map(|release| PredictionRecord {
                        revision: release.revision_id(),
                        model: release.model,
                        model_version: release.version,
                        ..record
                    }));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a prediction log could not be asked"),
            }
        }
        Ok(told_by_id)
    }

    /// What serves in an environment: `(release, model, version)`.
    pub async fn live(&self, project: &str, environment: &str) -> Result<Option<(i64, String, i64)>, DeliveryError> {
        let (project, environment) = (project.to_owned(), environment.to_owned());
        let live = self.store.read(move |tx| releases::incumbent(tx, &project, &environment)).await?;
        Ok(live.map(|release| (release.id, release.model, release.version)))
    }

    /// The releases of a model with their versions, newest first, at most 1000.
    pub async fn of_model(&self, model: &str) -> Result<Vec<(i64, i64)>, DeliveryError> {
        let model = model.to_owned();
        self.store
            .read(move |tx| {
                tx.list(
                    "select id, version from releases where model = $1 order by id desc limit 1000",
                    &[&model],
                    |row| Ok((row.int("id")?, row.int("version")?)),
                )
            })
            .await
    }

    /// The releases of a model version, newest first: `(id, environment, state)`.
    pub async fn of_version(
        &self,
        model: &str,
        version: i64,
    ) -> Result<Vec<(i64, String, ReleaseState)>, DeliveryError> {
        let model = model.to_owned();
        self.store
            .read(move |tx| {
                tx.list(
                    "select * from releases where model = $1 and version = $2 order by id desc limit 1000",
                    &[&model, &version],
                    |row| releases::Release::from_row(row).map(|r| (r.id, r.environment, r.state)),
                )
            })
            .await
    }
}
