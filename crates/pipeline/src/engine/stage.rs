//! Bringing one stage up to date: look, decide, then run it or take its result.

mod commands;
mod container;
mod datums;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use towpath_core::project::{Resources, StagePolicy, Undeclared};
use towpath_core::{Content, Digest};
use towpath_data::locks::RepositoryLock;
use towpath_data::{Role, TrackedOutput};
use towpath_plan::decide::{self, Action, Observed};
use towpath_plan::lock::LockedStage;
use towpath_plan::params::{self, ParamValues};
use towpath_plan::paths;
use towpath_plan::pipeline::{Output, OutputKind, RepoPath, Stage};
use towpath_plan::run_cache;

use self::commands::Ran;
use self::container::Images;
use super::conditions::Conditions;
use super::items::Items;
use super::journal::{Event, Permission};
use super::locks::LockFiles;
use super::outcome::{StageFailure, StageOutcome, StageStatus};
use super::{Run, data, read_text, retry};
use crate::environment::{self, Build, Environment, Environments, Resolved};
use crate::executor::Ending;
use crate::{Error, metrics};

/// Larger metric files are refused.
const METRICS_LIMIT: u64 = 4 << 20;

/// How long another `dvc` or `towpath` command may hold the repository's lock.
const LOCK_DEADLINE: Duration = Duration::from_mins(1);

/// What a stage would read, by path below the root; `None` means missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    pub deps: BTreeMap<String, Option<Content>>,
    /// Values by file.
    pub params: BTreeMap<String, ParamValues>,
}

/// Brings stages of one run up to date, also several at a time.
pub(super) struct StageRunner<'a> {
    run: &'a Run<'a>,
    pub(super) locks: LockFiles,
    /// What `python` of the project file asks for.
    pub(super) resolved: Option<Resolved>,
    /// Built when the first stage runs.
    environment: Mutex<Option<Environment>>,
    images: Images,
    /// Held beside the lock of the repository, for which a process does not wait for itself.
    writing: Mutex<()>,
    conditions: Mutex<Conditions>,
}

/// The repository is ours to write.
struct Writing<'a> {
    _repository: RepositoryLock,
    _own: MutexGuard<'a, ()>,
}

