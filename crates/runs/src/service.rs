//! Makes the runs that are queued, a few at a time, and goes on with those that a crash left behind.
//! What is to be done is read from the rows; nothing is remembered but which are being made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use towpath_api::projects::Commit;
use towpath_api::runs::{LogLine, LogPage, RunStatus, StageRun, StageStatus};
use towpath_core::project::Concurrency;
use towpath_core::{Actor, Classify, Timestamp};
use towpath_git::Repository;
use towpath_identity::tokens;
use towpath_pipeline::engine::outcome::{Outcome, Status};
use towpath_pipeline::engine::{self, Request, log_name};
use towpath_pipeline::executor::Slurm;
use towpath_pipeline::{
    Anywhere, Cancel, Capacity, Environments, Pooled, Pools, kill_below, kill_orphan, log, remove_containers_below,
};
use towpath_plan::lock::{Lock, LockText, LockedStage};
use towpath_store::vault::KEY_LENGTH;
use towpath_store::{Durability, Store, Vault};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::runs::{self as tracked, RunStatus as TrackedStatus};
use towpath_tracking::{KeyValue, experiments, tags};

use crate::journal::DatabaseJournal;
use crate::params::{self, Params};
use crate::rows::{self, NewRun, Open};
use crate::schedules::{self, backfills, pull_requests};
use crate::success::{self, OpenRelease};
use crate::triggers::{self, Triggered};
use crate::{Error, approvals, compiled, pushed_experiments};

/// Where runs find what they need.
#[derive(Clone)]
pub struct Config {
    /// What is the server's alone: stages read nothing of it but their checkout.
    pub data_dir: PathBuf,
    /// `<project>.git` below it.
    pub repositories: PathBuf,
    /// Checkouts and logs: `<project>/<n>`.
    pub runs: PathBuf,
    pub cache: PathBuf,
    pub environments: PathBuf,
    /// `<model>/<version>`: the files of versions, as serving reads them.
    pub models: PathBuf,
    /// As stages reach the server.
    pub server_url: String,
    /// Runs made at the same time.
    pub slots: usize,
    /// Stages of one run that run at the same time.
    pub jobs: usize,
    /// This program: it starts itself again to confine a stage strictly, or to limit it.
    pub program: PathBuf,
    /// Every stage is confined strictly.
    pub strict: bool,
    /// What stages may take of this machine.
    pub capacity: Capacity,
    /// The key of the secrets of stages.
    pub secrets_key: [u8; KEY_LENGTH],
    /// Tells this server from others on the same database; the same after a restart.
    pub server: String,
}

/// A run that somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct Manual {
    pub project: String,
    /// Branch, tag or commit.
    pub reference: String,
    pub force: bool,
    /// As `on.manual` of `towpath.yaml` declares them.
    pub params: Params,
    /// The stage from which on everything runs, whatever the cache says.
    pub from: Option<String>,
}

/// Stages that an earlier attempt at a run finished: their entries of the lock, and how they are shown.
type Finished = (BTreeMap<String, LockedStage>, BTreeMap<String, StageRun>);

/// A commit to be run, and what its `towpath.yaml` says of runs.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) commit: Commit,
    pub(crate) concurrency: Option<Concurrency>,
}

impl Config {
    pub(crate) fn repository(&self, project: &str) -> PathBuf {
        self.repositories.join(format!("{project}.git"))
    }

    /// The checkout of a run. Processes of a run are known by it, also where there is none.
    pub(crate) fn tree_of(&self, project: &str, number: i64) -> PathBuf {
        self.run_dir(project, number).join("tree")
    }

    /// `dvc.lock` as a run that did not succeed left it.
    fn lock_of(&self, project: &str, number: i64) -> PathBuf {
        self.run_dir(project, number).join("dvc.lock")
    }

    pub(crate) fn run_dir(&self, project: &str, number: i64) -> PathBuf {
        self.runs.join(project).join(number.to_string())
    }
}

/// A server that does not renew its claims for so long is taken for dead: others go on with its runs.
const LEASE: Duration = Duration::from_secs(30);

/// Triggers are looked at at least this often.
const BETWEEN_LOOKS: Duration = Duration::from_secs(30);

/// A clock that goes back by more than this has been set.
const A_LEAP_BACK: Duration = Duration::from_hours(1);

