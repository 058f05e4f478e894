use std::fmt::Write as _;

use serde_json::json;
use towpath_data::targets::choose;
use towpath_data::{Repository, Targets};
use towpath_pipeline::engine;
use towpath_plan::pipeline::{OutputKind, Stage};

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{self, PIPELINE_FILE, declared};

/// Longer descriptions are cut.
const LONGEST: usize = 80;

/// List stages and what they are about
#[derive(clap::Args, Debug)]
pub struct List {
    /// dvc.yaml and .dvc files, stages [default: the dvc.yaml of this folder]
    targets: Vec<String>,
    /// All of the repository
    #[arg(long)]
    all: bool,
    /// Taken for scripts that were written for dvc: a file that is wrong is an error anyway
    #[arg(long)]
    fail: bool,
    /// A folder stands for all that is declared below it
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Names alone; --names-only, too
    #[arg(long, alias = "names-only")]
    name_only: bool,
}

impl List {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let pipeline = engine::read_pipelines(&repository)?;
        let all = repository.stages(&declared(&pipeline, "")?)?;
        let chosen: Vec<&towpath_data::Stage> =
            if self.all { all.iter().collect() } else { chosen(&repository, &all, self.targets, self.recursive)? };
        let described: Vec<(String, String)> = chosen
            .into_iter()
            .map(|stage| {
                let name = stage.addressing();
                let description = match pipeline.stages.iter().find(|declared| declared.name == name) {
                    Some(declared) => describe(declared),
                    None => format!(
                        "Outputs {}",
                        stage.outputs.iter().map(|o| o.path.as_str()).collect::<Vec<_>>().join(", ")
                    ),
                };
                (name, shortened(description))
            })
            .collect();
        let json: Vec<_> = described.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect();
        let names_only = self.name_only;
        ctx.ui.show_as(&json, || {
            let width = described.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            let mut lines = String::new();
            for (name, text) in &described {
                let _ = if names_only { writeln!(lines, "{name}") } else { writeln!(lines, "{name:width$}  {text}") };
            }
            lines
        })?;
        Ok(Exit::Done)
    }
}

fn chosen<'s>(
    repository: &Repository,
    all: &'s [towpath_data::Stage],
    targets: Vec<String>,
    recursive: bool,
) -> Result<Vec<&'s towpath_data::Stage>, Error> {
    let names = if targets.is_empty() { vec![PIPELINE_FILE.to_owned()] } else { targets };
    let targets = Targets { recursive, ..Targets::named(&canonical_dir()?, names) };
    Ok(choose(repository, all, &targets)?.into_iter().map(|chosen| chosen.stage).collect())
}

/// Its own description, or what it makes and reads.
fn describe(stage: &Stage) -> String {
    if let Some(line) = stage.desc.as_deref().and_then(|desc| desc.lines().next()) {
        return line.to_owned();
    }
    let of_kind = |data: bool| {
        let outs = stage.outs.iter().filter(|out| (out.kind == OutputKind::Out) == data);
        outs.map(|out| out.at.written.as_str()).collect::<Vec<_>>().join(", ")
    };
    let reads: Vec<&str> = stage
        .deps
        .iter()
        .map(|dep| dep.written.as_str())
        .chain(stage.params.iter().map(|params| params.file.written.as_str()))
        .collect();
    if stage.outs.is_empty() && reads.is_empty() {
        return "No outputs or dependencies".into();
    }
    if stage.outs.is_empty() {
        return format!("Depends on {}", reads.join(", "));
    }
    let parts = [("Outputs", of_kind(true)), ("Reports", of_kind(false))];
    parts
        .into_iter()
        .filter(|(_, l)| !l.is_empty())
        .map(|(word, l)| format!("{word} {l}"))
        .collect::<Vec<_>>()
        .join("; ")
}

fn shortened(text: String) -> String {
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}
