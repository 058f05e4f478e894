//! The engine: reads a repository's pipeline, decides for each stage whether it runs, runs it or
//! takes its result out of the cache, and writes down what happened. A run that was killed half-way
//! is started again from the beginning: finished stages are found in `dvc.lock` or the run cache.

mod checks;
mod conditions;
mod data;
mod inputs;
pub mod items;
pub mod journal;
mod locks;
pub mod outcome;
mod retry;
mod schedule;
pub mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use towpath_core::project::ProjectFile;
use towpath_data::{Cache, Repository, RunCache, TrackedOutput, Workspace};
use towpath_plan::frontend::dvc_yaml::{self, Arguments, Sources};
use towpath_plan::graph::Graph;
use towpath_plan::lock::LockedStage;
use towpath_plan::paths;
use towpath_plan::pipeline::{Pipeline, Stage};

use self::checks::Checks;
use self::data::TrackedData;
use self::journal::{Event, Journal, Planned};
use self::outcome::{Outcome, StageFailure, StageOutcome, StageStatus, Status};
use self::schedule::Schedule;
use self::stage::StageRunner;
use crate::environment::Environments;
use crate::executor::Executor;
use crate::{Cancel, Error, log};

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Request {
    /// The root of a checkout that nobody else changes meanwhile.
    pub workspace: PathBuf,
    /// Where content comes from and goes to; `None` is what the repository's configuration says.
    pub cache: Option<PathBuf>,
    pub environments: Environments,
    /// The lock of an earlier run's environment, instead of what the project file asks for now.
    pub environment_lock: Option<String>,
    /// Gets `<stage>.log` for each stage that runs and `environment.log`.
    pub logs: PathBuf,
    /// For the temporary files of stages.
    pub scratch: PathBuf,
    /// Folders outside the checkout that stages may write.
    pub writable: Vec<PathBuf>,
    /// Folders whose files stages must not read: a server's own.
    pub hidden: Vec<PathBuf>,
    /// Folders inside hidden ones that they may read all the same.
    pub readable: Vec<PathBuf>,
    /// False runs stages without Landlock.
    pub sandbox: bool,
    /// Every stage is confined as one that asks for `sandbox: strict`.
    pub strict: bool,
    /// A program whose `main` begins with [`towpath_sandbox::strict::help`], for strict stages and for limits;
    /// without one such stages are refused.
    pub helper: Option<PathBuf>,
    /// Makes `.dvc` data of the checkout what the commit says; otherwise what is there is used.
    pub exact_data: bool,
    /// Runs every stage, whatever the cache says.
    pub force: bool,
    /// Runs this stage and all that need what it makes, whatever the cache says.
    pub from: Option<String>,
    /// Stages to bring up to date; empty means those of the `dvc.yaml` in the root.
    pub targets: Vec<String>,
    /// What beside them.
    pub reach: Reach,
    /// How many stages run at a time.
    pub jobs: usize,
    /// What a stage that fails means for the others.
    pub on_failure: OnFailure,
    /// Stages that need what a changed one makes run, whatever the cache says.
    pub force_downstream: bool,
    /// Decides about each stage as things are, and does nothing.
    pub dry: bool,
    /// Takes missing data for what is recorded of it.
    pub allow_missing: bool,
    /// Looks for earlier runs of a stage in the run cache.
    pub run_cache: bool,
    /// Records in the run cache what stages gave, for other runs.
    pub recorded: bool,
    /// Puts outputs into the cache.
    pub commit: bool,
    /// Stages that an earlier attempt at this run finished: not forced again.
    pub finished: BTreeMap<String, LockedStage>,
    /// What conditions of stages see as `trigger`.
    pub trigger: serde_json::Value,
    /// Of all its stages, before their own.
    pub priority: i64,
    /// What stages take of the machine is looked at.
    pub measured: bool,
    /// Environment variables of every stage.
    pub variables: Vec<(String, String)>,
    /// Bytes of a stage's log that are kept.
    pub log_limit: u64,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// Which stages a run looks at, beside its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All they need.
    #[default]
    Upstream,
    /// No other.
    Only,
    /// All that need them.
    Downstream,
}

