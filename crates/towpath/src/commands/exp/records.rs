//! Experiments as runs that tracking takes over.

use std::collections::BTreeMap;

use towpath_data::Repository;
use towpath_git::{Experiment, WorkTree};
use towpath_imports::{DvcExperiment, is_record};

use super::state::{Read, State};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Print what experiments hold, as JSON: how a server reads those that were pushed to it
#[derive(clap::Args, Debug)]
pub struct Records {
    /// Only those at these commits [default: all]
    commits: Vec<String>,
}

impl Records {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let chosen =
            |one: &Experiment| self.commits.is_empty() || self.commits.iter().any(|id| *id == one.commit.as_str());
        let (read, _) = records(ctx, chosen)?;
        let mut experiments = Vec::new();
        for one in read {
            match one {
                Ok(one) => experiments.push(one),
                Err(error) => ctx.ui.note(error.message),
            }
        }
        ctx.ui.show_as(&experiments, || format!("{} experiments: see --json", experiments.len()))?;
        Ok(Exit::Done)
    }
}

/// Experiments of the repository that the current folder is in, as far as they can be read, and the name of
/// its folder.
pub fn records(
    ctx: &Context,
    chosen: impl Fn(&Experiment) -> bool,
) -> Result<(Vec<Result<DvcExperiment, Error>>, String), Error> {
    let repository = workspace::repository(ctx)?;
    let tree = WorkTree::discover(repository.root())?;
    let read = |one: Experiment| record(ctx, &repository, &tree, one);
    let experiments = tree.experiments()?.into_iter().filter(chosen).map(read).collect();
    let name = repository.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((experiments, name))
}

fn record(ctx: &Context, repository: &Repository, tree: &WorkTree, one: Experiment) -> Result<DvcExperiment, Error> {
    let state = State::of_commit(ctx, repository, tree, &one.commit, None, false);
    let data = state.data.map_err(|message| Error::invalid(format!("experiment {}: {message}", one.name)))?;
    let values = |files: &BTreeMap<String, Read>| {
        files.iter().filter_map(|(file, read)| Some((file.clone(), read.as_ref().ok()?.to_json()))).collect()
    };
    let versions = data.deps.iter().filter_map(|(path, content)| Some((path.clone(), content.as_ref()?.md5.clone())));
    Ok(DvcExperiment {
        params: values(&data.params),
        metrics: values(&data.metrics),
        data: versions.collect(),
        live: live(tree, &one)?,
        committed_at: data.committed_at.unwrap_or(0),
        name: one.name,
        commit: one.commit.to_string(),
        baseline: one.baseline.to_string(),
    })
}

/// What DVCLive wrote in each of its folders: those with series.
fn live(tree: &WorkTree, one: &Experiment) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    const SERIES: &str = "plots/metrics/";
    let files = tree.files(&one.commit)?;
    let folder = |path: &str| Some(path.split_once(SERIES)?.0.trim_end_matches('/').to_owned());
    let mut folders: BTreeMap<String, BTreeMap<String, String>> =
        files.iter().filter_map(|file| Some((folder(&file.path)?, BTreeMap::new()))).collect();
    for (folder, texts) in &mut folders {
        for file in &files {
            let below = file.path.strip_prefix(folder.as_str()).map(|path| path.trim_start_matches('/'));
            let Some(below) = below.filter(|below| is_record(below)) else { continue };
            if let Some(bytes) = tree.file(&one.commit, &file.path)? {
                texts.insert(below.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    Ok(folders)
}
