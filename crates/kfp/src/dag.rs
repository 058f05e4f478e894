//! A DAG: its tasks begin as what they need ends.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use towpath_plan::frontend::kfp::{
    Artifact, ArtifactSource, Body, Component, Dag, ExecutorInput, Items, Loop, Names, ParameterSource, Selector, Task,
    condition_holds, fill, selected, typed,
};

use crate::{Error, Event, Finished, Runner, Status};

/// Iterations of a loop under way, when the pipeline sets no limit.
const ITERATIONS: usize = 64;

/// Tasks that one is shown to come after: a loop of thousands is shown by its first ones.
const SHOWN_BEFORE: usize = 100;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Inputs {
    pub(crate) parameters: BTreeMap<String, Value>,
    pub(crate) artifacts: BTreeMap<String, Vec<Artifact>>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Outputs {
    pub(crate) parameters: BTreeMap<String, Value>,
    pub(crate) artifacts: BTreeMap<String, Vec<Artifact>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Succeeded,
    Skipped,
    Failed,
    Cancelled,
}

/// How a task, or a DAG of them, ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) state: State,
    pub(crate) outputs: Outputs,
    pub(crate) error: Option<String>,
    /// The tasks that it ended with: whoever needs it comes after them.
    pub(crate) last: Vec<String>,
}

impl Ended {
    pub(crate) fn well(outputs: Outputs) -> Self {
        Self { state: State::Succeeded, outputs, error: None, last: Vec::new() }
    }

    pub(crate) fn badly(state: State, error: String) -> Self {
        Self { state, outputs: Outputs::default(), error: Some(error), last: Vec::new() }
    }

    fn at(self, path: &str) -> Self {
        Self { last: vec![path.to_owned()], ..self }
    }
}

/// Where a task is: its path, and the tasks that it comes after. Loops and nested pipelines are no tasks of
/// their own there: what is in them is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location<'a> {
    pub(crate) path: &'a str,
    pub(crate) after: &'a [String],
}

/// A task whose inputs are there, or why it does not run.
enum Ready {
    Runs(Inputs),
    Skipped(String),
    Failed(String),
}