/// What happens after a stage failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// No further stage starts.
    #[default]
    Stop,
    /// Those that do not need it go on.
    KeepGoing,
    /// All go on, and the run succeeds.
    Ignore,
}

impl Request {
    /// With the usual limits: confined, nothing forced, all stages.
    pub fn new(workspace: PathBuf, environments: Environments, logs: PathBuf, scratch: PathBuf) -> Self {
        Self {
            workspace,
            cache: None,
            environments,
            environment_lock: None,
            logs,
            scratch,
            writable: Vec::new(),
            hidden: Vec::new(),
            readable: Vec::new(),
            sandbox: true,
            strict: false,
            helper: None,
            exact_data: false,
            force: false,
            from: None,
            targets: Vec::new(),
            reach: Reach::default(),
            jobs: 1,
            on_failure: OnFailure::default(),
            force_downstream: false,
            dry: false,
            allow_missing: false,
            run_cache: true,
            recorded: true,
            commit: true,
            finished: BTreeMap::new(),
            trigger: serde_json::json!({"kind": "manual", "name": null, "branch": null, "user": null}),
            priority: 0,
            measured: false,
            variables: Vec::new(),
            log_limit: log::DEFAULT_LIMIT,
            grace: Duration::from_secs(10),
        }
    }

    /// The log of a stage.
    pub fn log_of(&self, stage: &str) -> PathBuf {
        self.logs.join(log_name(stage))
    }
}

const PIPELINE_FILE: &str = "dvc.yaml";
const PROJECT_FILE: &str = "towpath.yaml";
const LOCK_FILE: &str = "dvc.lock";

/// The name of a stage's log. Names of generated stages hold whatever their items are.
pub fn log_name(stage: &str) -> String {
    format!("{}.log", paths::file_name(stage))
}

