//! Experiments that wait for their run: commits at refs of ours, `refs/towpath/experiments/<state>/<baseline>/<name>`.
//! DVC's own queue holds Python objects and is left alone.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use towpath_git::{CommitId, Experiment, WorkTree};
use towpath_pipeline::Cancel;

use super::task::{End, Home, Prepared, Task};
use crate::config::Context;
use crate::error::Error;

const NAMESPACE: &str = "refs/towpath/experiments";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Failed,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Failed => "failed",
        }
    }
}

/// Those in a state, oldest first.
pub fn all(tree: &WorkTree, state: State) -> Result<Vec<Prepared>, Error> {
    let mut found = Vec::new();
    for (below, commit) in tree.references(&format!("{NAMESPACE}/{}", state.word()))? {
        let Some((baseline, _)) = below.split_once('/') else { continue };
        let Some(task) = Task::of_commit_message(&tree.message(&commit)?) else { continue };
        let at = tree.committed_at(&commit)?;
        found.push((at, Prepared { task, baseline: baseline.parse()?, commit }));
    }
    found.sort_by_key(|(at, prepared)| (*at, natural(&prepared.task.name)));
    Ok(found.into_iter().map(|(_, prepared)| prepared).collect())
}

/// `sweep-10` after `sweep-9`.
fn natural(name: &str) -> (String, u64) {
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    (name[..digits].to_owned(), name[digits..].parse().unwrap_or(0))
}

fn reference(state: State, baseline: &CommitId, name: &str) -> String {
    format!("{NAMESPACE}/{}/{baseline}/{name}", state.word())
}

pub fn add(tree: &WorkTree, prepared: &Prepared) -> Result<(), Error> {
    let name = reference(State::Queued, &prepared.baseline, &prepared.task.name);
    Ok(tree.point(&name, &prepared.commit, None, "queued")?)
}

pub fn remove(tree: &WorkTree, state: State, prepared: &Prepared) -> Result<(), Error> {
    Ok(tree.delete_reference(&reference(state, &prepared.baseline, &prepared.task.name))?)
}

/// What a run of the queue came to.
#[derive(Debug, Default)]
pub struct Ran {
    pub done: Vec<Experiment>,
    /// Name and why.
    pub failed: Vec<(String, String)>,
    pub cancelled: bool,
}

/// Runs everything that is queued, so many at a time. One leaves the queue when its ref is set: after a
/// kill it is still there.
pub fn run_all(ctx: &Context, home: &Home<'_>, jobs: usize, cancel: &Cancel) -> Result<Ran, Error> {
    let waiting = Mutex::new(VecDeque::from(all(home.tree, State::Queued)?));
    let ran = Mutex::new(Ran::default());
    let work = || -> Result<(), Error> {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(prepared) = next else { return Ok(()) };
            let name = prepared.task.name.clone();
            let end = if cancel.is_cancelled() {
                End::Cancelled
            } else {
                match home.run(ctx, &prepared, Some(&name), cancel) {
                    Ok(end) => end,
                    Err(error) => End::Failed(error.message),
                }
            };
            let mut ran = ran.lock().unwrap_or_else(PoisonError::into_inner);
            match end {
                End::Done(experiment) => {
                    remove(home.tree, State::Queued, &prepared)?;
                    ran.done.push(experiment);
                }
                End::Failed(why) => {
                    let failed = reference(State::Failed, &prepared.baseline, &name);
                    home.tree.point(&failed, &prepared.commit, None, &why)?;
                    remove(home.tree, State::Queued, &prepared)?;
                    ran.failed.push((name, why));
                }
                End::Cancelled => ran.cancelled = true,
                End::Taken => ctx.ui.note(format!("{name} is run by another process")),
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(ran.into_inner().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_behind_names_are_counted() {
        let mut names = ["s-10", "s-9", "b", "s-1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["b", "s-1", "s-9", "s-10"]);
    }
}