/// Largest `dvc.lock` that is read.
const LOCK_LIMIT: usize = 64 << 20;

/// The pipeline runs of a server.
pub struct Runs {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) artifacts: Artifacts,
    pub(crate) releases: Arc<dyn OpenRelease>,
    pub(crate) pools: Pools,
    pub(crate) vault: Vault,
    active: Mutex<HashMap<(String, i64), Cancel>>,
}

impl Runs {
    pub fn new(store: Store, config: Config, artifacts: Artifacts, releases: Arc<dyn OpenRelease>) -> Self {
        let pools = Pools::new(config.capacity.clone());
        let vault = Vault::new(&config.secrets_key);
        Self { store, config, artifacts, releases, pools, vault, active: Mutex::default() }
    }

    /// Encrypts and decrypts the secrets of stages.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Makes runs until `shutdown`; those under way are then left for the next start.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut listener = self.store.listen_to(&[rows::QUEUE]);
        self.look_at_all_branches().await;
        let claims = tokio::spawn(Arc::clone(&self).keep_claims(shutdown.clone()));
        let scheduler = tokio::spawn(Arc::clone(&self).act_on_triggers(shutdown.clone()));
        loop {
            if let Err(error) = self.clone().claim(&shutdown).await {
                tracing::error!(%error, "queued runs could not be read");
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = next(&mut listener) => {}
                // An event may be lost; the rows are not.
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
        }
        for cancel in self.lock_active().values() {
            cancel.cancel();
        }
        // One that panicked has been logged; the runs still end in order.
        drop(scheduler.await);
        drop(claims.await);
        let deadline = Instant::now() + Duration::from_secs(15);
        while !self.lock_active().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Acts on triggers when their time comes, when something they wait for happens, and now and then:
    /// an event may be lost, and the machine's clock may be set.
    async fn act_on_triggers(self: Arc<Self>, shutdown: CancellationToken) {
        let mut listener = self.store.listen_to(&[rows::QUEUE, schedules::TOPIC, "models"]);
        let mut before = None;
        loop {
            let now = self.store.now();
            let clock_set = before.is_none_or(|before: Timestamp| before > now.plus(A_LEAP_BACK));
            before = Some(now);
            if let Err(error) = self.act(now, clock_set).await {
                tracing::error!(%error, "triggers could not be acted on");
            }
            let until_due = match self.store.read(schedules::next_due).await {
                Ok(Some(due)) => due.since(self.store.now()).min(BETWEEN_LOOKS),
                _ => BETWEEN_LOOKS,
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = next(&mut listener) => {}
                () = tokio::time::sleep(until_due.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// Decides on every trigger whose time has come or whose cause has happened. `clock_set` looks at
    /// the planned times that lie ahead as well.
    pub async fn act(&self, now: Timestamp, clock_set: bool) -> Result<(), Error> {
        schedules::act(self, now, clock_set).await
    }

    fn lock_active(&self) -> std::sync::MutexGuard<'_, HashMap<(String, i64), Cancel>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A push just before a crash is acted on now.
    async fn look_at_all_branches(&self) {
        let projects = match self.store.read(crate::projects::list).await {
            Ok(projects) => projects,
            Err(error) => return tracing::error!(%error, "projects could not be read"),
        };
        for project in projects {
            if let Err(error) = self.look(&project.name).await {
                tracing::warn!(project = project.name, %error, "branches could not be looked at");
            }
            if let Err(error) = self.take_experiments(&project.name, &Actor::system("server")).await {
                tracing::warn!(project = project.name, %error, "experiments could not be looked at");
            }
        }
    }

    /// Acts on what was pushed to a project.
    pub async fn look(&self, project: &str) -> Result<Vec<Triggered>, Error> {
        let now = self.store.now();
        triggers::look(&self.store, &self.config.repository(project), project, now).await
    }

    /// Makes runs of the experiments of DVC that were pushed to a project; how many are new.
    pub async fn take_experiments(&self, project: &str, by: &Actor) -> Result<usize, Error> {
        pushed_experiments::take(self, project, by).await
    }

    /// Begins what is queued and goes on with what a crash left, as far as slots, groups and other
    /// servers let it.
    async fn claim(self: Arc<Self>, shutdown: &CancellationToken) -> Result<(), Error> {
        let open = self.store.read(rows::open).await?;
        let now = self.store.now();
        let mut busy: BTreeSet<(String, String)> = open
            .iter()
            .filter(|run| run.status == RunStatus::Running)
            .filter_map(|run| Some((run.project.clone(), run.group.clone()?)))
            .collect();
        for run in open {
            let key = (run.project.clone(), run.number);
            {
                let active = self.lock_active();
                if let Some(cancel) = active.get(&key) {
                    if run.cancel_requested {
                        cancel.cancel();
                    }
                    continue;
                }
                if active.len() >= self.config.slots || run.waiting {
                    continue;
                }
            }
            if run.claim.as_ref().is_some_and(|c| c.by != self.config.server && c.until >= now) {
                continue;
            }
            // Another server on this database has the repository.
            if !self.config.repository(&run.project).exists() {
                continue;
            }
            let group = run.group.clone().map(|group| (run.project.clone(), group));
            if run.status == RunStatus::Queued && group.as_ref().is_some_and(|group| !busy.insert(group.clone())) {
                continue;
            }
            let (project, number, server) = (run.project.clone(), run.number, self.config.server.clone());
            let until = now.plus(LEASE);
            let claimed = self
                .store
                .write(Durability::Relaxed, move |tx| rows::claim(tx, now, &project, number, &server, until))
                .await?;
            if claimed {
                self.clone().begin(key, run, shutdown);
            }
        }
        Ok(())
    }

    /// Makes a run on a thread of its own.
    fn begin(self: Arc<Self>, key: (String, i64), run: Open, shutdown: &CancellationToken) {
        let Ok(cancel) = Cancel::new() else { return };
        if run.cancel_requested {
            cancel.cancel();
        }
        self.lock_active().insert(key.clone(), cancel.clone());
        let shutdown = shutdown.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            self.make(&runtime, &run, &cancel, &shutdown);
            self.lock_active().remove(&key);
            let server = self.config.server.clone();
            // Whatever waited for the slot is looked at again.
            let told = self.store.write(Durability::Relaxed, move |tx| {
                rows::let_go(tx, &key.0, key.1, &server)?;
                rows::wake_queue(tx);
                Ok::<_, Error>(())
            });
            if let Err(error) = runtime.block_on(told) {
                tracing::warn!(%error, "the end of a run could not be told");
            }
        });
    }

    /// Keeps the claims of what is being made. A run that another server took meanwhile (this one
    /// stood still) is ended here.
    async fn keep_claims(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LEASE / 6) => {}
            }
            let active: Vec<((String, i64), Cancel)> =
                self.lock_active().iter().map(|(key, cancel)| (key.clone(), cancel.clone())).collect();
            for ((project, number), cancel) in active {
                let (now, server) = (self.store.now(), self.config.server.clone());
                let (until, name) = (now.plus(LEASE), project.clone());
                let kept = self
                    .store
                    .write(Durability::Relaxed, move |tx| rows::claim(tx, now, &name, number, &server, until))
                    .await;
                match kept {
                    Ok(true) => {}
                    Ok(false) => {
                        tracing::warn!(project, number, "the run is over or another server has it");
                        cancel.cancel();
                    }
                    Err(error) => tracing::error!(project, number, %error, "a claim could not be renewed"),
                }
            }
        }
    }

