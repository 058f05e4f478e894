//! The commands of a stage as a task: where they run, with which variables, how confined.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::project::{Confinement, Network, SlurmOptions, Undeclared};
use towpath_core::{Digest, UndeclaredInput};
use towpath_observe::Observation;
use towpath_plan::paths;
use towpath_plan::pipeline::Stage;
use towpath_sandbox::Sandbox;

use super::{StageRunner, container, create_folder};
use crate::Error;
use crate::engine::inputs;
use crate::engine::items::Items;
use crate::engine::journal::{Event, Variable};
use crate::engine::outcome::StageFailure;
use crate::executor::{CommandLine, Ending, Finished, Progress, Task};

/// Variables that a stage inherits; all others of the caller stay away from it.
const INHERITED: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "XDG_CACHE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
];

/// The environment of a stage's processes.
struct Variables {
    all: Vec<(String, String)>,
    /// Values that must not be in the log.
    secrets: Vec<String>,
}

/// Where the commands of a stage run.
pub(super) struct Place<'p> {
    /// What they find as the root of the repository: the checkout, or a view of it.
    pub(super) root: &'p Path,
    /// For temporary files; deleted afterwards.
    pub(super) scratch: &'p Path,
    pub(super) log: PathBuf,
    /// Beside those of every stage.
    pub(super) variables: Vec<(String, String)>,
    /// By which a job that was left behind is known.
    pub(super) key: Option<Digest>,
}

/// What running the commands gave.
pub(super) struct Ran {
    pub(super) finished: Finished,
    pub(super) undeclared: Vec<UndeclaredInput>,
    /// How its reading was looked at.
    pub(super) observed: String,
    pub(super) failure: Option<StageFailure>,
    /// Of the items that it was run on one by one.
    pub(super) items: Option<Items>,
}

