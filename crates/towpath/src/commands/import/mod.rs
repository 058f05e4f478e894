pub mod records;

use std::path::PathBuf;

use serde_json::json;
use towpath_data::imports::{self, Imported, Request, Take};

use crate::commands::download_flags::JobsFlag;
use crate::config::{Context, wait};
use crate::error::{Error, Exit};
use crate::source::{SourceFlags, SourceRepository, place_of};
use crate::ui;
use crate::workspace::Workspace;

use records::Records;

/// Download a file or folder of another repository and track it, together with where it came from
///
/// Or take over the records of another tracker: towpath import mlflow, tensorboard, wandb, neptune, dvclive
/// or dvc-exp.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Import {
    #[command(subcommand)]
    records: Option<Records>,
    /// The other repository: an address that Git knows, or a folder
    #[arg(required = true)]
    url: Option<String>,
    /// The file or folder in it, tracked by DVC or by Git
    #[arg(required = true)]
    path: Option<String>,
    /// Where to put it
    #[arg(long, short, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, short)]
    force: bool,
    /// Only write the .dvc file
    #[arg(long, conflicts_with = "no_download")]
    no_exec: bool,
    /// Write the .dvc file with the commit, and download nothing
    #[arg(long)]
    no_download: bool,
    #[command(flatten)]
    jobs: JobsFlag,
    #[command(flatten)]
    source: SourceFlags,
}

impl Import {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if let Some(records) = self.records {
            return wait(records.run(ctx));
        }
        let (url, path) = (self.url.unwrap_or_default(), self.path.unwrap_or_default());
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let out = place_of(&path, self.out.as_deref(), self.force)?;
        let out = repository.relative(&Context::current_dir()?, &out)?;
        let source = SourceRepository::from(self.source);
        let request = Request {
            url: url.clone(),
            path: path.clone(),
            rev: source.rev.clone(),
            overrides: source.overrides.clone(),
        };
        let progress = ctx.ui.data_progress();
        let imported = if self.no_exec {
            imports::import(&repository, &request, &out, Take::Nothing, self.force, &stages, &progress)?
        } else if self.no_download {
            let commit = source.commit(ctx, &url)?;
            imports::import(&repository, &request, &out, Take::Commit(commit.as_str()), self.force, &stages, &progress)?
        } else {
            let (opened, commit) = source.open_commit(ctx, &url, &repository.cache()?)?;
            let source = opened.source.with_jobs(self.jobs.most());
            let take = Take::Data(&source, commit.as_str());
            imports::import(&repository, &request, &out, take, self.force, &stages, &progress)?
        };
        let json = json!({ "path": imported.path, "pointer": imported.pointer, "content": imported.content });
        ctx.ui.show_as(&json, || human(&imported))?;
        Ok(Exit::Done)
    }
}

pub fn human(imported: &Imported) -> String {
    let Imported { path, pointer, content, gitignore } = imported;
    let what = match content {
        Some(content) => {
            let files = content.nfiles.map(|n| format!("{}, ", ui::count(n, "file"))).unwrap_or_default();
            format!("{files}{}, tracked by {pointer}", ui::bytes(content.size))
        }
        None => format!("not downloaded, recorded in {pointer}"),
    };
    let gitignore = gitignore.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default();
    format!("{path}: {what}\nCommit it: git add {pointer}{gitignore}")
}
