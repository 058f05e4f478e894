//! A leaf: a container component as a process, or an importer.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use towpath_pipeline::engine::log_name;
use towpath_pipeline::executor::{CommandLine, Progress};
use towpath_pipeline::{Ending, Sandbox, Task as Process, Variable};
use towpath_plan::frontend::kfp::{
    Artifact, ArtifactType, Component, Container, Executor, ExecutorInput, Importer, Retry, Task, fill, fill_words,
    from_text, typed,
};
use towpath_plan::paths::file_name;

use crate::dag::{Ended, Inputs, Location, Outputs, State};
use crate::environment::{Place, Prepared, confined, search_path};
use crate::results::{self, Kept};
use crate::{Error, Event, Finished, Runner, Status, io_error};

/// Bytes of an output parameter, or of what a component says that it made.
const LARGEST: u64 = 32 << 20;

/// Variables that a component inherits.
const INHERITED: [&str; 10] = [
    "USER",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "LD_LIBRARY_PATH",
];

/// How one attempt ended.
struct Attempt {
    /// Why it failed, unless it went well or was cancelled.
    failure: Option<String>,
    exit_code: Option<i32>,
    kept: Kept,
    cancelled: bool,
}

/// The folders of a task.
struct Folders {
    outputs: PathBuf,
    scratch: PathBuf,
}

