//! Which stages `repro` and its siblings are about: their targets, as DVC resolves them.

use std::path::Path;

use globset::Glob;
use serde::{Deserialize, Serialize};
use towpath_data::targets::choose;
use towpath_data::{Repository, Stage, Targets};
use towpath_pipeline::engine::{self, Reach};
use towpath_plan::graph::Graph;
use towpath_plan::pipeline::Pipeline;

use crate::commands::checkout::canonical_dir;
use crate::error::Error;
use crate::workspace::{PIPELINE_FILE, declared, shown};

#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Stages, dvc.yaml:STAGE, dvc.yaml and .dvc files, outputs [default: the dvc.yaml of this folder]
    targets: Vec<String>,
    /// Only the targets, not what they need
    #[arg(long, short)]
    single_item: bool,
    /// The whole pipelines that the targets belong to
    #[arg(long, short)]
    pipeline: bool,
    /// All stages of the repository
    #[arg(long, short = 'P')]
    all_pipelines: bool,
    /// A folder stands for all that is declared below it
    #[arg(long, short = 'R')]
    recursive: bool,
    /// The targets and what needs them, instead of what they need
    #[arg(long)]
    downstream: bool,
    /// Targets are patterns for names of stages
    #[arg(long)]
    glob: bool,
}

/// What a selection came to.
#[derive(Debug)]
pub struct Chosen {
    /// Names in the joined pipeline; what the engine is asked for.
    pub stages: Vec<String>,
    pub reach: Reach,
    /// `.dvc` files that were named.
    pub pointers: Vec<String>,
    /// What the stages read, and those they need.
    pub reads: Vec<String>,
}

impl Selection {
    /// The targets and what they need.
    pub fn of(targets: Vec<String>) -> Self {
        Self { targets, ..Self::default() }
    }

    pub fn resolve(&self, repository: &Repository) -> Result<Chosen, Error> {
        self.resolve_from(repository, &canonical_dir()?)
    }

    /// [`Selection::resolve`], targets seen from a folder.
    pub fn resolve_from(&self, repository: &Repository, from: &Path) -> Result<Chosen, Error> {
        let pipeline = engine::read_pipelines(repository)?;
        let graph = Graph::of(&pipeline)?.active(&pipeline);
        let (mut stages, pointers) =
            if self.all_pipelines { (names(&pipeline), Vec::new()) } else { self.named(repository, &pipeline, from)? };
        let reach = match (self.pipeline || self.all_pipelines, self.single_item, self.downstream) {
            (false, true, _) => Reach::Only,
            (false, _, true) => Reach::Downstream,
            _ => Reach::Upstream,
        };
        if self.pipeline || reach == Reach::Downstream {
            // A `.dvc` file stands for what reads it.
            let tracked = repository.stages(&[])?;
            let outputs = tracked.iter().filter(|stage| pointers.contains(&stage.file)).flat_map(|s| &s.outputs);
            let outputs: Vec<&str> = outputs.map(|output| output.path.as_str()).collect();
            let reads = |stage: &&towpath_plan::pipeline::Stage| {
                stage.deps.iter().any(|dep| outputs.iter().any(|out| towpath_plan::paths::overlap(out, &dep.path)))
            };
            stages.extend(pipeline.stages.iter().filter(reads).map(|stage| stage.name.clone()));
        }
        if self.pipeline {
            let seeds: Vec<&str> = stages.iter().map(String::as_str).collect();
            stages = graph.connected(&seeds).into_iter().map(str::to_owned).collect();
        }
        let targets: Vec<&str> = stages.iter().map(String::as_str).collect();
        let looked_at = match reach {
            _ if targets.is_empty() => Vec::new(),
            Reach::Upstream => graph.order_for(&targets)?,
            // Data is taken as it is.
            Reach::Only | Reach::Downstream => Vec::new(),
        };
        let looked_at = looked_at.into_iter().filter_map(|name| pipeline.stage(name)).filter(|stage| !stage.frozen);
        let reads = looked_at.flat_map(|stage| stage.deps.iter().map(|dep| dep.path.clone())).collect();
        Ok(Chosen { stages, reach, pointers, reads })
    }

    fn named(
        &self,
        repository: &Repository,
        pipeline: &Pipeline,
        from: &Path,
    ) -> Result<(Vec<String>, Vec<String>), Error> {
        let all = repository.stages(&declared(pipeline, "")?)?;
        let own_file = shown(from, PIPELINE_FILE, repository.root());
        let default = [PIPELINE_FILE.to_owned()];
        let asked: &[String] = if self.targets.is_empty() { &default } else { &self.targets };
        let mut stages = Vec::new();
        let mut pointers = Vec::new();
        for target in asked {
            let found: Vec<&Stage> = if self.glob {
                matching(&all, target, &own_file)?
            } else if target == PIPELINE_FILE && repository.root().join(&own_file).is_file() {
                // Also one without stages.
                all.iter().filter(|stage| stage.file == own_file).collect()
            } else {
                let targets = Targets { recursive: self.recursive, ..Targets::named(from, [target]) };
                let chosen = choose(repository, &all, &targets).map_err(|error| match error {
                    towpath_data::Error::NotTracked { path } if self.targets.is_empty() => {
                        Error::not_found(format!("there is no {path} in this folder"))
                            .hint("name a stage, or take all with --all-pipelines")
                    }
                    towpath_data::Error::NotTracked { path } => {
                        towpath_plan::Error::NoStage { name: path, known: names(pipeline) }.into()
                    }
                    other => other.into(),
                })?;
                chosen.into_iter().map(|chosen| chosen.stage).collect()
            };
            for stage in found {
                let (list, name) = match stage.name {
                    Some(_) => (&mut stages, stage.addressing()),
                    None => (&mut pointers, stage.file.clone()),
                };
                if !list.contains(&name) {
                    list.push(name);
                }
            }
        }
        Ok((stages, pointers))
    }
}

fn names(pipeline: &Pipeline) -> Vec<String> {
    pipeline.stages.iter().map(|stage| stage.name.clone()).collect()
}

/// Stages of one file whose names match `pattern` or `file:pattern`.
fn matching<'s>(all: &'s [Stage], target: &str, own_file: &str) -> Result<Vec<&'s Stage>, Error> {
    let (file, pattern) = target.rsplit_once(':').unwrap_or((own_file, target));
    let matcher = Glob::new(pattern).map_err(|error| Error::invalid(error.to_string()))?.compile_matcher();
    let is_named =
        |stage: &&Stage| stage.file == file && stage.name.as_deref().is_some_and(|name| matcher.is_match(name));
    Ok(all.iter().filter(is_named).collect())
}