impl<'a> StageRunner<'a> {
    pub(super) fn new(run: &'a Run<'a>) -> Result<Self, Error> {
        let log = run.request.log_of("environment");
        let build = Build { log: &log, cancel: run.cancel, until: None };
        let root = run.workspace.root();
        let wanted = match (&run.request.environment_lock, &run.project.python) {
            (Some(lock_text), _) => Some(Environments::from_lock(lock_text)),
            (None, Some(file)) => Some(run.request.environments.resolve(root, file, &build)),
            (None, None) => None,
        };
        let resolved = match wanted.transpose() {
            // The first stage notices.
            Err(environment::Error::Cancelled) => None,
            resolved => resolved?,
        };
        let locks = LockFiles::read(root, &run.pipeline)?;
        let (environment, writing, conditions) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { run, locks, resolved, environment, images: Images::default(), writing, conditions })
    }

    /// `forced` runs it whatever the cache says.
    pub(super) fn bring_up_to_date(&self, declared: &Stage, forced: bool) -> Result<StageOutcome, Error> {
        if self.run.cancel.is_cancelled() {
            return Ok(StageOutcome::new(&declared.name, StageStatus::Cancelled));
        }
        if let Some(left_out) = self.conditions().decide(self.run, declared)? {
            return Ok(left_out);
        }
        let outcome = self.look_and_act(declared, forced)?;
        self.conditions().saw(&outcome);
        Ok(outcome)
    }

    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_and_act(&self, declared: &Stage, forced: bool) -> Result<StageOutcome, Error> {
        let request = self.run.request;
        let finished = request.finished.get(&declared.name);
        // What an earlier attempt finished is compared by content, even if it was forced.
        let always_changed = declared.always_changed && finished.is_none();
        let stage = &Stage { always_changed, ..declared.clone() };
        let force = (request.force || forced) && finished.is_none();
        let locked = finished.cloned().or_else(|| self.locks.get(stage));

        let mut inputs = self.inputs(stage)?;
        let missing: Vec<String> =
            inputs.deps.iter().filter(|(_, content)| content.is_none()).map(|(path, _)| path.clone()).collect();
        if request.allow_missing {
            self.assume(stage, &mut inputs, locked.as_ref());
        } else if let Some(path) = missing.first().filter(|_| !request.dry) {
            return Ok(self.lacks(stage, path));
        }
        let mut observed = self.observe(stage, &inputs, locked.as_ref())?;
        let hit = self.earlier_run(stage, locked.as_ref(), &observed)?;
        self.find_cached(stage, &mut observed, locked.as_ref(), hit.as_ref())?;
        let decision = decide::decide(stage, locked.as_ref(), &observed, hit.as_ref(), force);
        let approval = self.policy(stage).and_then(|policy| policy.approval.as_ref());
        if let Some(approval) = approval.filter(|_| matches!(decision.action, Action::Run)) {
            match self.run.journal.permission(stage, approval).map_err(Error::Journal)? {
                Permission::Granted => {}
                Permission::Waits => {
                    self.run.record(Event::AwaitsApproval { stage, decision: &decision, approval })?;
                    return Ok(StageOutcome::new(&stage.name, StageStatus::Waiting));
                }
                Permission::Refused(by) => return Ok(StageOutcome::failed(&stage.name, StageFailure::Refused(by))),
            }
        }
        self.run.record(Event::Decided { stage, decision: &decision, inputs: &inputs })?;
        if request.dry {
            let status = if decision.action == Action::Run { StageStatus::Skipped } else { StageStatus::Reused };
            return Ok(StageOutcome { skipped_because: decision.why, ..StageOutcome::new(&stage.name, status) });
        }
        match decision.action {
            Action::Reuse => self.take(stage, locked, &[]),
            Action::Run | Action::Restore { .. } if !self.run.journal.confirm(stage).map_err(Error::Journal)? => {
                Ok(StageOutcome::failed(&stage.name, StageFailure::Declined))
            }
            Action::Run => match missing.first() {
                Some(path) => Ok(self.lacks(stage, path)),
                None => self.execute(stage, observed, force),
            },
            Action::Restore { outs, from_run_cache } => {
                let outcome = self.take(stage, from_run_cache.or(locked), &outs)?;
                Ok(StageOutcome { restored: true, ..outcome })
            }
        }
    }

    fn lacks(&self, stage: &Stage, path: &str) -> StageOutcome {
        let made_by = data::maker_of(&self.run.pipeline, path).map(str::to_owned);
        StageOutcome::failed(&stage.name, StageFailure::MissingDependency { path: path.to_owned(), made_by })
    }

    /// What is missing counts as what its maker recorded, or else as what this stage was run with.
    fn assume(&self, stage: &Stage, inputs: &mut Inputs, locked: Option<&LockedStage>) {
        for dep in &stage.deps {
            if let Some(content) = inputs.deps.get_mut(&dep.path).filter(|content| content.is_none()) {
                let own = || locked.and_then(|locked| locked.dep(&dep.written)).map(|dep| dep.content.clone());
                *content = self.recorded(&dep.path).or_else(own);
            }
        }
    }

    fn recorded(&self, path: &str) -> Option<Content> {
        let made = |stage: &Stage| {
            let out = stage.output(path)?;
            Some(self.locks.get(stage)?.out(&out.at.written)?.content.clone())
        };
        self.run.pipeline.stages.iter().find_map(made).or_else(|| self.run.data.recorded(path))
    }

    fn inputs(&self, stage: &Stage) -> Result<Inputs, Error> {
        let mut inputs = Inputs::default();
        for dep in &stage.deps {
            inputs.deps.insert(dep.path.clone(), self.content(&dep.path)?);
        }
        for params in &stage.params {
            let file = &params.file.path;
            match read_text(&self.run.workspace.root().join(file))? {
                Some(text) => {
                    let values = params::read(file, &text, params.keys.as_deref())?;
                    inputs.params.insert(file.clone(), values);
                }
                None => drop(inputs.deps.insert(file.clone(), None)),
            }
        }
        Ok(inputs)
    }

    fn observe(&self, stage: &Stage, inputs: &Inputs, locked: Option<&LockedStage>) -> Result<Observed, Error> {
        let mut outs = BTreeMap::new();
        for out in &stage.outs {
            outs.insert(out.at.path.clone(), self.content(&out.at.path)?);
        }
        if self.run.request.allow_missing {
            for out in &stage.outs {
                let recorded = || locked?.out(&out.at.written).map(|out| out.content.clone());
                let there = outs.entry(out.at.path.clone()).or_default();
                *there = there.take().or_else(recorded);
            }
        }
        let environment = self.environment_of(stage);
        let locked_environment = match locked.filter(|_| environment.is_some()) {
            Some(locked) => self.run.earlier_runs.environment(&key(locked), &value(locked))?.map(String::from),
            None => None,
        };
        Ok(Observed {
            deps: inputs.deps.clone(),
            params: inputs.params.clone(),
            outs,
            environment: environment.map(String::from),
            locked_environment,
            cached: std::collections::BTreeSet::default(),
        })
    }

    fn content(&self, path: &str) -> Result<Option<Content>, Error> {
        Ok(self.run.workspace.hash(Path::new(path))?.map(|found| found.content))
    }

    /// The newest run of this stage with these inputs in this environment. Not looked for when the
    /// lock has it and its outputs are in place.
    fn earlier_run(
        &self,
        stage: &Stage,
        locked: Option<&LockedStage>,
        observed: &Observed,
    ) -> Result<Option<LockedStage>, Error> {
        let records = self.run.request.run_cache && run_cache::records(stage);
        let Some(inputs) = decide::inputs(stage, observed).filter(|_| records) else {
            return Ok(None);
        };
        let wanted = key(&inputs);
        if locked.is_some_and(|l| key(l) == wanted && in_place(stage, l, observed)) {
            return Ok(None);
        }
        for run in self.run.earlier_runs.get(&wanted)? {
            let environment = self.run.earlier_runs.environment(&wanted, &run.value)?;
            let same = match (environment.map(String::from), &observed.environment) {
                (Some(made_in), Some(wanted)) => made_in == *wanted,
                _ => true,
            };
            // An entry that cannot be read is none.
            if let Some(entry) = LockedStage::read("run cache", &run.text).ok().filter(|_| same) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Notes which outputs that might have to be restored the cache has, or gets when asked.
    fn find_cached(
        &self,
        stage: &Stage,
        observed: &mut Observed,
        locked: Option<&LockedStage>,
        hit: Option<&LockedStage>,
    ) -> Result<(), Error> {
        let inputs = decide::inputs(stage, observed).map(|inputs| key(&inputs));
        for entry in locked.into_iter().chain(hit) {
            let lacking = self.lacking(stage, entry, observed)?;
            // Of a lock entry that is not going to be used, nothing is fetched.
            let wanted = hit == Some(entry) || stage.frozen || inputs.as_ref() == Some(&key(entry));
            if wanted && !lacking.is_empty() && !self.run.request.dry {
                self.run.journal.fetch(&lacking).map_err(Error::Journal)?;
                self.lacking(stage, entry, observed)?;
            }
        }
        Ok(())
    }

    /// The outputs of an entry that neither the checkout nor the cache has; the others are noted.
    fn lacking(
        &self,
        stage: &Stage,
        entry: &LockedStage,
        observed: &mut Observed,
    ) -> Result<Vec<TrackedOutput>, Error> {
        let mut lacking = Vec::new();
        for locked in &entry.outs {
            let content = &locked.content;
            let there = observed.outs.values().flatten().any(|c| c.md5 == content.md5);
            if there || self.run.cache.missing(content)?.is_empty() {
                observed.cached.insert(content.md5.clone());
            } else if let Some(out) = stage.outs.iter().find(|out| out.at.written == locked.path) {
                lacking.push(TrackedOutput {
                    path: out.at.path.clone(),
                    written: out.at.written.clone(),
                    content: Some(content.clone()),
                    cached: true,
                    push: out.push,
                    remote: out.remote.clone(),
                    role: Role::Data,
                    versions: None,
                    import: None,
                    declared_by: stage.name.clone(),
                });
            }
        }
        Ok(lacking)
    }

    /// Uses an earlier result; `missing` are the outputs that are not in place.
    fn take(
        &self,
        stage: &Stage,
        entry: Option<LockedStage>,
        missing: &[(RepoPath, Content)],
    ) -> Result<StageOutcome, Error> {
        let in_lock = entry.as_ref().is_none_or(|entry| self.locks.get(stage).as_ref() == Some(entry));
        // Nothing is written when nothing is missing.
        let _lock = if missing.is_empty() && in_lock { None } else { Some(self.lock_repository()?) };
        for (at, content) in missing {
            self.run.cache.checkout(&self.run.workspace, content, Path::new(&at.path))?;
        }
        for out in stage.outs.iter().filter(|o| missing.iter().any(|(at, _)| *at == o.at)) {
            self.keep_out_of_git(out)?;
        }
        let mut outcome = StageOutcome::new(&stage.name, StageStatus::Reused);
        if let Some(entry) = entry {
            if !in_lock {
                self.locks.write(stage, &entry)?;
            }
            outcome.outputs = outputs_of(stage, &entry);
            outcome.entry = Some(entry);
        }
        Ok(self.with_metrics(stage, outcome))
    }

    fn execute(&self, stage: &Stage, mut observed: Observed, force: bool) -> Result<StageOutcome, Error> {
        if let Some(image) = self.image_of(stage) {
            match self.images.fetch(self.run, stage, image) {
                Ok(id) => observed.environment = Some(id.into()),
                Err(_) if self.run.cancel.is_cancelled() => {
                    return Ok(StageOutcome::new(&stage.name, StageStatus::Cancelled));
                }
                Err(problem) => {
                    let failure = StageFailure::NotGranted(format!("runs in a container: {problem}"));
                    return Ok(StageOutcome::failed(&stage.name, failure));
                }
            }
        } else if !self.build_environment(stage)? {
            return Ok(match self.start(stage) {
                Some(limit) if !self.run.cancel.is_cancelled() => {
                    StageOutcome::failed(&stage.name, StageFailure::StartedTooLate(limit))
                }
                _ => StageOutcome::new(&stage.name, StageStatus::Cancelled),
            });
        }
        let mut attempt = 1;
        let mut earlier: Option<Items> = None;
        loop {
            let mut outcome = self.attempt(stage, &mut observed, force && attempt == 1)?;
            if let (Some(items), Some(earlier)) = (&mut outcome.items, &earlier) {
                *items = std::mem::take(items).after(earlier);
            }
            let Some(failure) = &outcome.failure else { return Ok(outcome) };
            let policy = self.run.project.retries_of(&stage.name);
            let seed = u64::from(std::process::id());
            let Some(wait) = retry::wait(policy, &stage.name, attempt, failure, seed) else { return Ok(outcome) };
            attempt += 1;
            earlier.clone_from(&outcome.items);
            self.run.record(Event::Retrying { stage: &stage.name, attempt, failure, wait })?;
            self.keep_log(stage, attempt - 1)?;
            if self.run.cancel.wait(wait) {
                return Ok(StageOutcome { status: StageStatus::Cancelled, failure: None, ..outcome });
            }
        }
    }

    /// The log of an attempt that failed stays beside that of the next.
    fn keep_log(&self, stage: &Stage, attempt: u32) -> Result<(), Error> {
        let path = self.run.request.log_of(&stage.name);
        let kept = self.run.request.logs.join(format!("{}.attempt-{attempt}.log", paths::file_name(&stage.name)));
        match fs::rename(&path, kept) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io { action: "keep", path, source }),
            _ => Ok(()),
        }
    }

    /// Runs the commands once; of a stage with datums for each one `again`, or else for those without a result.
    fn attempt(&self, stage: &Stage, observed: &mut Observed, again: bool) -> Result<StageOutcome, Error> {
        let ran = if let Some(datums) = &stage.datums {
            self.run_datums(stage, datums, observed, again)?
        } else {
            let inputs = self.slurm_of(stage).and_then(|_| decide::inputs(stage, observed));
            let job = inputs.map(|inputs| key(&inputs));
            let log = self.run.request.log_of(&stage.name);
            // What a job makes that was left behind is not to be deleted under its hands.
            if !job.as_ref().is_some_and(|job| self.run.executor.has_job(&log, job)) {
                self.clear_outputs(stage)?;
            }
            let mut ran = self.run_commands(stage, job)?;
            let refused = || self.refused(stage, &ran);
            ran.failure = ran.failure.clone().or_else(|| self.missing_outputs(stage)).or_else(refused);
            ran
        };
        let Ran { finished, undeclared, observed: looked_at, failure, items } = ran;
        let mut outcome = StageOutcome::new(&stage.name, StageStatus::Ran);
        outcome.duration = finished.duration;
        outcome.log_lines = finished.log_lines;
        outcome.sandbox = finished.sandbox;
        outcome.observed = looked_at;
        outcome.undeclared = undeclared;
        outcome.items = items;
        if finished.ending == Ending::Cancelled {
            outcome.status = StageStatus::Cancelled;
            return Ok(outcome);
        }
        if failure.is_some() {
            return Ok(StageOutcome { status: StageStatus::Failed, failure, ..outcome });
        }
        self.keep_result(stage, observed, &mut outcome)?;
        Ok(self.with_metrics(stage, outcome))
    }

    /// False when cancelled, or when the stage waited for it too long.
    fn build_environment(&self, stage: &Stage) -> Result<bool, Error> {
        let mut built = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(resolved) = self.resolved.as_ref().filter(|_| built.is_none()) else { return Ok(true) };
        let log = self.run.request.log_of("environment");
        let until = self.start(stage).map(|limit| Instant::now() + limit);
        let build = Build { log: &log, cancel: self.run.cancel, until };
        let environment = match self.run.request.environments.build(resolved, &build) {
            Err(environment::Error::Cancelled) => return Ok(false),
            built => built?,
        };
        self.run.record(Event::Environment(&environment))?;
        *built = Some(environment);
        Ok(true)
    }

    /// DVC's lock. Waits a while longer than DVC does: a result that took hours is at stake.
    fn lock_repository(&self) -> Result<Writing<'_>, Error> {
        let own = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + LOCK_DEADLINE;
        loop {
            match self.run.repository.lock() {
                Err(towpath_data::Error::Locked { .. }) if Instant::now() < deadline => {}
                lock => return Ok(Writing { _repository: lock?, _own: own }),
            }
        }
    }

    /// Deletes what the stage is going to make, so that a leftover is never taken for its result, and
    /// makes the folders around it.
    fn clear_outputs(&self, stage: &Stage) -> Result<(), Error> {
        for out in &stage.outs {
            let path = self.run.workspace.root().join(&out.at.path);
            let removed = match fs::symlink_metadata(&path) {
                Ok(_) if out.persist => Ok(()),
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => Ok(()),
            };
            removed.map_err(|source| Error::Io { action: "delete the old", path: path.clone(), source })?;
            if let Some(folder) = path.parent() {
                create_folder(folder)?;
            }
        }
        Ok(())
    }

    /// What it read undeclared, where that is not allowed.
    fn refused(&self, stage: &Stage, ran: &Ran) -> Option<StageFailure> {
        if self.undeclared(stage) != Undeclared::Refuse {
            return None;
        }
        match ran.observed.strip_prefix("none: ") {
            Some(why) => Some(StageFailure::Unobserved(why.to_owned())),
            None if ran.observed.is_empty() => Some(StageFailure::Unobserved("it is not confined".into())),
            None if ran.undeclared.is_empty() => None,
            None => Some(StageFailure::Undeclared(ran.undeclared.clone())),
        }
    }

    fn undeclared(&self, stage: &Stage) -> Undeclared {
        self.policy(stage).map_or(Undeclared::Warn, |policy| policy.undeclared)
    }

    fn timeout(&self, stage: &Stage) -> Option<Duration> {
        let timeouts = &self.run.project.timeouts;
        timeouts.get(&stage.name).or_else(|| timeouts.get("*")).map(|seconds| Duration::from_secs(*seconds))
    }

    fn policy(&self, stage: &Stage) -> Option<&'a StagePolicy> {
        self.run.project.policy_of(&stage.name)
    }

    fn resources(&self, stage: &Stage) -> Resources {
        self.policy(stage).map(|policy| policy.resources.clone()).unwrap_or_default()
    }

    fn heartbeat(&self, stage: &Stage) -> Option<Duration> {
        self.run.project.waits_of(&stage.name).heartbeat_seconds.map(Duration::from_secs_f64)
    }

    fn start(&self, stage: &Stage) -> Option<Duration> {
        self.run.project.waits_of(&stage.name).start_seconds.map(Duration::from_secs_f64)
    }

    fn queue(&self, stage: &Stage) -> Option<Duration> {
        self.run.project.waits_of(&stage.name).queue_seconds.map(Duration::from_secs_f64)
    }

    fn missing_outputs(&self, stage: &Stage) -> Option<StageFailure> {
        let exists = |out: &&Output| self.run.workspace.root().join(&out.at.path).exists();
        let missing: Vec<String> = stage.outs.iter().filter(|o| !exists(o)).map(|o| o.at.path.clone()).collect();
        (!missing.is_empty()).then_some(StageFailure::MissingOutputs(missing))
    }

    /// Into the cache, `dvc.lock` and the run cache, in this order: what a lock entry names is there.
    fn keep_result(&self, stage: &Stage, observed: &mut Observed, outcome: &mut StageOutcome) -> Result<(), Error> {
        let _lock = self.lock_repository()?;
        for out in &stage.outs {
            // DVC's run cache keeps metrics that Git tracks too.
            let keep = self.run.request.commit && (out.cache || out.kind == OutputKind::Metric);
            let content = if keep {
                Some(self.run.cache.add_path(&self.run.workspace, Path::new(&out.at.path))?)
            } else {
                self.content(&out.at.path)?
            };
            self.keep_out_of_git(out)?;
            observed.outs.insert(out.at.path.clone(), content);
        }
        let Some(entry) = decide::result(stage, observed) else { return Ok(()) };
        self.locks.write(stage, &entry)?;
        if self.run.request.recorded {
            let (key, value) = (key(&entry), value(&entry));
            if let Some(environment) = observed.environment.as_ref().and_then(|hash| hash.parse().ok()) {
                self.run.earlier_runs.save_environment(&key, &value, &environment)?;
            }
            let all_cached = stage.outs.iter().all(|o| o.cache || o.kind == OutputKind::Metric);
            if self.run.request.commit && run_cache::records(stage) && all_cached {
                self.run.earlier_runs.save(&key, &value, &run_cache::text(&entry))?;
            }
        }
        outcome.outputs = outputs_of(stage, &entry);
        outcome.entry = Some(entry);
        Ok(())
    }

    fn keep_out_of_git(&self, out: &Output) -> Result<(), Error> {
        if out.cache {
            let path = self.run.workspace.root().join(&out.at.path);
            towpath_data::ignore::keep_out_of_git(self.run.workspace.root(), &path, path.is_dir())?;
        }
        Ok(())
    }

    fn with_metrics(&self, stage: &Stage, mut outcome: StageOutcome) -> StageOutcome {
        for out in stage.outs.iter().filter(|o| o.kind == OutputKind::Metric) {
            let path = self.run.workspace.root().join(&out.at.path);
            if self.run.request.allow_missing && !path.exists() {
                continue;
            }
            match read_metrics(&path, &out.at.path) {
                Ok(metrics) => outcome.metrics.extend(metrics),
                Err(problem) => {
                    outcome.status = StageStatus::Failed;
                    outcome.failure = Some(StageFailure::Metrics { path: out.at.path.clone(), problem });
                }
            }
        }
        outcome
    }
}