    /// One run from its checkout to its end. Synchronous: the engine is.
    fn make(&self, runtime: &Handle, run: &Open, cancel: &Cancel, shutdown: &CancellationToken) {
        let made = match &run.kfp_run {
            Some(asked) => compiled::attempt(self, runtime, run, asked, cancel),
            None => self.attempt(runtime, run, cancel),
        };
        if self.is_lost(runtime, run) {
            return;
        }
        if shutdown.is_cancelled() && !run.cancel_requested {
            // Cancelled by the shutdown, not by a person: it goes on at the next start.
            return;
        }
        let (project, number) = (run.project.clone(), run.number);
        let now = self.store.now();
        let (status, error) = match made {
            Ok(None) => return,
            Ok(Some((RunStatus::Cancelled, _))) => (RunStatus::Cancelled, Some("cancelled".to_owned())),
            Ok(Some((status, error))) => (status, error),
            Err(error) => (RunStatus::Failed, Some(explained(&error))),
        };
        let parent = run.tracking_run.clone();
        let ended = self.store.write(Durability::Full, move |tx| {
            tokens::revoke_stage_tokens(tx, now, &project, number, None)?;
            rows::finish(tx, now, &project, number, status, error.as_deref())?;
            if let Some(parent) = tracked_parent(tx, &project, number, parent.as_deref())? {
                let tracked =
                    if status == RunStatus::Cancelled { TrackedStatus::Killed } else { TrackedStatus::Failed };
                for run_id in rows::unfinished_tracked(tx, &project, number)?.iter().chain([&parent]) {
                    tracked::finish(tx, now, run_id, tracked)?;
                }
            }
            Ok::<_, Error>(())
        });
        if let Err(error) = runtime.block_on(ended) {
            tracing::error!(project = run.project, number, %error, "the end of a run could not be written");
        }
    }

