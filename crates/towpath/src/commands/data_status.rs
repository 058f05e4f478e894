use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use towpath_data::diff::{Diff, Listing};
use towpath_data::targets::{ChosenStage, choose, is_within};
use towpath_data::verbs::{self, CloudChange, Scope};
use towpath_data::{Selection, Stage, Targets};
use towpath_git::WorkTree;

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{Workspace, shown};

/// Work with tracked data
#[derive(clap::Subcommand, Debug)]
pub enum Data {
    Status(DataStatus),
}

impl Data {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Status(command) => command.run(ctx),
        }
    }
}

/// Show how data differs between the last commit, the .dvc files and the workspace
#[derive(clap::Args, Debug)]
pub struct DataStatus {
    /// Paths [default: everything]
    targets: Vec<String>,
    /// Also the files inside of folders
    #[arg(long)]
    granular: bool,
    /// Also what is as it was
    #[arg(long)]
    unchanged: bool,
    /// Also files that neither Git nor towpath knows
    #[arg(long, value_name = "WHICH", value_parser = ["no", "all"], num_args = 0..=1, default_value = "no", default_missing_value = "all")]
    untracked_files: String,
    /// Also what the remote lacks
    #[arg(long)]
    not_in_remote: bool,
    /// The remote of --not-in-remote, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
    /// Taken for scripts that were written for dvc; the remote is always asked
    #[arg(long)]
    no_remote_refresh: bool,
}

impl DataStatus {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let workspace = Workspace::connected(ctx)?;
        let repository = &workspace.repository;
        let from = canonical_dir()?;
        let paths: Vec<String> = self.targets.iter().map(|t| from.join(t).to_string_lossy().into_owned()).collect();
        let wanted = |selection: &Selection| {
            let path = repository.root().join(&selection.output.path);
            paths.is_empty() || paths.iter().any(|p| path.starts_with(p))
        };
        let select = |stages: &[Stage]| -> Result<Vec<Selection>, Error> {
            let chosen = choose(repository, stages, &Targets::default())?;
            Ok(chosen.iter().flat_map(ChosenStage::selections).filter(wanted).collect())
        };
        let now = select(&repository.stages(&workspace.stages)?)?;
        let tree = if repository.has_no_scm() { None } else { WorkTree::discover(repository.root()).ok() };
        let has_commit = tree.as_ref().is_some_and(|tree| tree.head().is_ok_and(|head| head.is_some()));
        let before = if has_commit { select(&workspace.stages_at("HEAD")?)? } else { Vec::new() };

        let cache = repository.cache()?;
        let files = repository.workspace()?;
        let shallow = |listing: Listing| if self.granular { listing } else { listing.outputs_only() };
        let committed = shallow(Listing::recorded(&cache, &before)?);
        let recorded = shallow(Listing::recorded(&cache, &now)?);
        let present = shallow(Listing::present(&files, &now)?);
        files.save()?;
        let in_commit = if tree.is_some() { Diff::between(&committed, &recorded) } else { Diff::default() };
        let uncommitted = Diff::between(&recorded, &present);

        let mut json = Map::new();
        let mut put = |key: &str, value: Value| {
            let filled = value.as_array().map(|list| !list.is_empty()).or(value.as_object().map(|map| !map.is_empty()));
            if filled.unwrap_or(false) {
                json.insert(key.to_owned(), value);
            }
        };
        put("not_in_cache", recorded.not_in_cache(&cache)?.into_iter().map(|changed| changed.path).collect());
        if self.not_in_remote {
            put("not_in_remote", json!(self.absent(ctx, &workspace, &now)?));
        }
        put("committed", in_commit.to_paths());
        put("uncommitted", uncommitted.to_paths());
        if let (Some(tree), "all") = (&tree, self.untracked_files.as_str()) {
            let below = |path: String| shown(repository.root(), &tree.root().join(path).to_string_lossy(), &from);
            put("untracked", json!(tree.untracked()?.into_iter().map(below).collect::<Vec<_>>()));
        }
        if self.unchanged {
            let still = |c: &&towpath_data::diff::Changed| tree.is_none() || in_commit.unchanged.contains(*c);
            put("unchanged", uncommitted.unchanged.iter().filter(still).map(|c| json!(c.path)).collect());
        }
        ctx.ui.show_as(&json, || human(&json))?;
        Ok(Exit::Done)
    }

    /// What the remote lacks: outputs, with --granular also the files inside of folders.
    fn absent(&self, ctx: &Context, workspace: &Workspace, selected: &[Selection]) -> Result<Vec<String>, Error> {
        let Workspace { repository, stages } = workspace;
        let scope = Scope::of_remote(self.remote.as_deref());
        let differing = verbs::cloud_status(repository, stages, &scope, &ctx.ui.data_progress())?;
        let mut absent = Vec::new();
        for (path, _) in differing.into_iter().filter(|(_, change)| *change != CloudChange::Deleted) {
            let output = selected.iter().map(|selection| &selection.output).find(|output| output.path == path);
            let is_dir = output.and_then(|output| output.content.as_ref()).is_some_and(towpath_core::Content::is_dir);
            let is_inside = selected.iter().any(|selection| is_within(&path, &selection.output.path));
            if output.is_some() || (self.granular && is_inside) {
                absent.push(if is_dir { path + "/" } else { path });
            }
        }
        Ok(absent)
    }
}

/// What each part is called, and what to do about it.
const PARTS: [(&str, &str, &[&str]); 6] = [
    ("not_in_cache", "Not in cache", &["use \"towpath fetch <file>...\" to download files"]),
    ("not_in_remote", "Not in remote", &["use \"towpath push <file>...\" to upload files"]),
    ("committed", "DVC committed changes", &["git commit the corresponding dvc files to update the repo"]),
    (
        "uncommitted",
        "DVC uncommitted changes",
        &["use \"towpath commit <file>...\" to track changes", "use \"towpath checkout <file>...\" to discard changes"],
    ),
    ("untracked", "Untracked files", &["use \"git add <file> ...\" or \"towpath add <file>...\" to track them"]),
    ("unchanged", "DVC unchanged files", &[]),
];

fn human(json: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (key, title, hints) in PARTS {
        let Some(value) = json.get(key) else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{title}:");
        for hint in hints {
            let _ = writeln!(text, "  ({hint})");
        }
        let lists: Vec<(String, &Value)> = match value {
            Value::Object(kinds) => kinds.iter().map(|(kind, list)| (format!("{kind}: "), list)).collect(),
            list => vec![(String::new(), list)],
        };
        for (kind, list) in lists {
            for item in list.as_array().into_iter().flatten() {
                let path = match (item["old"].as_str(), item["new"].as_str()) {
                    (Some(old), Some(new)) => format!("{old} -> {new}"),
                    _ => item.as_str().unwrap_or_default().to_owned(),
                };
                let _ = writeln!(text, "        {kind}{path}");
            }
        }
    }
    if text.is_empty() { "No changes.".to_owned() } else { text }
}