impl Runner<'_> {
    /// Every task once. The path ends with `/` unless it is empty.
    pub(crate) fn dag(&self, dag: &Dag, scope: &Inputs, place: Location<'_>) -> Result<Ended, Error> {
        let mut open: BTreeSet<&str> = dag.tasks.keys().map(String::as_str).collect();
        let mut ended: BTreeMap<&str, Ended> = BTreeMap::new();
        let mut running = 0_usize;
        let mut broken = None;
        let (send, receive) = mpsc::channel();
        thread::scope(|threads| {
            loop {
                let due = |name: &&str| dag.tasks[*name].needs.iter().all(|need| ended.contains_key(need.as_str()));
                let due: Vec<&str> = open.iter().copied().filter(due).collect();
                for name in due {
                    open.remove(name);
                    let task = &dag.tasks[name];
                    let ready = self.ready(task, scope, &ended, name);
                    let (send, path) = (send.clone(), format!("{}{name}", place.path));
                    let after = before(task, &ended, place.after);
                    running += 1;
                    threads.spawn(move || {
                        let place = Location { path: &path, after: &after };
                        let result = panic::catch_unwind(AssertUnwindSafe(|| self.task(task, ready, place)));
                        // The receiver waits for all of them.
                        let _ = send.send((name, result));
                    });
                }
                if running == 0 {
                    break;
                }
                let Ok((name, result)) = receive.recv() else { break };
                running -= 1;
                match result.unwrap_or_else(|panicked| panic::resume_unwind(panicked)) {
                    Ok(end) => drop(ended.insert(name, end)),
                    Err(error) => {
                        // Nothing new begins, and what runs is stopped.
                        self.cancel.cancel();
                        open.clear();
                        broken = Some(error);
                    }
                }
            }
        });
        broken.map_or_else(|| Ok(whole(dag, &ended, place.after)), Err)
    }

    /// The inputs of a task, out of what is around it and what has ended.
    fn ready(&self, task: &Task, scope: &Inputs, ended: &BTreeMap<&str, Ended>, name: &str) -> Ready {
        if !task.whatever_happened {
            let stopped = task.needs.iter().find(|need| ended[need.as_str()].state != State::Succeeded);
            if let Some(need) = stopped {
                let how = match ended[need.as_str()].state {
                    State::Skipped => "was skipped",
                    State::Cancelled => "was cancelled",
                    _ => "failed",
                };
                return Ready::Skipped(format!("'{need}', which it needs, {how}"));
            }
        }
        let component = &self.pipeline.components[&task.component];
        match self.inputs(task, component, scope, ended, name) {
            Ok(inputs) => Ready::Runs(inputs),
            Err(error) => Ready::Failed(error),
        }
    }

    fn inputs(
        &self,
        task: &Task,
        component: &Component,
        scope: &Inputs,
        ended: &BTreeMap<&str, Ended>,
        name: &str,
    ) -> Result<Inputs, String> {
        let mut inputs = Inputs::default();
        let select = |selector: &Option<String>, value: &Value| match selector {
            Some(selector) => selected(selector, value),
            None => Ok(value.clone()),
        };
        let mut texts = Vec::new();
        for (key, source) in &task.inputs {
            let value = match source {
                ParameterSource::Constant(Value::String(text)) if text.contains("{{$") => {
                    texts.push((key, text));
                    None
                }
                ParameterSource::Constant(value) => Some(value.clone()),
                ParameterSource::Component { name, selector } => {
                    scope.parameters.get(name).map(|value| select(selector, value)).transpose()?
                }
                ParameterSource::Output { from, selector } => {
                    let value = ended[from.task.as_str()].outputs.parameters.get(&from.key);
                    value.map(|value| select(selector, value)).transpose()?
                }
                ParameterSource::FinalStatus { task } => Some(self.final_status(task, &ended[task.as_str()])),
            };
            inputs.parameters.extend(value.map(|value| (key.clone(), value)));
        }
        for (key, source) in &task.artifacts {
            let artifacts = match source {
                ArtifactSource::Component(name) => scope.artifacts.get(name),
                ArtifactSource::Output(from) => ended[from.task.as_str()].outputs.artifacts.get(&from.key),
            };
            inputs.artifacts.extend(artifacts.map(|artifacts| (key.clone(), artifacts.clone())));
        }
        // A task may name inputs of its own in the text of another.
        let known = ExecutorInput {
            parameters: inputs.parameters.clone(),
            artifacts: inputs.artifacts.clone(),
            ..ExecutorInput::default()
        };
        for (key, text) in texts {
            inputs.parameters.insert(key.clone(), Value::String(fill(text, &known, &self.names(name))?));
        }
        complete(&mut inputs, component, task.each.as_ref())?;
        Ok(inputs)
    }

    pub(crate) fn names(&self, task: &str) -> Names {
        Names {
            job: self.request.name.clone(),
            job_id: self.request.id.clone(),
            task: task.rsplit('/').next().unwrap_or(task).to_owned(),
            task_id: format!("{}/{task}", self.request.id),
            root: self.request.dir.join("tasks").display().to_string(),
        }
    }

    /// As the SDK reads it.
    fn final_status(&self, task: &str, ended: &Ended) -> Value {
        let state = match ended.state {
            State::Succeeded => "SUCCEEDED",
            State::Failed => "FAILED",
            State::Skipped => "SKIPPED",
            State::Cancelled => "CANCELLED",
        };
        let mut status = json!({
            "state": state, "pipelineJobResourceName": self.request.name, "pipelineTaskName": task,
        });
        if let Some(error) = &ended.error {
            status["error"] = json!({"message": error, "code": 9});
        }
        status
    }

    /// One task with its iterations.
    fn task(&self, task: &Task, ready: Ready, place: Location<'_>) -> Result<Ended, Error> {
        let inputs = match ready {
            Ready::Runs(inputs) => inputs,
            Ready::Skipped(why) => return self.without_running(place, Status::Skipped, why),
            Ready::Failed(why) => return self.without_running(place, Status::Failed, why),
        };
        if self.cancel.is_cancelled() {
            return self.without_running(place, Status::Cancelled, "the run was cancelled".to_owned());
        }
        match task.condition.as_ref().map(|condition| (condition, condition_holds(condition, &inputs.parameters))) {
            None | Some((_, Ok(true))) => {}
            Some((condition, Ok(false))) => {
                return self.without_running(place, Status::Skipped, format!("{condition} does not hold"));
            }
            Some((_, Err(error))) => return self.without_running(place, Status::Failed, error),
        }
        match &task.each {
            None => self.once(task, &inputs, place),
            Some(each) => match iterations(each, &inputs, &self.pipeline.components[&task.component]) {
                Ok(items) => self.iterate(task, each, items, place),
                Err(error) => self.without_running(place, Status::Failed, error),
            },
        }
    }

    fn once(&self, task: &Task, inputs: &Inputs, place: Location<'_>) -> Result<Ended, Error> {
        let component = &self.pipeline.components[&task.component];
        match &component.body {
            Body::Dag(dag) => self.dag(dag, inputs, Location { path: &format!("{}/", place.path), ..place }),
            Body::Executor(name) => Ok(self.component(task, component, name, inputs, place)?.at(place.path)),
        }
    }

    fn iterate(&self, task: &Task, each: &Loop, items: Vec<Inputs>, place: Location<'_>) -> Result<Ended, Error> {
        let next = AtomicUsize::new(0);
        let results: Mutex<BTreeMap<usize, Result<Ended, Error>>> = Mutex::default();
        let workers = each.limit.unwrap_or(ITERATIONS).min(items.len());
        thread::scope(|threads| {
            for _ in 0..workers {
                threads.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(inputs) = items.get(at) else { break };
                        let path = format!("{}[{at}]", place.path);
                        let result = self.once(task, inputs, Location { path: &path, ..place });
                        results.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
                    }
                });
            }
        });
        let component = &self.pipeline.components[&task.component];
        let mut gathered = Outputs::default();
        // What no iteration gave is an empty list.
        for name in component.outputs.keys() {
            gathered.parameters.insert(name.clone(), json!([]));
        }
        for name in component.output_artifacts.keys() {
            gathered.artifacts.insert(name.clone(), Vec::new());
        }
        let mut state = State::Succeeded;
        let mut error = None;
        let mut last = Vec::new();
        for result in results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
            let ended = result?;
            if ended.state != State::Skipped && ended.state > state {
                state = ended.state;
            }
            error = error.or(ended.error.filter(|_| ended.state != State::Skipped));
            last.extend(ended.last);
            for (name, value) in ended.outputs.parameters {
                if let Some(Value::Array(list)) = gathered.parameters.get_mut(&name) {
                    list.push(value);
                }
            }
            for (name, artifacts) in ended.outputs.artifacts {
                gathered.artifacts.entry(name).or_default().extend(artifacts);
            }
        }
        if items.is_empty() {
            last = place.after.to_vec();
        }
        last.truncate(SHOWN_BEFORE);
        Ok(Ended { state, outputs: gathered, error, last })
    }

    pub(crate) fn without_running(&self, place: Location<'_>, status: Status, why: String) -> Result<Ended, Error> {
        let Location { path, after } = place;
        self.record(Event::Queued { task: path, needs: after })?;
        let finished = Finished { reason: Some(why.clone()), ..Finished::new(path, status) };
        self.record(Event::Finished(&finished))?;
        let state = match status {
            Status::Skipped => State::Skipped,
            Status::Cancelled => State::Cancelled,
            _ => State::Failed,
        };
        Ok(Ended::badly(state, format!("{path}: {why}")).at(path))
    }

    pub(crate) fn record(&self, event: Event<'_>) -> Result<(), Error> {
        self.watch.record(event).map_err(Error::Watch)
    }
}

