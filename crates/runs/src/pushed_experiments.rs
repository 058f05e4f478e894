//! Experiments of DVC that are pushed (`refs/exps`, by `dvc exp push` or `towpath exp push`) become runs of
//! the project's experiment. A ref that moves makes another run; a run stays when its ref is deleted.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use towpath_core::Actor;
use towpath_git::{CommitId, Repository};
use towpath_imports::{DvcExperiment, take_dvc_experiments};
use towpath_tracking::{experiments, runs as tracked};

use crate::Error;
use crate::service::Runs;
use crate::triggers::blocking;

/// Reading one after another takes long where there are hundreds.
const DEADLINE: Duration = Duration::from_mins(5);

/// Takes those over that are no runs yet; how many. One that cannot be read is logged, and looked at
/// again at the next push.
pub(crate) async fn take(runs: &Runs, project: &str, by: &Actor) -> Result<usize, Error> {
    let repository = Repository::open(&runs.config.repository(project))?;
    let pushed = blocking({
        let repository = repository.clone();
        move || repository.experiments()
    })
    .await?;
    let mut new = Vec::new();
    for experiment in pushed {
        let run_id = DvcExperiment::run_id(experiment.commit.as_str());
        if runs.store.look_up(move |tx| Ok::<_, Error>(tracked::info(tx, &run_id).is_err())).await? {
            new.push(experiment.commit);
        }
    }
    let Some(first) = new.first().cloned() else { return Ok(0) };
    let folder = runs.config.runs.join(project).join("experiments");
    let tree = folder.clone();
    let add = move |repository: &Repository| repository.worktree_add(&tree, &first);
    let checkout = repository.clone();
    blocking(move || add(&checkout)).await?;
    let read = read(runs, &folder, &new).await;
    let tree = folder.clone();
    blocking(move || repository.worktree_remove(&tree)).await?;
    let read = read?;
    if read.is_empty() {
        return Ok(0);
    }
    let now = runs.store.now();
    let name = project.to_owned();
    runs.store.write_briefly(move |tx| Ok::<_, Error>(experiments::ensure(tx, now, &name)?)).await?;
    let taken = take_dvc_experiments(&read, project, &runs.store, by).await;
    let report = taken.map_err(|error| Error::Experiments { detail: error.to_string() })?;
    for difference in &report.differences {
        tracing::warn!(project, "an experiment that was pushed differs from its run: {difference}");
    }
    Ok(report.new_runs)
}

/// What the experiments hold, read in a checkout by this program itself: what is wrong in a repository
/// does no harm to the server.
async fn read(runs: &Runs, checkout: &Path, commits: &[CommitId]) -> Result<Vec<DvcExperiment>, Error> {
    let failed = |detail: String| Error::Experiments { detail };
    let config = checkout.join(".dvc/config.local");
    if checkout.join(".dvc").is_dir() {
        let cache = format!("[cache]\n    dir = {}\n", runs.config.cache.display());
        fs::write(&config, cache).map_err(|error| failed(format!("write {}: {error}", config.display())))?;
    }
    let child = Command::new(&runs.config.program)
        .args(["--json", "exp", "records"])
        .args(commits.iter().map(CommitId::as_str))
        .current_dir(checkout)
        .env_remove("TOWPATH_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(DEADLINE, child).await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("they took longer than {} s", DEADLINE.as_secs()))),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(failed(said.trim().to_owned()));
    }
    if !said.trim().is_empty() {
        tracing::warn!("experiments that were pushed: {}", said.trim());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}