    /// True when another server has taken the run: it is no longer ours to end.
    fn is_lost(&self, runtime: &Handle, run: &Open) -> bool {
        let (project, number) = (run.project.clone(), run.number);
        let holder = runtime.block_on(self.store.read(move |tx| rows::holder(tx, &project, number)));
        holder.is_ok_and(|holder| holder.is_some_and(|holder| holder != self.config.server))
    }

    /// `None`: it succeeded and is written down. Otherwise how it ended.
    fn attempt(
        &self,
        runtime: &Handle,
        run: &Open,
        cancel: &Cancel,
    ) -> Result<Option<(RunStatus, Option<String>)>, Error> {
        let dir = self.config.run_dir(&run.project, run.number);
        let repository = Repository::open(&self.config.repository(&run.project))?;
        self.reap(runtime, run)?;
        let (experiment, parent) = self.parent_run(runtime, run, &run.project, &format!("run-{}", run.number))?;
        let commit = run.commit.id.parse().map_err(Error::Git)?;
        let tree = self.config.tree_of(&run.project, run.number);
        let (finished, shown) = self.finished_before(runtime, run, &tree)?;
        // A job that a server that was killed left in Slurm goes on in its checkout.
        let kept = tree.exists() && Slurm::has_jobs(&dir.join("logs"));
        if tree.exists() && !kept {
            repository.worktree_remove(&tree)?;
        }
        if !kept {
            repository.worktree_add(&tree, &commit)?;
        }
        self.bring_lock(runtime, run, &repository, &tree)?;
        params::apply(&tree, &run.params)?;
        let url = &self.config.server_url;
        let journal =
            DatabaseJournal::new(&self.store, runtime, run, url, experiment, &parent, &self.vault, &tree, shown);
        let environments = Environments::new(&self.config.environments);
        let environments = if run.is_of_pull_request() { environments.only_wheels() } else { environments };
        let request = Request {
            cache: Some(self.config.cache.clone()),
            exact_data: true,
            hidden: vec![self.config.data_dir.clone()],
            // Tools in a stage ask Git for the commit.
            readable: vec![repository.path().to_owned(), self.config.environments.clone()],
            force: run.force,
            from: run.from.clone(),
            finished,
            trigger: json!({
                "kind": run.trigger, "name": run.trigger_name, "branch": run.branch, "user": run.started_by,
            }),
            priority: run.priority,
            jobs: self.config.jobs,
            measured: true,
            strict: self.config.strict || run.is_of_pull_request(),
            recorded: !run.is_of_pull_request(),
            helper: Some(self.config.program.clone()),
            ..Request::new(tree.clone(), environments, dir.join("logs"), dir.join("scratch"))
        };
        let executor = Pooled { pools: &self.pools, inner: Anywhere::default() };
        let outcome = engine::run(&request, &journal, &executor, cancel)?;
        if outcome.status != Status::Succeeded && !outcome.lock_text.is_empty() {
            // What it finished, for a run that makes it again.
            let kept = self.config.lock_of(&run.project, run.number);
            std::fs::write(&kept, &outcome.lock_text).map_err(keep_error(run.number, &kept))?;
        }
        if outcome.status == Status::Waiting {
            // The checkout stays: its lock says what this run has finished.
            let (project, number) = (run.project.clone(), run.number);
            let parked = self.store.write(Durability::Full, move |tx| approvals::park(tx, &project, number));
            runtime.block_on(parked)?;
            return Ok(None);
        }
        let ended = self.conclude(runtime, run, &repository, &tree, &outcome, &parent)?;
        // The logs stay; the checkout is in the repository, its outputs in the cache.
        if let Err(error) = repository.worktree_remove(&tree) {
            tracing::warn!(%error, "a checkout could not be removed");
        }
        Ok(ended)
    }

