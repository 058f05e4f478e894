use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use towpath_data::imports::{self, Import};
use towpath_data::targets::{ChosenStage, choose};
use towpath_data::verbs::{self, Scope};
use towpath_data::{OutputStatus, Repository, Targets, TrackedOutput, status};

use crate::commands::checkout::canonical_dir;
use crate::commands::transfer_scope::ScopeOptions;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::has_news;
use crate::stage_changes::StageChanges;
use crate::workspace::{Workspace, pipelines, shown};

/// Show data and stages that are not as recorded, or (--cloud) what a remote lacks
///
/// With --quiet the exit code tells: 1 when something differs.
#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    scope: ScopeOptions,
    /// Compare the cache with a remote; --remote does so, too
    #[arg(long, short)]
    cloud: bool,
    /// Do not ask where imports came from whether they are as they were
    #[arg(long)]
    no_updates: bool,
}

impl Status {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let workspace = Workspace::connected(ctx)?;
        let Workspace { repository, stages } = &workspace;
        let scope = self.scope.scope(&workspace)?;
        if self.cloud || scope.remote.is_some() {
            return cloud(ctx, &workspace, &scope);
        }
        let from = canonical_dir()?;
        let targets = Targets { from: from.clone(), ..scope.targets };
        let all = repository.stages(stages)?;
        let chosen = choose(repository, &all, &targets)?;
        let mut differing = differences(repository, &chosen, &from)?;
        if !self.no_updates {
            add_news(ctx, repository, &chosen, &from, &mut differing)?;
        }
        let json: Map<String, Value> = differing.iter().map(|(name, changes)| (name.clone(), json!(changes))).collect();
        ctx.ui.show_as(&json, || human(&differing))?;
        Ok(if ctx.ui.is_quiet() && !differing.is_empty() { Exit::No } else { Exit::Done })
    }
}

/// What is not as recorded, as the lists below each stage of `dvc status --json`.
pub fn differences(
    repository: &Repository,
    chosen: &[ChosenStage<'_>],
    from: &Path,
) -> Result<Vec<(String, Vec<Value>)>, Error> {
    let pipelines = pipelines(repository.root())?;
    let workspace = repository.workspace()?;
    let selections = chosen.iter().flat_map(ChosenStage::selections);
    let outputs: Vec<TrackedOutput> = selections.map(|selection| selection.output).collect();
    let changed = status::status(&repository.cache()?, &workspace, &outputs)?;
    let changes_of = StageChanges { repository, workspace: &workspace, from };
    let mut differing = Vec::new();
    for ChosenStage { stage, .. } in chosen {
        let own: Vec<&OutputStatus> =
            changed.iter().filter(|output| output.declared_by == stage.addressing()).collect();
        let pipeline = pipelines.iter().find(|(pipeline, _)| pipeline.file == stage.file);
        let declared = pipeline
            .zip(stage.name.as_deref())
            .and_then(|((pipeline, lock), name)| Some((pipeline.stage(name)?, lock.get(name))));
        let changes = match declared {
            Some((declared, locked)) => changes_of.of(declared, locked, &own)?,
            None if own.is_empty() => Vec::new(),
            None => {
                let outs = own.iter().map(|o| (shown(repository.root(), &o.path, from), json!(o.change.to_string())));
                vec![json!({ "changed outs": outs.collect::<Map<_, _>>() })]
            }
        };
        if !changes.is_empty() {
            differing.push((name_from(repository, stage, from), changes));
        }
    }
    workspace.save()?;
    Ok(differing)
}

/// Adds imports whose source went on, each before what differs about the data here.
fn add_news(
    ctx: &Context,
    repository: &Repository,
    chosen: &[ChosenStage<'_>],
    from: &Path,
    differing: &mut Vec<(String, Vec<Value>)>,
) -> Result<(), Error> {
    for ChosenStage { stage, .. } in chosen {
        let (dependency, word) = match stage.outputs.first().and_then(|output| output.import.as_ref()) {
            Some(Import::Repository(import)) if has_news(ctx, repository, import)? => {
                (format!("{} ({})", import.request.path, import.request.url), "update available")
            }
            Some(Import::Url(import)) => match imports::news_of_url(repository, import, &ctx.ui.data_progress())? {
                Some(word) => (import.url.clone(), word),
                None => continue,
            },
            _ => continue,
        };
        let news = json!({ "changed deps": { dependency: word } });
        let name = name_from(repository, stage, from);
        match differing.iter_mut().find(|(known, _)| *known == name) {
            Some((_, changes)) => changes.insert(0, news),
            None => differing.push((name, vec![news])),
        }
    }
    Ok(())
}

/// `../data.dvc`, `train`, `../dvc.yaml:train`.
fn name_from(repository: &Repository, stage: &towpath_data::Stage, from: &Path) -> String {
    let file = shown(repository.root(), &stage.file, from);
    match &stage.name {
        None => file,
        Some(name) if file == "dvc.yaml" => name.clone(),
        Some(name) => format!("{file}:{name}"),
    }
}

/// What the remote lacks (`new`), the cache (`deleted`), or both (`missing`), by path.
fn cloud(ctx: &Context, workspace: &Workspace, scope: &Scope<'_>) -> Result<Exit, Error> {
    let Workspace { repository, stages } = workspace;
    let differing = verbs::cloud_status(repository, stages, scope, &ctx.ui.data_progress())?;
    let json: Map<String, Value> = differing.iter().map(|(path, c)| (path.clone(), json!(c.to_string()))).collect();
    ctx.ui.show_as(&json, || {
        let mut text = String::new();
        for (path, change) in &differing {
            let _ = writeln!(text, "\t{:<20}{path}", format!("{change}:"));
        }
        if text.is_empty() { "Cache and remote are in sync.".to_owned() } else { text }
    })?;
    Ok(if ctx.ui.is_quiet() && !differing.is_empty() { Exit::No } else { Exit::Done })
}

fn human(differing: &[(String, Vec<Value>)]) -> String {
    if differing.is_empty() {
        return "Data and pipelines are up to date.".into();
    }
    let mut text = String::new();
    for (name, changes) in differing {
        let _ = writeln!(text, "{name}:");
        for change in changes {
            write_change(&mut text, change, 1);
        }
    }
    text
}

/// As `dvc status` lays it out: a tab for each level, words in a column of 20.
fn write_change(text: &mut String, change: &Value, level: usize) {
    let indent = "\t".repeat(level);
    match change {
        Value::Object(entries) => {
            for (name, value) in entries {
                if let Some(word) = value.as_str() {
                    let _ = writeln!(text, "{indent}{:<20}{name}", format!("{word}:"));
                } else {
                    let _ = writeln!(text, "{indent}{name}:");
                    write_change(text, value, level + 1);
                }
            }
        }
        other => {
            let _ = writeln!(text, "{indent}{}", other.as_str().unwrap_or_default());
        }
    }
}
