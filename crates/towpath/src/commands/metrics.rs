use std::collections::BTreeSet;

use serde_json::{Map, json};
use towpath_data::Repository;
use towpath_git::WorkTree;
use towpath_plan::params;
use towpath_plan::pipeline::OutputKind;
use towpath_yaml::Value;

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::value_diff::{self, DiffFlags, Files, PRECISION};
use crate::view::{View, WORKSPACE};
use crate::workspace::{self, shown};

/// The metrics that stages make
#[derive(clap::Subcommand, Debug)]
pub enum Metrics {
    Show(Show),
    Diff(Diff),
}

/// Show metrics, here or of other commits
#[derive(clap::Args, Debug)]
pub struct Show {
    /// Files [default: all that pipelines declare]
    targets: Vec<String>,
    /// Of all branches
    #[arg(long, short = 'a')]
    all_branches: bool,
    /// Of all tags
    #[arg(long, short = 'T')]
    all_tags: bool,
    /// Of all commits
    #[arg(long, short = 'A')]
    all_commits: bool,
    /// As a table of Markdown
    #[arg(long)]
    md: bool,
    /// Taken for scripts that were written for dvc: folders are taken whole anyway
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Digits behind the point
    #[arg(long, value_name = "NUMBER")]
    precision: Option<usize>,
}

/// Compare metrics of two commits, or of a commit and the workspace
#[derive(clap::Args, Debug)]
pub struct Diff {
    #[command(flatten)]
    flags: DiffFlags,
    /// Files, whether or not pipelines declare them
    #[arg(long, num_args = 0.., value_name = "PATH")]
    targets: Vec<String>,
    /// Taken for scripts that were written for dvc: folders are taken whole anyway
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Digits behind the point
    #[arg(long, value_name = "NUMBER")]
    precision: Option<usize>,
}

impl Metrics {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Show(command) => command.run(ctx),
            Self::Diff(command) => command.run(ctx),
        }
    }
}

impl Show {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let targets = below_root(&repository, &self.targets)?;
        let mut shown_revisions: Vec<(String, Files)> = Vec::new();
        let revisions = self.revisions(&repository)?;
        for (name, revision) in &revisions {
            let metrics = metrics_of(ctx, &View::of(&repository, revision)?, &targets)?;
            shown_revisions.push((name.clone(), as_seen(&repository, metrics)?));
        }
        // The workspace is left out when it is as its branch.
        if let Some((_, branch)) = self.branch(&repository)?.and_then(|name| {
            shown_revisions.iter().find(|(revision, _)| revision.split(',').any(|one| one == name)).cloned()
        }) && shown_revisions.first().is_some_and(|(name, files)| name == WORKSPACE && *files == branch)
        {
            shown_revisions.remove(0);
        }
        let json: Map<String, serde_json::Value> = shown_revisions
            .iter()
            .map(|(name, files)| {
                let files = files.iter().map(|(path, value)| (path.clone(), json!({ "data": value.to_json() })));
                (name.clone(), json!({ "data": files.collect::<Map<_, _>>() }))
            })
            .collect();
        ctx.ui.show_as(&json, || self.table(&shown_revisions))?;
        Ok(Exit::Done)
    }

    fn is_of_commits(&self) -> bool {
        self.all_branches || self.all_tags || self.all_commits
    }

    fn branch(&self, repository: &Repository) -> Result<Option<String>, Error> {
        if self.is_of_commits() { Ok(WorkTree::discover(repository.root())?.branch()?) } else { Ok(None) }
    }

    /// Names and revisions; names of one commit are joined.
    fn revisions(&self, repository: &Repository) -> Result<Vec<(String, String)>, Error> {
        if !self.is_of_commits() {
            return Ok(vec![(String::new(), WORKSPACE.to_owned())]);
        }
        let tree = WorkTree::discover(repository.root())?;
        let mut revisions = vec![(WORKSPACE.to_owned(), WORKSPACE.to_owned())];
        let mut add = |name: String, commit: String| match revisions.iter_mut().find(|(_, known)| *known == commit) {
            Some((names, _)) if self.all_commits => *names = name,
            Some((names, _)) => *names = format!("{names},{name}"),
            None => revisions.push((name, commit)),
        };
        if self.all_commits {
            for commit in tree.commits_reachable()? {
                add(commit.to_string(), commit.to_string());
            }
            return Ok(revisions);
        }
        for (asked, namespace) in [(self.all_branches, "refs/heads"), (self.all_tags, "refs/tags")] {
            for (name, commit) in if asked { tree.references(namespace)? } else { Vec::new() } {
                add(name, commit.to_string());
            }
        }
        Ok(revisions)
    }

    fn table(&self, revisions: &[(String, Files)]) -> String {
        let precision = Some(self.precision.unwrap_or(PRECISION));
        let keys: BTreeSet<String> = revisions
            .iter()
            .flat_map(|(_, files)| files.values().flat_map(|v| value_diff::flat(Some(v)).into_keys()))
            .collect();
        let mut headers = vec!["Revision".to_owned(), "Path".to_owned()];
        headers.extend(keys.iter().cloned());
        let mut rows = Vec::new();
        for (name, files) in revisions {
            for (path, value) in files {
                let values = value_diff::flat(Some(value));
                let cell = |key: &String| values.get(key).map_or("-".to_owned(), |v| value_diff::shown(v, precision));
                rows.push([name.clone(), path.clone()].into_iter().chain(keys.iter().map(cell)).collect::<Vec<_>>());
            }
        }
        if !self.is_of_commits() {
            headers.remove(0);
            for row in &mut rows {
                row.remove(0);
            }
        }
        value_diff::tabulated(&headers, &rows, self.md)
    }
}