impl Runner<'_> {
    pub(crate) fn component(
        &self,
        task: &Task,
        component: &Component,
        executor: &str,
        inputs: &Inputs,
        place: Location<'_>,
    ) -> Result<Ended, Error> {
        self.record(Event::Queued { task: place.path, needs: place.after })?;
        match &self.pipeline.executors[executor] {
            Executor::Importer(importer) => self.import(importer, component, inputs, place),
            Executor::Container(container) => {
                let _slot = self.slots.take();
                self.container(task, component, executor, container, inputs, place)
            }
        }
    }

    fn import(
        &self,
        importer: &Importer,
        component: &Component,
        inputs: &Inputs,
        place: Location<'_>,
    ) -> Result<Ended, Error> {
        let path = place.path;
        let input = ExecutorInput { parameters: inputs.parameters.clone(), ..ExecutorInput::default() };
        let uri = match &importer.uri {
            Ok(constant) => Some(constant.clone()),
            Err(name) => inputs.parameters.get(name).and_then(Value::as_str).map(str::to_owned),
        };
        let metadata = filled(&importer.metadata, &|text| fill(text, &input, &self.names(path)));
        let (uri, metadata) = match (uri, metadata) {
            (Some(uri), Ok(metadata)) => (uri, metadata),
            (None, _) => return self.without_running(place, Status::Failed, "nothing gave its address".to_owned()),
            (_, Err(error)) => return self.without_running(place, Status::Failed, error),
        };
        let name = component.output_artifacts.keys().next().map_or("artifact", String::as_str);
        let artifact = Artifact {
            name: name.to_owned(),
            kind: ArtifactType { schema_title: importer.schema.clone(), schema_version: importer.version.clone() },
            uri,
            metadata: metadata.as_object().cloned().unwrap_or_default(),
        };
        let artifacts = BTreeMap::from([(name.to_owned(), vec![artifact])]);
        let finished = Finished { artifacts: artifacts.clone(), ..Finished::new(path, Status::Succeeded) };
        self.record(Event::Finished(&finished))?;
        Ok(Ended::well(Outputs { artifacts, ..Outputs::default() }))
    }

    fn container(
        &self,
        task: &Task,
        component: &Component,
        executor: &str,
        container: &Container,
        inputs: &Inputs,
        place: Location<'_>,
    ) -> Result<Ended, Error> {
        let path = place.path;
        let own = self.result_of(path);
        if let Some(kept) = results::load(&own) {
            return self.reused(path, "it had ended in an earlier attempt at this run", kept);
        }
        let cancelled = || self.without_running(place, Status::Cancelled, "the run was cancelled".to_owned());
        if self.cancel.is_cancelled() {
            return cancelled();
        }
        let prepared = match self.prepare(executor, container) {
            Ok(prepared) => prepared,
            Err(_) if self.cancel.is_cancelled() => return cancelled(),
            Err(error) => return self.without_running(place, Status::Failed, error),
        };
        let key = self.key(component, container, &prepared, inputs)?;
        let by_content = self.result_by_content(&key).filter(|_| task.cached);
        if let Some(kept) = by_content.as_deref().and_then(results::load) {
            results::save(&own, &kept)?;
            return self.reused(path, "the same component ran on the same content before", kept);
        }
        let why = if task.cached { "no result of it on this content is kept" } else { "its results are not reused" };
        let command = prepared.command.join(" ");
        self.record(Event::Started { task: path, command: &command, why, parameters: &inputs.parameters })?;
        let mut tries = 1;
        let attempt = loop {
            let attempt = self.attempt(component, container, &prepared, inputs, path)?;
            let Some(failure) = attempt.failure.as_ref().filter(|_| tries <= task.retry.times) else { break attempt };
            let wait = backoff(&task.retry, tries);
            tries += 1;
            self.record(Event::Retrying { task: path, attempt: tries, failure, wait })?;
            if self.cancel.wait(wait) {
                break Attempt { cancelled: true, ..attempt };
            }
        };
        let status = match (&attempt.failure, attempt.cancelled) {
            (_, true) => Status::Cancelled,
            (Some(_), _) => Status::Failed,
            (None, _) => Status::Succeeded,
        };
        let Attempt { failure, exit_code, kept, .. } = attempt;
        if status == Status::Succeeded {
            results::save(&own, &kept)?;
            if let Some(by_content) = by_content {
                results::save(&by_content, &kept)?;
            }
        }
        self.record(Event::Finished(&finished(path, status, failure.clone(), exit_code, &kept)))?;
        Ok(match status {
            Status::Succeeded => Ended::well(kept.outputs),
            Status::Cancelled => Ended::badly(State::Cancelled, format!("{path}: the run was cancelled")),
            _ => Ended::badly(State::Failed, format!("{path}: {}", failure.unwrap_or_default())),
        })
    }

    fn reused(&self, path: &str, why: &str, kept: Kept) -> Result<Ended, Error> {
        let finished = finished(path, Status::Reused, Some(why.to_owned()), None, &kept);
        self.record(Event::Finished(&finished))?;
        Ok(Ended::well(kept.outputs))
    }

    /// One process. Its outputs are whole, or it failed.
    fn attempt(
        &self,
        component: &Component,
        container: &Container,
        prepared: &Prepared,
        inputs: &Inputs,
        path: &str,
    ) -> Result<Attempt, Error> {
        let folders = self.folders(path)?;
        let input = told(component, inputs, &folders)?;
        let failed = |failure: String| Attempt {
            failure: Some(failure),
            exit_code: None,
            kept: Kept { outputs: Outputs::default(), metrics: BTreeMap::new(), log_lines: 0, sandbox: String::new() },
            cancelled: false,
        };
        let process = match self.process(container, prepared, &input, &folders, path)? {
            Ok(process) => process,
            Err(failure) => return Ok(failed(failure)),
        };
        let mut untold = None;
        let mut progress = |progress: Progress| {
            let event = match &progress {
                Progress::Started(id) => Event::Process { task: path, id: *id },
                Progress::Logged(lines) => Event::Logged { task: path, lines: *lines },
                Progress::WaitsFor(resource) => Event::WaitsFor { task: path, resource },
                Progress::Used(sample) => Event::Used { task: path, sample },
                Progress::Runs => return,
            };
            if let Err(error) = self.record(event) {
                untold.get_or_insert(error);
                self.cancel.cancel();
            }
        };
        let ran = self.executor.run(&process, &mut progress, self.cancel);
        if let Some(error) = untold {
            return Err(error);
        }
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => return Ok(failed(error.to_string())),
        };
        let (failure, exit_code) = match ran.ending {
            Ending::Exited(0) => (None, Some(0)),
            Ending::Exited(code) => (Some(format!("it exited with {code}")), Some(code)),
            Ending::Signalled(signal) => (Some(format!("it was killed by signal {signal}")), None),
            Ending::TimedOut => (Some("it took too long".to_owned()), None),
            Ending::OutOfMemory => (Some("it took more memory than it may".to_owned()), None),
            Ending::Silent | Ending::QueuedTooLong | Ending::NotGranted => (Some(ran.denied.clone()), None),
            Ending::Cancelled => (None, None),
        };
        let cancelled = ran.ending == Ending::Cancelled;
        let (outputs, failure) = match failure {
            None if !cancelled => match gathered(component, &input) {
                Ok(outputs) => (outputs, None),
                Err(error) => (Outputs::default(), Some(error)),
            },
            failure => (Outputs::default(), failure),
        };
        let metrics = metrics_of(&outputs);
        let kept = Kept { outputs, metrics, log_lines: ran.log_lines, sandbox: ran.sandbox };
        Ok(Attempt { failure, exit_code, kept, cancelled })
    }

    /// Empty ones: nothing of an earlier attempt is left.
    fn folders(&self, path: &str) -> Result<Folders, Error> {
        let folder = self.request.dir.join("tasks").join(file_name(path));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(io_error("empty", &folder))?;
        }
        let folders = Folders { outputs: folder.join("outputs"), scratch: folder.join("scratch") };
        for folder in [&folders.outputs, &folders.scratch] {
            fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        }
        Ok(folders)
    }

    /// Artifacts of other runs that the task is given.
    fn shared(&self, input: &ExecutorInput) -> Vec<PathBuf> {
        let Some(runs) = &self.request.runs else { return Vec::new() };
        let places = input.artifacts.values().flatten().filter_map(|artifact| fs::canonicalize(&artifact.uri).ok());
        places.filter(|place| place.strip_prefix(runs).is_ok_and(is_made_by_a_task)).collect()
    }

    /// The artifacts that a container gets; none of what is hidden from tasks.
    fn mountable(&self, input: &ExecutorInput) -> Vec<PathBuf> {
        let places = input.artifacts.values().flatten().filter_map(|artifact| fs::canonicalize(&artifact.uri).ok());
        let hidden = |place: &PathBuf| self.request.hidden.iter().any(|hidden| place.starts_with(hidden));
        places.filter(|place| !hidden(place)).chain(self.shared(input)).collect()
    }

    /// The process of an attempt; the inner error fails the task.
    fn process(
        &self,
        container: &Container,
        prepared: &Prepared,
        input: &ExecutorInput,
        folders: &Folders,
        path: &str,
    ) -> Result<Result<Process, String>, Error> {
        let names = self.names(path);
        let words = fill_words(&prepared.command, input, &names)
            .and_then(|command| Ok((command, fill_words(&container.args, input, &names)?)));
        let (command, arguments) = match words {
            Ok(words) => words,
            Err(error) => return Ok(Err(format!("its command: {error}"))),
        };
        let scratch = folders.scratch.display().to_string();
        let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let mut variables = BTreeMap::new();
        if let Place::Environment(environment) = &prepared.place {
            variables.extend(inherited);
            variables.insert("HOME".into(), scratch.clone());
            variables.insert("VIRTUAL_ENV".into(), environment.display().to_string());
        }
        variables.insert("TMPDIR".into(), scratch);
        variables.insert("PYTHONUNBUFFERED".into(), "1".into());
        for (name, value) in &container.variables {
            match fill(value, input, &names) {
                Ok(value) => drop(variables.insert(name.clone(), value)),
                Err(error) => return Ok(Err(format!("its variable {name}: {error}"))),
            }
        }
        let mut given = self.watch.variables(path).map_err(Error::Watch)?;
        for secret in &container.secrets {
            match self.watch.secret(secret).map_err(Error::Watch)? {
                Ok(value) => given.push(Variable::secret(&secret.variable, value)),
                Err(_) if secret.optional => {}
                Err(why) => return Ok(Err(why)),
            }
        }
        let mut secrets = Vec::new();
        for variable in given {
            secrets.extend(variable.secret.then(|| variable.value.clone()));
            variables.insert(variable.name, variable.value);
        }
        let log = self.request.dir.join("logs").join(log_name(path));
        if let Place::Environment(environment) = &prepared.place {
            variables.insert("PATH".into(), search_path(environment));
        }
        let tasks = self.request.dir.join("tasks");
        let process = Process {
            variables: variables.into_iter().collect(),
            secrets,
            measured: self.request.measured,
            priority: self.request.priority,
            ..Process::new(Vec::new(), folders.scratch.clone(), log)
        };
        let words = |command: Vec<String>| command.into_iter().chain(arguments.clone()).collect::<Vec<_>>();
        Ok(match &prepared.place {
            Place::Environment(_) if command.is_empty() && arguments.is_empty() => {
                Err("it has no command, and that of the image is not known here".to_owned())
            }
            Place::Environment(_) => {
                let readable = self.request.readable.iter().cloned().chain([tasks]).chain(self.shared(input));
                let readable: Vec<PathBuf> = readable.collect();
                let sandbox = Sandbox::new([folders.outputs.clone(), folders.scratch.clone()])
                    .hiding(&self.request.hidden, &readable);
                Ok(Process { commands: vec![CommandLine::Program(words(command))], sandbox, ..process })
            }
            Place::Image(id) => {
                let artifacts = self.mountable(input);
                let inputs: Vec<&Path> = artifacts.iter().map(PathBuf::as_path).chain([tasks.as_path()]).collect();
                let confined = confined(id, &container.image, &[&folders.outputs, &folders.scratch], &inputs);
                let line = if command.is_empty() {
                    CommandLine::Arguments(arguments)
                } else {
                    CommandLine::Program(words(command))
                };
                Ok(Process { commands: vec![line], container: Some(confined), ..process })
            }
        })
    }
}