fn read_metrics(path: &Path, name: &str) -> Result<BTreeMap<String, f64>, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > METRICS_LIMIT {
        return Err(format!("it has {size} bytes, more than {METRICS_LIMIT}"));
    }
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    metrics::read(name, &text).map_err(|e| e.to_string())
}

/// True when every output is as the entry says.
fn in_place(stage: &Stage, entry: &LockedStage, observed: &Observed) -> bool {
    stage.outs.iter().all(|out| {
        let there = observed.outs.get(&out.at.path).and_then(Option::as_ref);
        entry.out(&out.at.written).is_some_and(|locked| there.is_some_and(|c| c.md5 == locked.content.md5))
    })
}

fn outputs_of(stage: &Stage, entry: &LockedStage) -> Vec<(String, Content)> {
    let content = |out: &Output| Some((out.at.path.clone(), entry.out(&out.at.written)?.content.clone()));
    stage.outs.iter().filter_map(content).collect()
}

fn key(entry: &LockedStage) -> Digest {
    digest(&run_cache::key(entry))
}

fn value(entry: &LockedStage) -> Digest {
    digest(&run_cache::value(entry))
}

fn digest(hex: &str) -> Digest {
    hex.parse().expect("keys of the run cache are SHA-256 in hex")
}

fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Io { action: "create", path: path.to_owned(), source })
}