impl Diff {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let targets = below_root(&repository, &self.targets)?;
        let side = |revision: &str| -> Result<Files, Error> {
            as_seen(&repository, metrics_of(ctx, &View::of(&repository, revision)?, &targets)?)
        };
        let differences = value_diff::compare(&side(&self.flags.old)?, &side(&self.flags.new)?, self.flags.all);
        ctx.ui.show_as(&value_diff::json(&differences), || {
            let precision = Some(self.precision.unwrap_or(PRECISION));
            value_diff::table(&differences, &self.flags.layout("Metric", true, precision))
        })?;
        Ok(Exit::Done)
    }
}

/// Targets, seen from the folder of the caller, as paths below the root.
pub fn below_root(repository: &Repository, targets: &[String]) -> Result<Vec<String>, Error> {
    let from = canonical_dir()?;
    targets
        .iter()
        .map(|target| Ok(repository.relative(&from, target.as_ref())?.to_string_lossy().into_owned()))
        .collect()
}

/// Paths as seen from the folder of the caller.
pub fn as_seen(repository: &Repository, files: Files) -> Result<Files, Error> {
    let from = canonical_dir()?;
    Ok(files.into_iter().map(|(path, value)| (shown(repository.root(), &path, &from), value)).collect())
}

/// The files that the pipelines declare.
pub fn declared(view: &View) -> BTreeSet<String> {
    let outs = view.pipeline.stages.iter().flat_map(|stage| &stage.outs);
    let outs = outs.filter(|out| out.kind == OutputKind::Metric).map(|out| out.at.path.clone());
    outs.chain(view.metrics.iter().cloned()).collect()
}

/// The metrics of a file; `None` when it is not there.
pub fn read(view: &View, file: &str) -> Result<Option<Result<Value, towpath_plan::Error>>, Error> {
    let Some(text) = view.text(file)? else { return Ok(None) };
    let entries = params::entries(file, &text);
    Ok(Some(entries.map(|entries| only_metrics(Value::Map(entries)).unwrap_or(Value::Map(Vec::new())))))
}

/// Of the given files, or of all that the pipelines declare. What cannot be read is said and left out.
fn metrics_of(ctx: &Context, view: &View, targets: &[String]) -> Result<Files, Error> {
    let files = if targets.is_empty() { declared(view) } else { targets.iter().cloned().collect() };
    let mut found = Files::new();
    for file in files {
        match read(view, &file)? {
            None => ctx.ui.note(format!("{file} is not there")),
            Some(Ok(metrics)) => drop(found.insert(file, metrics)),
            Some(Err(error)) => ctx.ui.note(format!("{file} holds no metrics: {error}")),
        }
    }
    Ok(found)
}

/// Numbers, texts and what holds them; lists and nothing are no metrics.
fn only_metrics(value: Value) -> Option<Value> {
    match value {
        Value::Map(entries) => {
            let kept = entries.into_iter().filter_map(|(key, value)| Some((key, only_metrics(value)?)));
            let kept: Vec<(String, Value)> = kept.collect();
            (!kept.is_empty()).then_some(Value::Map(kept))
        }
        Value::Null | Value::Seq(_) => None,
        scalar => Some(scalar),
    }
}