    /// What earlier attempts that were killed had finished: a run that is forced does not do it twice.
    /// Kept beside the checkout, which is made anew: the next kill may come before it has a lock again.
    fn finished_before(&self, runtime: &Handle, run: &Open, tree: &Path) -> Result<Finished, Error> {
        let (project, number) = (run.project.clone(), run.number);
        let mut shown = runtime.block_on(self.store.read(move |tx| rows::succeeded_stages(tx, &project, number)))?;
        if shown.is_empty() {
            return Ok(Finished::default());
        }
        let kept = self.config.run_dir(&run.project, run.number).join("finished.lock");
        // A lock that cannot be read is none: everything is looked at again. Stages of a folder carry its pipeline
        // file in front of their name in the lock.
        let entries = |(of_file, path): &(String, PathBuf)| {
            let text = std::fs::read_to_string(path).ok()?;
            let stages = Lock::read("dvc.lock", &text).ok()?.stages;
            Some(stages.into_iter().map(|(stage, entry)| (format!("{of_file}{stage}"), entry)).collect::<Vec<_>>())
        };
        let files: BTreeSet<&str> = shown.keys().filter_map(|stage| Some(stage.rsplit_once(':')?.0)).collect();
        let of_folder = |file: &str| {
            let lock = tree.join(file).with_extension("lock");
            (format!("{file}:"), lock)
        };
        let mut locks = vec![(String::new(), kept.clone()), (String::new(), tree.join("dvc.lock"))];
        locks.extend(files.into_iter().map(of_folder));
        let mut locked: BTreeMap<String, LockedStage> = BTreeMap::new();
        // What was kept first is of this run; the checkout's lock may have come from an earlier one.
        for (stage, entry) in locks.iter().filter_map(entries).flatten() {
            if shown.contains_key(&stage) {
                locked.entry(stage).or_insert(entry);
            }
        }
        shown.retain(|stage, _| locked.contains_key(stage));
        let mut text = LockText::new("dvc.lock", None);
        for (stage, entry) in &locked {
            text.set(stage, entry).map_err(towpath_plan::Error::from).map_err(towpath_pipeline::Error::from)?;
        }
        let whole = kept.with_extension("unfinished");
        std::fs::write(&whole, text.text().unwrap_or_default()).map_err(keep_error(run.number, &whole))?;
        std::fs::rename(&whole, &kept).map_err(keep_error(run.number, &kept))?;
        Ok((locked, shown))
    }

    fn conclude(
        &self,
        runtime: &Handle,
        run: &Open,
        repository: &Repository,
        tree: &Path,
        outcome: &Outcome,
        parent: &str,
    ) -> Result<Option<(RunStatus, Option<String>)>, Error> {
        match outcome.status {
            Status::Succeeded => {
                success::record(self, runtime, run, repository, tree, outcome, parent)?;
                Ok(None)
            }
            Status::Failed => Ok(Some((RunStatus::Failed, outcome.error.clone()))),
            Status::Cancelled | Status::Waiting => Ok(Some((RunStatus::Cancelled, None))),
        }
    }

    /// A commit without a lock is compared with the last run that succeeded, so that every stage can
    /// say what changed since.
    fn bring_lock(&self, runtime: &Handle, run: &Open, repository: &Repository, tree: &Path) -> Result<(), Error> {
        let lock = tree.join("dvc.lock");
        let before = run.again_of.map(|before| self.config.lock_of(&run.project, before)).filter(|lock| lock.exists());
        if let Some(before) = before {
            return std::fs::copy(&before, &lock).map(drop).map_err(keep_error(run.number, &lock));
        }
        if lock.exists() {
            return Ok(());
        }
        let project = run.project.clone();
        let last = runtime.block_on(self.store.read(move |tx| rows::last_lock_ref(tx, &project)))?;
        let Some(reference) = last else { return Ok(()) };
        let text = repository.show_at(&reference, "dvc.lock", LOCK_LIMIT)?;
        std::fs::write(&lock, text).map_err(keep_error(run.number, &lock))
    }

