use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use towpath_api::runs::Run;
use towpath_core::{InputKind, UndeclaredInput};
use towpath_data::Repository;
use towpath_pipeline::engine;
use towpath_plan::pipeline::Stage;
use towpath_yaml::{Step, Value, edit};

use crate::commands::repro::journal::reads_of;
use crate::config::{Context, wait};
use crate::error::{Error, Exit};
use crate::workspace::{self, read};

/// Say which dependencies stages lack, by what they read when they ran last
#[derive(clap::Args, Debug)]
pub struct Suggest {
    /// Stages [default: all that ran here]
    stages: Vec<String>,
    /// Write them into dvc.yaml
    #[arg(long, short)]
    write: bool,
    /// What they read in this run on the server, instead of here
    #[arg(long, value_name = "N")]
    run: Option<i64>,
    /// The project of the run [default: the one that this clone's remote 'origin' is]
    #[arg(long, short, value_name = "NAME", requires = "run")]
    project: Option<String>,
}

/// What one stage should declare.
#[derive(Debug, Serialize)]
struct Suggestion {
    stage: String,
    /// As they would be written.
    deps: Vec<String>,
    /// What cannot be a dependency.
    connections: Vec<String>,
    /// Why they are not written; nothing where they can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_written: Option<String>,
}

impl Suggest {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let pipeline = engine::read_pipelines(&repository)?;
        for name in &self.stages {
            if pipeline.stage(name).is_none() {
                return Err(Error::not_found(format!("there is no stage '{name}'")).hint("towpath stage list --all"));
            }
        }
        let chosen = |stage: &&Stage| self.stages.is_empty() || self.stages.contains(&stage.name);
        let mut reads = match self.run {
            Some(number) => wait(of_run(ctx, self.project.clone(), number))?,
            None => BTreeMap::new(),
        };
        let mut suggestions = Vec::new();
        for stage in pipeline.stages.iter().filter(chosen) {
            let read = match self.run {
                Some(_) => reads.remove(&stage.name),
                None => reads_of(&repository.tmp_dir(), &stage.name),
            };
            let suggestion = suggest(&repository, stage, &read.unwrap_or_default());
            if !suggestion.deps.is_empty() || !suggestion.connections.is_empty() {
                suggestions.push(suggestion);
            }
        }
        if self.write {
            let _lock = repository.lock()?;
            for suggestion in suggestions.iter_mut().filter(|suggestion| !suggestion.deps.is_empty()) {
                let Some(stage) = pipeline.stage(&suggestion.stage) else { continue };
                suggestion.not_written = write(&repository, stage, &suggestion.deps)?;
            }
        }
        ctx.ui.show_as(&suggestions, || human(&suggestions, self.write))?;
        Ok(Exit::Done)
    }
}

/// What the stages of a run on the server read.
async fn of_run(
    ctx: &Context,
    project: Option<String>,
    number: i64,
) -> Result<BTreeMap<String, Vec<UndeclaredInput>>, Error> {
    let project = workspace::project(ctx, project)?;
    let run: Run = ctx.client()?.get(&format!("/projects/{project}/runs/{number}")).await?;
    Ok(run.stages.into_iter().map(|stage| (stage.name, stage.undeclared)).collect())
}

/// Leaves out what has been declared since.
fn suggest(repository: &Repository, stage: &Stage, read: &[UndeclaredInput]) -> Suggestion {
    let mut deps = Vec::new();
    let mut connections = Vec::new();
    for input in read {
        match input.kind {
            InputKind::Network => connections.push(input.name.clone()),
            InputKind::Elsewhere if repository.root().join(&input.name).exists() => deps.push(input.name.clone()),
            InputKind::Repository if repository.root().join(&input.name).exists() => {
                deps.push(towpath_data::pointer::relative(&input.name, &stage.wdir));
            }
            _ => {}
        }
    }
    deps.retain(|dep| stage.deps.iter().all(|declared| declared.written != *dep));
    Suggestion { stage: stage.name.clone(), deps, connections, not_written: None }
}

/// Adds the dependencies to the stage's entry; or why that cannot be done.
fn write(repository: &Repository, stage: &Stage, deps: &[String]) -> Result<Option<String>, Error> {
    let file = &stage.file;
    let mut text = read(&repository.root().join(file))?.unwrap_or_default();
    let root = towpath_yaml::parse(file, &text)?.root().to_value();
    let Some(entry) = root.get("stages").and_then(|stages| stages.get(&stage.entry)) else {
        let group = stage.entry.split('@').next().unwrap_or(&stage.entry);
        return Ok(Some(format!("it is generated: add them to '{group}' of {file} by hand")));
    };
    let length = match entry.get("deps") {
        Some(Value::Seq(declared)) => declared.len(),
        _ => 0,
    };
    let path = |last: usize| [Step::Key("stages"), Step::Key(&stage.entry), Step::Key("deps"), Step::Index(last)];
    let mut rest = deps;
    if length == 0 {
        let all = deps.iter().map(Value::string).collect();
        text = edit::set(file, &text, &path(0)[..3], &Value::Seq(all))?;
        rest = &[];
    }
    for (at, dep) in (length..).zip(rest) {
        text = edit::set(file, &text, &path(at), &Value::string(dep))?;
    }
    repository.write(file, &text)?;
    Ok(None)
}

fn human(suggestions: &[Suggestion], written: bool) -> String {
    if suggestions.is_empty() {
        return "No stage that ran here read anything that it does not declare.".to_owned();
    }
    let mut text = String::new();
    for suggestion in suggestions {
        let verb = match (&suggestion.not_written, written) {
            (None, true) => "now has the deps",
            _ => "should have the deps",
        };
        if !suggestion.deps.is_empty() {
            let _ = writeln!(text, "{} {verb}", suggestion.stage);
            for dep in &suggestion.deps {
                let _ = writeln!(text, "  - {dep}");
            }
        }
        if let Some(why) = &suggestion.not_written {
            let _ = writeln!(text, "  not written: {why}");
        }
        if !suggestion.connections.is_empty() {
            let _ = writeln!(text, "{} connected to {}", suggestion.stage, suggestion.connections.join(", "));
        }
    }
    if !written && suggestions.iter().any(|suggestion| !suggestion.deps.is_empty()) {
        text.push_str("Write them with: towpath stage suggest --write\n");
    }
    text.trim_end().to_owned()
}