impl StageRunner<'_> {
    pub(super) fn run_commands(&self, stage: &Stage, key: Option<Digest>) -> Result<Ran, Error> {
        let scratch = self.run.request.scratch.join(paths::file_name(&stage.name));
        create_folder(&scratch)?;
        let log = self.run.request.log_of(&stage.name);
        let root = self.run.workspace.root();
        let place = Place { root, scratch: &scratch, log, variables: Vec::new(), key };
        let mut unrecorded = None;
        let mut progress = |progress| {
            let stage = &stage.name;
            let recorded = match progress {
                Progress::Started(id) => self.run.record(Event::Process { stage, id }),
                Progress::Logged(lines) => self.run.record(Event::Logged { stage, lines }),
                Progress::WaitsFor(resource) => self.run.record(Event::WaitsFor { stage, resource }),
                Progress::Runs => self.run.record(Event::Runs { stage }),
                Progress::Used(sample) => self.run.record(Event::Used { stage, sample: &sample }),
            };
            if let Err(error) = recorded {
                unrecorded.get_or_insert(error);
            }
        };
        let ran = match self.given(stage)? {
            Ok(given) => self.run_at(stage, &place, &given, &mut progress),
            Err(problem) => Ok(denied(problem)),
        };
        // What is left of it is a later run's problem at most: names of folders are stable.
        drop(fs::remove_dir_all(&scratch));
        unrecorded.map_or(ran, Err)
    }

    /// Secrets and the variables of the journal; the inner error, for people, fails the stage.
    pub(super) fn given(&self, stage: &Stage) -> Result<Result<Vec<Variable>, String>, Error> {
        let mut given = match self.policy(stage).map(|policy| self.run.journal.secrets(stage, policy)) {
            None => Vec::new(),
            Some(Ok(given)) => given,
            Some(Err(problem)) => return Ok(Err(problem.to_string())),
        };
        given.extend(self.run.journal.stage_variables(stage).map_err(Error::Journal)?);
        Ok(Ok(given))
    }

    pub(super) fn run_at(
        &self,
        stage: &Stage,
        place: &Place<'_>,
        given: &[Variable],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Ran, Error> {
        let request = self.run.request;
        let image = self.image_of(stage);
        let slurm = self.slurm_of(stage);
        if slurm.is_some()
            && let Some(problem) = self.not_in_slurm(stage)
        {
            return Ok(denied(problem.to_owned()));
        }
        let confined = match image {
            _ if slurm.is_some() => Ok((Sandbox::off(), None)),
            Some(image) => self.container(stage, place, image).map(|container| (Sandbox::off(), Some(container))),
            None => self.sandbox(stage, place).map(|sandbox| (sandbox, None)),
        };
        let (sandbox, container) = match confined {
            Ok(confined) => confined,
            Err(problem) => return Ok(denied(problem)),
        };
        let Variables { all: variables, secrets } = self.variables(stage, place, given);
        let task = Task {
            commands: stage.commands.iter().map(|line| CommandLine::Shell(line.clone())).collect(),
            // Collected, because joining an empty `wdir` ends in a slash, which `pwd` of a shell repeats.
            directory: place.root.join(&stage.wdir).components().collect(),
            variables,
            sandbox,
            container,
            slurm: slurm.cloned(),
            key: place.key.clone(),
            timeout: self.timeout(stage),
            grace: request.grace,
            log: place.log.clone(),
            log_limit: request.log_limit,
            secrets,
            resources: self.resources(stage),
            priority: request.priority.saturating_add(self.policy(stage).map_or(0, |policy| policy.priority)),
            queue: self.queue(stage),
            heartbeat: self.heartbeat(stage),
            measured: request.measured,
            observed: image.is_none() && slurm.is_none() && self.undeclared(stage) != Undeclared::Allow,
        };
        let finished = self.run.executor.run(&task, progress, self.run.cancel)?;
        let seen = finished.observation.as_ref();
        let undeclared = seen.map(|seen| self.undeclared_inputs(stage, &task, place, seen)).unwrap_or_default();
        let observed = match image {
            _ if self.undeclared(stage) == Undeclared::Allow => String::new(),
            _ if slurm.is_some() => "none: it runs in Slurm".to_owned(),
            Some(_) => "none: it runs in a container".to_owned(),
            None => seen.map(summary).unwrap_or_default(),
        };
        let failure = self.failure(stage, &finished);
        Ok(Ran { finished, undeclared, observed, failure, items: None })
    }

    pub(super) fn slurm_of(&self, stage: &Stage) -> Option<&SlurmOptions> {
        self.policy(stage).and_then(|policy| policy.slurm.as_ref())
    }

    /// Jobs run as the cluster has them: nothing of what this machine can do to processes is done to them.
    fn not_in_slurm(&self, stage: &Stage) -> Option<&'static str> {
        if self.run.request.strict || *self.confinement(stage) != Confinement::Default {
            return Some("asks for Slurm and for a sandbox, and jobs of Slurm have none");
        }
        let limits = self.policy(stage).is_some_and(|policy| !policy.limits.is_none());
        limits.then_some("asks for Slurm and for limits: let options of sbatch set them")
    }

    /// The inner error, for people, fails the stage.
    fn sandbox(&self, stage: &Stage, place: &Place<'_>) -> Result<Sandbox, String> {
        let request = self.run.request;
        let limits = self.policy(stage).map(|policy| policy.limits.clone()).unwrap_or_default();
        let strict = request.strict || *self.confinement(stage) == Confinement::Strict;
        let sandbox = if request.sandbox || strict {
            let own = [place.root.to_owned(), place.scratch.to_owned()];
            let mut readable = request.readable.clone();
            readable.push(self.run.workspace.root().to_owned());
            Sandbox::new(own.into_iter().chain(request.writable.iter().cloned())).hiding(&request.hidden, &readable)
        } else {
            Sandbox::off()
        };
        match &request.helper {
            Some(helper) if strict => Ok(sandbox.strict(helper.clone()).limited(limits, helper.clone())),
            Some(helper) => Ok(sandbox.limited(limits, helper.clone())),
            None if strict => Err("asks for the strict sandbox, which is not to be had here".to_owned()),
            None if !limits.is_none() => Err("asks for limits, which are not to be had here".to_owned()),
            None => Ok(sandbox),
        }
    }

    /// Why the commands failed, if they did. Cancelling is no failure.
    fn failure(&self, stage: &Stage, finished: &Finished) -> Option<StageFailure> {
        match finished.ending {
            Ending::Exited(0) | Ending::Cancelled => None,
            Ending::Exited(code) => Some(StageFailure::Exited(code)),
            Ending::Signalled(signal) => Some(StageFailure::Signalled(signal)),
            Ending::TimedOut => Some(StageFailure::TimedOut(self.timeout(stage).unwrap_or_default())),
            Ending::Silent => Some(StageFailure::Silent(self.heartbeat(stage).unwrap_or_default())),
            Ending::OutOfMemory => Some(StageFailure::OutOfMemory(self.resources(stage).memory.unwrap_or(0))),
            Ending::QueuedTooLong => Some(StageFailure::QueuedTooLong(self.queue(stage).unwrap_or_default())),
            Ending::NotGranted => Some(StageFailure::NotGranted(finished.denied.clone())),
        }
    }

    fn undeclared_inputs(
        &self,
        stage: &Stage,
        task: &Task,
        place: &Place<'_>,
        seen: &Observation,
    ) -> Vec<UndeclaredInput> {
        let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (root, scratch) = (canonical(self.run.workspace.root()), canonical(place.scratch));
        let view = canonical(place.root);
        let place = inputs::Place { root: &root, scratch: &scratch, variables: &task.variables };
        if view == root {
            return inputs::undeclared(stage, &place, seen);
        }
        // A view consists of links into the checkout, and of what belongs to it alone.
        let mut seen = seen.clone();
        for (path, opened) in std::mem::take(&mut seen.files) {
            match path.strip_prefix(&view).map(|_| canonical(&path)) {
                Err(_) => drop(seen.files.insert(path, opened)),
                Ok(real) if real.starts_with(&root) && !real.starts_with(&view) => {
                    drop(seen.files.insert(real, opened));
                }
                Ok(_) => {}
            }
        }
        inputs::undeclared(stage, &place, &seen)
    }

    fn variables(&self, stage: &Stage, place: &Place<'_>, given: &[Variable]) -> Variables {
        let image = self.image_of(stage);
        let names: Vec<&str> = match image {
            None => INHERITED.to_vec(),
            Some(image) if image.network == Network::None => container::INHERITED.to_vec(),
            Some(_) => [&container::INHERITED[..], &container::OF_NETWORK].concat(),
        };
        let inherited = names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let mut variables: BTreeMap<String, String> = inherited.collect();
        variables.insert("TMPDIR".into(), place.scratch.display().to_string());
        // Otherwise the log of a Python stage comes in blocks of 8 KiB.
        variables.insert("PYTHONUNBUFFERED".into(), "1".into());
        let environment = self.environment.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(environment) = environment.as_ref().filter(|_| image.is_none()) {
            let bin = environment.path.join("bin");
            let path = variables.remove("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
            variables.insert("PATH".into(), format!("{}:{path}", bin.display()));
            variables.insert("VIRTUAL_ENV".into(), environment.path.display().to_string());
        }
        variables.extend(self.run.request.variables.iter().cloned());
        let mut secrets = Vec::new();
        for variable in given {
            if variable.secret {
                secrets.push(variable.value.clone());
            }
            variables.insert(variable.name.clone(), variable.value.clone());
        }
        variables.insert("DVC_ROOT".into(), place.root.display().to_string());
        variables.insert("DVC_STAGE".into(), stage.name.clone());
        variables.extend(place.variables.iter().cloned());
        Variables { all: variables.into_iter().collect(), secrets }
    }
}

pub(super) fn denied(problem: String) -> Ran {
    let finished = Finished::without_running(Ending::NotGranted, problem.clone());
    Ran {
        finished,
        undeclared: Vec::new(),
        observed: String::new(),
        failure: Some(StageFailure::NotGranted(problem)),
        items: None,
    }
}

/// How the reading of a stage was looked at.
fn summary(seen: &Observation) -> String {
    match &seen.failed {
        Some(why) => format!("none: {why}"),
        None if seen.incomplete => format!("the first {} files", seen.files.len() + seen.of_the_system),
        None => format!("{} files", seen.files.len() + seen.of_the_system),
    }
}
