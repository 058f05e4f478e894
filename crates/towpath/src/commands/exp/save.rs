use serde_json::json;
use towpath_data::{Repository, Targets};
use towpath_git::WorkTree;

use super::head;
use super::record::{Beginning, Place};
use crate::commands::checkout::canonical_dir;
use crate::commands::commit;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{Workspace, pipelines};

/// Keep the workspace as it is as an experiment
#[derive(clap::Args, Debug)]
pub struct Save {
    /// Only what these stages and .dvc files made is recorded anew [default: everything]
    targets: Vec<String>,
    /// Targets are folders: everything declared below them
    #[arg(long, short = 'R')]
    recursive: bool,
    /// In place of an experiment with that name
    #[arg(long, short)]
    force: bool,
    /// What it is called, unless two words that nobody else took
    #[arg(long, short, value_name = "NAME")]
    name: Option<String>,
    /// A file that Git does not track, to be part of it; may be repeated
    #[arg(long, short = 'I', value_name = "PATH")]
    include_untracked: Vec<String>,
    /// The message of its commit
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

impl Save {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let tree = WorkTree::discover(repository.root())?;
        let beginning = Beginning::new(&tree, head(&tree)?, self.name.as_deref(), self.force)?;
        let from = canonical_dir()?;
        let targets = Targets { recursive: self.recursive, ..Targets::named(&from, self.targets) };
        commit::record_all(ctx, &repository, &stages, &targets)?;
        let also = self
            .include_untracked
            .iter()
            .map(|path| Ok(repository.relative(&from, path.as_ref())?.to_string_lossy().into_owned()));
        let also = also.collect::<Result<Vec<_>, Error>>()?;
        let place = Place { tree: &tree, files: tree.root(), repository: &repository };
        let experiment = place.record(&beginning, &locked(&repository)?, also, self.message.as_deref())?;
        let json = json!({ "ref": experiment.commit.as_str() });
        ctx.ui.show_as(&json, || format!("Experiment has been saved as: {}", experiment.name))?;
        Ok(Exit::Done)
    }
}

/// The stages with what their locks record.
fn locked(repository: &Repository) -> Result<Vec<(String, towpath_plan::lock::LockedStage)>, Error> {
    let mut entries = Vec::new();
    for (pipeline, lock) in pipelines(repository.root())? {
        let stages = pipeline.stages.iter();
        entries.extend(stages.filter_map(|stage| Some((stage.entry.clone(), lock.get(&stage.entry)?.clone()))));
    }
    Ok(entries)
}