    /// Ends the processes that an earlier attempt left running.
    pub(crate) fn reap(&self, runtime: &Handle, run: &Open) -> Result<(), Error> {
        let (project, number) = (run.project.clone(), run.number);
        let orphans = runtime.block_on(self.store.read(move |tx| rows::orphans(tx, &project, number)))?;
        let tree = self.config.tree_of(&run.project, run.number);
        let some = !orphans.is_empty();
        for (stage, pid, started) in orphans {
            let id = towpath_pipeline::ProcessId { pid: pid as i32, start_time: started as u64 };
            let variables = [("DVC_ROOT".to_owned(), tree.display().to_string()), ("DVC_STAGE".to_owned(), stage)];
            if kill_orphan(id, &variables) {
                tracing::info!(project = run.project, number, pid, "ended a stage left over from a crash");
            }
        }
        if some {
            let dir = self.config.run_dir(&run.project, run.number);
            kill_below(&dir);
            match remove_containers_below(&dir) {
                Ok(0) => {}
                Ok(removed) => tracing::info!(project = run.project, number, removed, "removed containers of a crash"),
                Err(problem) => tracing::warn!(%problem, "containers left over from a crash may still run"),
            }
        }
        Ok(())
    }

    /// The tracked run of the pipeline run: made once, found again after a crash.
    pub(crate) fn parent_run(
        &self,
        runtime: &Handle,
        run: &Open,
        experiment: &str,
        name: &str,
    ) -> Result<(i64, String), Error> {
        let now = self.store.now();
        let (run, experiment, name) = (run.clone(), experiment.to_owned(), name.to_owned());
        runtime.block_on(self.store.write(Durability::Relaxed, move |tx| {
            let experiment = experiments::ensure(tx, now, &experiment)?;
            let known = tracked_parent(tx, &run.project, run.number, run.tracking_run.as_deref())?;
            let parent = if let Some(parent) = known {
                parent
            } else {
                let by = Actor::user(run.started_by.clone());
                let new = tracked::NewRun {
                    experiment: experiment.id,
                    user: by.0.clone(),
                    name: Some(name.clone()),
                    start_time: Some(now),
                    tags: vec![
                        KeyValue::new(tags::COMMIT, &run.commit.id),
                        KeyValue::new(tags::USER, &by.0),
                        KeyValue::new(tags::PIPELINE_RUN, format!("{}/{}", run.project, run.number)),
                    ],
                };
                tracked::create(tx, now, &by, &new)?.info.run_id
            };
            rows::start(tx, now, &run.project, run.number, &parent, &experiment.id.to_string())?;
            Ok((experiment.id, parent))
        }))
    }

    /// The commit that a branch, a tag or a commit id of a project names, and what its file says of
    /// runs.
    pub(crate) async fn head(&self, project: &str, reference: &str) -> Result<Head, Error> {
        let (path, asked) = (self.config.repository(project), reference.to_owned());
        triggers::blocking(move || {
            let repository = Repository::open(&path)?;
            let id = repository.resolve(&asked)?;
            let file = triggers::project_file(&repository, &id).ok();
            let commit = triggers::commit(repository.commit(&id)?);
            Ok(Head { commit, concurrency: file.and_then(|file| file.concurrency) })
        })
        .await
    }

    /// Starts a run by hand; its number.
    pub async fn start(&self, asked: Manual, by: &Actor) -> Result<i64, Error> {
        let path = self.config.repository(&asked.project);
        let reference = asked.reference.clone();
        let (info, branch, file) = triggers::blocking(move || {
            let repository = Repository::open(&path)?;
            let id = repository.resolve(&reference)?;
            let branch = repository.heads()?.into_iter().find(|h| h.branch == reference).map(|h| h.branch);
            Ok((repository.commit(&id)?, branch, triggers::project_file(&repository, &id)))
        })
        .await?;
        let (params, concurrency) = match file {
            Ok(file) => (params::checked(&file.manual, &asked.params)?, file.concurrency),
            // The run says what is wrong with the file; values need its declaration.
            Err(_) if asked.params.is_empty() => (Params::new(), None),
            Err(error) => return Err(error),
        };
        let new = NewRun {
            branch,
            params,
            concurrency,
            force: asked.force,
            from: asked.from,
            ..NewRun::new(&asked.project, triggers::commit(info), "manual", by.clone())
        };
        let now = self.store.now();
        self.store.write(Durability::Full, move |tx| rows::create(tx, now, &new)).await
    }