/// A pipeline file of a checkout, its templates resolved with the files beside it. Nothing when there
/// is no such file.
pub fn read_pipeline(repository: &Repository, file: &str) -> Result<Option<Pipeline>, Error> {
    let root = repository.root();
    let Some(text) = read_text(&root.join(file))? else { return Ok(None) };
    let read = |path: &str| match fs::read_to_string(root.join(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    let config = repository.config();
    let arguments = Arguments::of_config(config.get("parsing", "bool"), config.get("parsing", "list"));
    Ok(Some(dvc_yaml::read(file, &text, &Sources { read: &read, arguments })?))
}

/// All pipeline files of a checkout as one pipeline ([`Pipeline::joined`]).
pub fn read_pipelines(repository: &Repository) -> Result<Pipeline, Error> {
    let mut pipelines = Vec::new();
    for file in Repository::pipeline_files(repository.root())? {
        pipelines.extend(read_pipeline(repository, &file)?);
    }
    Ok(Pipeline::joined(PIPELINE_FILE, pipelines))
}

/// What the files of the checkout say, and the tools to act on it.
struct Run<'a> {
    request: &'a Request,
    repository: Repository,
    workspace: Workspace,
    cache: Cache,
    earlier_runs: RunCache,
    pipeline: Pipeline,
    /// Stages that run whatever the cache says.
    forced: BTreeSet<String>,
    project: ProjectFile,
    data: TrackedData,
    journal: &'a dyn Journal,
    executor: &'a dyn Executor,
    cancel: &'a Cancel,
}

/// Makes the run. An error means that it could not be made (a file is wrong, data is missing, the
/// disk is full); a stage or a check that failed is an outcome.
pub fn run(
    request: &Request,
    journal: &dyn Journal,
    executor: &dyn Executor,
    cancel: &Cancel,
) -> Result<Outcome, Error> {
    let repository = Repository::open(&request.workspace)?;
    let root = repository.root().to_owned();
    let pipeline = read_pipelines(&repository)?;
    if request.targets.is_empty() && !root.join(PIPELINE_FILE).exists() {
        return Err(Error::NoPipeline { file: PIPELINE_FILE });
    }
    let project_text = read_text(&root.join(PROJECT_FILE))?.unwrap_or_default();
    let project = towpath_plan::towpath_yaml::read(PROJECT_FILE, &project_text).map_err(towpath_plan::Error::from)?;
    let graph = Graph::of(&pipeline)?.active(&pipeline);
    let order = order(request, &pipeline, &graph)?;
    let forced = match &request.from {
        Some(from) => downstream(&graph, &order, from)?,
        None => BTreeSet::new(),
    };
    let cache = match &request.cache {
        Some(dir) => Cache::open(dir),
        None => repository.cache()?,
    };
    let workspace = repository.workspace()?;
    let data = TrackedData::read(&repository)?;
    let earlier_runs = RunCache::open(&cache);
    let run = Run {
        request,
        repository,
        workspace,
        cache,
        earlier_runs,
        pipeline,
        forced,
        project,
        data,
        journal,
        executor,
        cancel,
    };
    let outcome = run.make(&order);
    // The hashes of what was read are good whatever happened.
    let saved = run.workspace.save();
    let outcome = outcome?;
    saved?;
    Ok(outcome)
}

/// The stages that the request is about, each after those it needs.
fn order(request: &Request, pipeline: &Pipeline, graph: &Graph) -> Result<Vec<Planned>, Error> {
    let of_root = pipeline.stages.iter().filter(|stage| stage.file == PIPELINE_FILE).map(|stage| stage.name.as_str());
    let targets: Vec<&str> = match request.targets.as_slice() {
        [] => of_root.collect(),
        targets => targets.iter().map(String::as_str).collect(),
    };
    let names = match request.reach {
        _ if targets.is_empty() => Vec::new(),
        Reach::Upstream => graph.order_for(&targets)?,
        Reach::Only => graph.only(&targets)?,
        Reach::Downstream => graph.downstream_of(&targets)?,
    };
    let planned = |stage: &str| Planned {
        stage: stage.to_owned(),
        needs: graph.needs(stage).into_iter().map(str::to_owned).collect(),
    };
    Ok(names.into_iter().map(planned).collect())
}

/// A stage and all that need it, out of a run's order.
fn downstream(graph: &Graph, order: &[Planned], from: &str) -> Result<BTreeSet<String>, Error> {
    // The graph says which stages there are, when it is none of them.
    graph.order_for(&[from])?;
    let mut found = BTreeSet::from([from.to_owned()]);
    for planned in order {
        if planned.needs.iter().any(|need| found.contains(need)) {
            found.insert(planned.stage.clone());
        }
    }
    Ok(found)
}

impl Run<'_> {
    fn make(&self, order: &[Planned]) -> Result<Outcome, Error> {
        self.record(Event::Planned { pipeline: &self.pipeline, order })?;
        let stages: Vec<&Stage> = order.iter().filter_map(|p| self.pipeline.stage(&p.stage)).collect();
        let mut checks = Checks::of(self, &stages);
        self.fetch_data(&stages, &checks)?;

        let runner = StageRunner::new(self)?;
        let mut progress = Going {
            run: self,
            stages: &stages,
            schedule: Schedule::of(order),
            forced: stages.iter().map(|stage| self.forced.contains(&stage.name)).collect(),
            outcomes: Vec::new(),
            failed: Vec::new(),
            held: Vec::new(),
            stopped: None,
        };
        if !self.request.dry {
            progress.stopped = checks.run_ready(self, &[])?;
        }
        let jobs = self.request.jobs.max(1);
        thread::scope(|scope| {
            let (finished, results) = mpsc::channel();
            let mut running = 0;
            loop {
                while running < jobs
                    && let Some(at) = progress.next()
                {
                    let (finished, runner, stage, forced) =
                        (finished.clone(), &runner, stages[at], progress.forced[at]);
                    let work = move || {
                        let result = panic::catch_unwind(AssertUnwindSafe(|| runner.bring_up_to_date(stage, forced)));
                        // Nobody listens after an error.
                        let _ = finished.send((at, result));
                    };
                    running += 1;
                    if jobs == 1 {
                        work();
                    } else {
                        scope.spawn(work);
                    }
                }
                if running == 0 {
                    return Ok::<_, Error>(());
                }
                let Ok((at, result)) = results.recv() else { return Ok(()) };
                running -= 1;
                let outcome = result.unwrap_or_else(|panicked| panic::resume_unwind(panicked))?;
                progress.settle(at, outcome, &mut checks)?;
            }
        })?;
        progress.skip_rest()?;
        let Going { outcomes, failed, held, stopped, .. } = progress;
        let stopped = stopped.or_else(|| match failed.as_slice() {
            [] => (!held.is_empty()).then_some(Stop::Waiting),
            [one] => Some(Stop::Failed(one.clone())),
            [first, rest @ ..] => Some(Stop::Failed(format!("{first} (and {} more)", rest.len()))),
        });
        self.outcome(outcomes, checks, runner, stopped)
    }

    fn outcome(
        &self,
        stages: Vec<StageOutcome>,
        checks: Checks<'_>,
        runner: StageRunner<'_>,
        stopped: Option<Stop>,
    ) -> Result<Outcome, Error> {
        let (status, error) = match stopped {
            None => (Status::Succeeded, None),
            Some(Stop::Failed(why)) => (Status::Failed, Some(why)),
            Some(Stop::Cancelled) => (Status::Cancelled, None),
            Some(Stop::Waiting) => (Status::Waiting, None),
        };
        let succeeded = status == Status::Succeeded;
        let content = |path: Option<&str>| match path.filter(|_| succeeded) {
            Some(path) => Ok::<_, Error>(self.workspace.hash(Path::new(path))?.map(|found| found.content)),
            None => Ok(None),
        };
        let model = self.project.model.as_ref();
        Ok(Outcome {
            status,
            metrics: all_metrics(&stages),
            model: content(model.map(|m| m.path.as_str()))?,
            evaluation: content(model.and_then(|m| m.evaluation.as_deref()))?,
            checks: checks.into_outcomes(),
            lock_text: runner.locks.text(LOCK_FILE),
            environment: runner.resolved,
            stages,
            error,
        })
    }

    /// Gets `.dvc` data in place and refuses to start when something is needed that nobody makes.
    fn fetch_data(&self, stages: &[&Stage], checks: &Checks<'_>) -> Result<(), Error> {
        let mut needed: Vec<&str> = stages.iter().flat_map(|s| s.deps.iter().map(|d| d.path.as_str())).collect();
        needed.extend(checks.paths());
        if self.request.dry {
            return Ok(());
        }
        let fetch = |outputs: &[TrackedOutput]| self.journal.fetch(outputs).map_err(Error::Journal);
        match self.data.fetch(&needed, self.request.exact_data, &self.cache, &self.workspace, &fetch) {
            Err(Error::MissingData { .. }) if self.request.allow_missing => {}
            fetched => fetched?,
        }
        if self.request.allow_missing {
            return Ok(());
        }
        for stage in stages {
            for dep in &stage.deps {
                let made = data::maker_of(&self.pipeline, &dep.path).is_some();
                if !made && !self.workspace.root().join(&dep.path).exists() {
                    return Err(Error::MissingDependency {
                        stage: stage.name.clone(),
                        path: dep.path.clone(),
                        tracked: self.data.covers(&dep.path),
                    });
                }
            }
        }
        Ok(())
    }

    fn record(&self, event: Event<'_>) -> Result<(), Error> {
        self.journal.record(event).map_err(Error::Journal)
    }
}