/// Defaults and types; what is missing is an error unless it may be. A loop's item comes later.
fn complete(inputs: &mut Inputs, component: &Component, each: Option<&Loop>) -> Result<(), String> {
    let is_item = |name: &str| each.is_some_and(|each| each.input == name);
    for (name, input) in &component.inputs {
        let given = inputs.parameters.get(name).filter(|value| !value.is_null() || !input.optional);
        match given.or(input.default.as_ref()) {
            Some(value) => {
                let value = typed(value, input.kind).map_err(|error| format!("its input '{name}' {error}"))?;
                inputs.parameters.insert(name.clone(), value);
            }
            None if input.optional || is_item(name) => drop(inputs.parameters.remove(name)),
            None => return Err(format!("nothing gave its input '{name}'")),
        }
    }
    for (name, artifact) in &component.artifacts {
        if !inputs.artifacts.contains_key(name) && !artifact.optional && !is_item(name) {
            return Err(format!("nothing gave its artifact '{name}'"));
        }
    }
    Ok(())
}

/// The inputs of each iteration.
fn iterations(each: &Loop, inputs: &Inputs, component: &Component) -> Result<Vec<Inputs>, String> {
    let with = |value: &Value| {
        let value = match component.inputs.get(&each.input) {
            Some(input) => typed(value, input.kind).map_err(|error| format!("an item of its loop {error}"))?,
            None => value.clone(),
        };
        let mut inputs = inputs.clone();
        inputs.parameters.insert(each.input.clone(), value);
        Ok(inputs)
    };
    match &each.items {
        Items::Raw(items) => items.iter().map(with).collect(),
        Items::Parameter(name) => match inputs.parameters.get(name) {
            Some(Value::Array(items)) => items.iter().map(with).collect(),
            Some(other) => Err(format!("it goes over '{name}', which must be a list, found {other}")),
            None => Err(format!("it goes over '{name}', which nothing gave")),
        },
        Items::Artifacts(name) => {
            let items =
                inputs.artifacts.get(name).ok_or_else(|| format!("it goes over '{name}', which nothing gave"))?;
            Ok(items
                .iter()
                .map(|item| {
                    let mut inputs = inputs.clone();
                    inputs.artifacts.insert(each.input.clone(), vec![item.clone()]);
                    inputs
                })
                .collect())
        }
    }
}