fn finished(path: &str, status: Status, reason: Option<String>, exit_code: Option<i32>, kept: &Kept) -> Finished {
    Finished {
        reason,
        exit_code,
        outputs: kept.outputs.parameters.clone(),
        artifacts: kept.outputs.artifacts.clone(),
        metrics: kept.metrics.clone(),
        log_lines: kept.log_lines,
        sandbox: kept.sandbox.clone(),
        ..Finished::new(path, status)
    }
}

/// `<project>/<run>/tasks/...`, below the folder of all runs: logs and checkouts beside it are not for tasks.
fn is_made_by_a_task(path: &Path) -> bool {
    path.components().nth(2).is_some_and(|folder| folder.as_os_str() == "tasks") && path.components().count() > 3
}

fn backoff(retry: &Retry, tries: u32) -> Duration {
    let exponent = i32::try_from(tries - 1).unwrap_or(i32::MAX);
    let seconds = (retry.wait * retry.factor.max(1.0).powi(exponent)).min(retry.longest);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The component's inputs, and a place for each output. Folders of the places are made: a component that is no
/// Python function expects them.
fn told(component: &Component, inputs: &Inputs, folders: &Folders) -> Result<ExecutorInput, Error> {
    let place = |kind: &str, name: &str| folders.outputs.join(kind).join(file_name(name));
    for kind in ["parameters", "artifacts"] {
        let folder = folders.outputs.join(kind);
        fs::create_dir_all(&folder).map_err(io_error("make", &folder))?;
    }
    let output_artifacts = component.output_artifacts.iter().map(|(name, declared)| {
        let artifact = Artifact {
            name: name.clone(),
            kind: ArtifactType { schema_title: declared.schema.clone(), schema_version: declared.version.clone() },
            uri: place("artifacts", name).display().to_string(),
            metadata: Map::new(),
        };
        (name.clone(), artifact)
    });
    Ok(ExecutorInput {
        parameters: inputs.parameters.clone(),
        artifacts: inputs.artifacts.clone(),
        output_files: component
            .outputs
            .keys()
            .map(|name| (name.clone(), place("parameters", name).display().to_string()))
            .collect(),
        output_artifacts: output_artifacts.collect(),
        output_file: folders.outputs.join("executor_output.json").display().to_string(),
    })
}

/// What the component says that it made, and the files that it wrote.
fn gathered(component: &Component, input: &ExecutorInput) -> Result<Outputs, String> {
    let said: Value = match read(&input.output_file)? {
        Some(text) => {
            serde_json::from_str(&text).map_err(|error| format!("what it says that it made is no JSON: {error}"))?
        }
        None => Value::Null,
    };
    let mut outputs = Outputs::default();
    for (name, kind) in &component.outputs {
        let value = match &said["parameterValues"][name] {
            Value::Null => match input.output_files.get(name).map(|file| read(file)).transpose()?.flatten() {
                Some(text) => {
                    let wrong =
                        || format!("its output '{name}' is of another type than the pipeline says: {text:.100}");
                    Some(from_text(&text, *kind).ok_or_else(wrong)?)
                }
                None => None,
            },
            value => Some(typed(value, *kind).map_err(|error| format!("its output '{name}' {error}"))?),
        };
        outputs.parameters.extend(value.map(|value| (name.clone(), value)));
    }
    for (name, artifact) in &input.output_artifacts {
        let mut artifact = artifact.clone();
        let said = &said["artifacts"][name]["artifacts"][0];
        if let Some(uri) = said["uri"].as_str().filter(|uri| !uri.is_empty()) {
            uri.clone_into(&mut artifact.uri);
        }
        if let Some(metadata) = said["metadata"].as_object() {
            artifact.metadata.clone_from(metadata);
        }
        let place = Path::new(&artifact.uri);
        // One that only has metadata, such as metrics, is there all the same.
        if place.is_absolute() && !place.exists() {
            fs::write(place, "").map_err(|error| format!("its output '{name}' cannot be kept: {error}"))?;
        }
        outputs.artifacts.insert(name.clone(), vec![artifact]);
    }
    Ok(outputs)
}

fn read(path: &str) -> Result<Option<String>, String> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("its output {path} cannot be read: {error}")),
    };
    let mut text = String::new();
    let length = file.take(LARGEST + 1).read_to_string(&mut text);
    match length {
        Ok(length) if length as u64 <= LARGEST => Ok(Some(text)),
        Ok(_) => Err(format!("its output {path} is larger than {} MiB", LARGEST >> 20)),
        Err(error) => Err(format!("its output {path} cannot be read: {error}")),
    }
}

/// Numbers of metrics artifacts.
fn metrics_of(outputs: &Outputs) -> BTreeMap<String, f64> {
    let metrics =
        outputs.artifacts.values().flatten().filter(|artifact| artifact.kind.schema_title == "system.Metrics");
    let numbers = metrics.flat_map(|artifact| &artifact.metadata);
    numbers.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

/// Every text in it filled.
fn filled(value: &Value, fill: &dyn Fn(&str) -> Result<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(fill(text)?),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| Ok((fill(key)?, filled(value, fill)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, String>>()?)
        }
        other => other.clone(),
    })
}