/// How far a run has come.
struct Going<'r> {
    run: &'r Run<'r>,
    /// In order; the others have the same numbers.
    stages: &'r [&'r Stage],
    schedule: Schedule,
    forced: Vec<bool>,
    outcomes: Vec<StageOutcome>,
    /// What failed, while the rest goes on.
    failed: Vec<String>,
    /// Those that wait for an approval.
    held: Vec<usize>,
    stopped: Option<Stop>,
}

impl Going<'_> {
    fn next(&mut self) -> Option<usize> {
        if self.stopped.is_some() { None } else { self.schedule.next() }
    }

    fn settle(&mut self, at: usize, outcome: StageOutcome, checks: &mut Checks<'_>) -> Result<(), Error> {
        if outcome.status == StageStatus::Waiting {
            // It is not over, and what needs it does not begin.
            self.held.push(at);
            return Ok(());
        }
        self.run.record(Event::Finished(&outcome))?;
        let request = self.run.request;
        match outcome.status {
            StageStatus::Failed => {
                let why = outcome.failure.as_ref().map(ToString::to_string).unwrap_or_default();
                let failure = format!("stage '{}' {why}", outcome.stage);
                let declined = outcome.failure == Some(StageFailure::Declined);
                self.outcomes.push(outcome);
                match request.on_failure {
                    OnFailure::KeepGoing if !declined => {
                        for dependent in self.schedule.give_up_after(at) {
                            self.skip(dependent, &format!("not looked at: {failure}"))?;
                        }
                        self.failed.push(failure);
                    }
                    OnFailure::Ignore if !declined => self.schedule.done(at),
                    _ => drop(self.stopped.get_or_insert(Stop::Failed(failure))),
                }
            }
            StageStatus::Cancelled => {
                self.outcomes.push(outcome);
                self.stopped.get_or_insert(Stop::Cancelled);
            }
            StageStatus::Skipped | StageStatus::Waiting => {
                self.outcomes.push(outcome);
                self.schedule.done(at);
            }
            StageStatus::Ran | StageStatus::Reused => {
                let changed = outcome.status == StageStatus::Ran || outcome.restored || self.forced[at];
                if request.force_downstream && changed {
                    for &dependent in self.schedule.needed_by(at) {
                        self.forced[dependent] = true;
                    }
                }
                self.outcomes.push(outcome);
                self.schedule.done(at);
                if !request.dry {
                    let up_to_date = |o: &&StageOutcome| matches!(o.status, StageStatus::Ran | StageStatus::Reused);
                    let done: Vec<&str> =
                        self.outcomes.iter().filter(up_to_date).map(|outcome| outcome.stage.as_str()).collect();
                    if let Some(stop) = checks.run_ready(self.run, &done)? {
                        self.stopped.get_or_insert(stop);
                    }
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, at: usize, why: &str) -> Result<(), Error> {
        let skipped = StageOutcome::new(&self.stages[at].name, StageStatus::Skipped);
        let outcome = StageOutcome { skipped_because: why.to_owned(), ..skipped };
        self.run.record(Event::Finished(&outcome))?;
        self.outcomes.push(outcome);
        Ok(())
    }

    /// What did not start because something stopped the run.
    fn skip_rest(&mut self) -> Result<(), Error> {
        let Some(stop) = self.stopped.as_ref().map(ToString::to_string) else { return Ok(()) };
        let rest: Vec<usize> = self.held.drain(..).chain(self.schedule.rest()).collect();
        rest.into_iter().try_for_each(|at| self.skip(at, &stop))
    }
}

/// Why no further stage runs.
enum Stop {
    Failed(String),
    Cancelled,
    /// For approvals.
    Waiting,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "not looked at: {why}"),
            Self::Cancelled => write!(f, "not looked at: the run was cancelled"),
            Self::Waiting => write!(f, "not looked at: an approval is missing"),
        }
    }
}

fn all_metrics(stages: &[StageOutcome]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for stage in stages {
        for (name, value) in &stage.metrics {
            let taken = all.get(name).is_some_and(|earlier: &f64| earlier.to_bits() != value.to_bits());
            let name = if taken { format!("{}:{name}", stage.stage) } else { name.clone() };
            all.insert(name, *value);
        }
    }
    all
}

pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { action: "read", path: path.to_owned(), source }),
    }
}