/// The tasks that a task comes after; one that needs nothing comes after what its DAG comes after.
fn before(task: &Task, ended: &BTreeMap<&str, Ended>, after_dag: &[String]) -> Vec<String> {
    let mut before: Vec<String> =
        task.needs.iter().flat_map(|need| ended[need.as_str()].last.iter().cloned()).collect();
    if task.needs.is_empty() {
        before = after_dag.to_vec();
    }
    before.truncate(SHOWN_BEFORE);
    before
}

/// How the DAG ended, and what of its tasks' outputs is its own.
fn whole(dag: &Dag, ended: &BTreeMap<&str, Ended>, after: &[String]) -> Ended {
    let worst = ended.values().map(|end| end.state).filter(|state| *state != State::Skipped).max();
    let state = worst.unwrap_or(State::Succeeded);
    let error = ended.values().find(|end| end.state == state).and_then(|end| end.error.clone());
    let mut outputs = Outputs::default();
    for (name, selectors) in &dag.outputs {
        let value = |from: &Selector| ended.get(from.task.as_str())?.outputs.parameters.get(&from.key).cloned();
        outputs.parameters.extend(selectors.iter().find_map(value).map(|value| (name.clone(), value)));
    }
    for (name, selectors) in &dag.output_artifacts {
        let value = |from: &Selector| ended.get(from.task.as_str())?.outputs.artifacts.get(&from.key).cloned();
        let found: Vec<Artifact> = selectors.iter().filter_map(value).flatten().collect();
        if !found.is_empty() {
            outputs.artifacts.insert(name.clone(), found);
        }
    }
    let needed: BTreeSet<&String> = dag.tasks.values().flat_map(|task| &task.needs).collect();
    let at_the_end = ended.iter().filter(|(name, _)| !needed.iter().any(|needed| needed == *name));
    let mut last: Vec<String> = at_the_end.flat_map(|(_, end)| end.last.iter().cloned()).collect();
    if ended.is_empty() {
        last = after.to_vec();
    }
    last.truncate(SHOWN_BEFORE);
    Ended { state, outputs, error, last }
}