    /// Makes a run that is over once more, with its commit and parameters: what it finished is found in
    /// the cache, so it goes on where it failed. With `from`, this stage and what follows run anyway.
    pub async fn again(&self, project: &str, number: i64, from: Option<String>, by: &Actor) -> Result<i64, Error> {
        let name = project.to_owned();
        let read = move |tx: &mut towpath_store::Tx<'_>| {
            Ok::<_, Error>((rows::get(tx, &name, number)?.summary, rows::kfp_run_of(tx, &name, number)?))
        };
        let (old, kfp_run) = self.store.read(read).await?;
        if old.finished_at.is_none() {
            return Err(Error::NotOver { project: project.to_owned(), number });
        }
        if let (Some(stage), Some(_)) = (&from, &kfp_run) {
            return Err(Error::FromTask { stage: stage.clone() });
        }
        let head = self.head(project, &old.commit.id).await?;
        // It stays the run of its planned time, or of its pull request.
        let of_backfill = old.trigger == backfills::CAUSE;
        let cause = match old.trigger.as_str() {
            backfills::CAUSE => backfills::CAUSE,
            pull_requests::CAUSE => pull_requests::CAUSE,
            _ => "retry",
        };
        let new = NewRun {
            branch: old.branch,
            params: old.params,
            concurrency: head.concurrency,
            reason: Some(format!("run {number} again")),
            from,
            again_of: Some(number),
            kfp_run,
            trigger_name: old.trigger_name.filter(|_| of_backfill),
            planned_at: old.planned_at.filter(|_| of_backfill),
            ..NewRun::new(project, head.commit, cause, by.clone())
        };
        let now = self.store.now();
        self.store.write(Durability::Full, move |tx| rows::create(tx, now, &new)).await
    }

    /// A page of a stage's log.
    pub async fn log(
        &self,
        project: &str,
        number: i64,
        stage: &str,
        from: u64,
        limit: usize,
    ) -> Result<LogPage, Error> {
        let (name, wanted) = (project.to_owned(), stage.to_owned());
        let run = self.store.read(move |tx| rows::get(tx, &name, number)).await?;
        let row = run.stages.iter().find(|s| s.name == wanted);
        let found =
            row.ok_or_else(|| Error::NoStage { project: project.to_owned(), number, stage: stage.to_owned() })?;
        let finished = !matches!(found.status, StageStatus::Queued | StageStatus::Running | StageStatus::Waiting);
        let path = self.config.run_dir(project, number).join("logs").join(log_name(stage));
        let page = tokio::task::spawn_blocking(move || log::read(&path, from, limit))
            .await
            .map_err(|_| towpath_store::StoreError::Closed)?;
        let page = page.map_err(|source| Error::Keep { number, path: format!("log of {stage}"), source })?;
        let lines = page.lines.into_iter().map(|line| LogLine {
            number: line.number,
            seconds: line.seconds,
            stream: line.stream.name().to_owned(),
            text: line.text,
        });
        Ok(LogPage { lines: lines.collect(), total: page.total, finished })
    }
}

fn tracked_parent(
    tx: &mut towpath_store::Tx<'_>,
    project: &str,
    number: i64,
    known: Option<&str>,
) -> Result<Option<String>, Error> {
    match known {
        Some(known) => Ok(Some(known.to_owned())),
        None => Ok(rows::get(tx, project, number)?.tracking_run),
    }
}

fn keep_error(number: i64, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Keep { number, path, source }
}

/// An error in one paragraph, with what to do.
fn explained(error: &Error) -> String {
    let text = error.to_string();
    // An error with its place in a file shows its hint below the line.
    let hints: Vec<String> = error.hints().into_iter().filter(|hint| !text.contains(hint)).collect();
    if hints.is_empty() { text } else { format!("{text} ({})", hints.join("; ")) }
}

/// Waits for the next notification; a lost one counts.
async fn next(listener: &mut tokio::sync::broadcast::Receiver<towpath_store::Notification>) {
    if let Err(RecvError::Closed) = listener.recv().await {
        std::future::pending::<()>().await;
    }
}
