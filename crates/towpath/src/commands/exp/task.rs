//! An experiment that runs in a checkout of its own: the commit that it is run from, and how.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use towpath_core::{Digest, Kind};
use towpath_data::config::Level;
use towpath_data::verbs::{self, CheckoutOptions};
use towpath_data::{Config, Repository, Targets};
use towpath_git::{CommitId, Experiment, Snapshot, WorkTree};
use towpath_pipeline::{Cancel, Status};
use towpath_plan::params::overrides::Override;

use super::overrides;
use super::record::{Beginning, Place};
use super::run::entries_of;
use crate::commands::repro::{ReproOptions, Selection, Setting};
use crate::config::Context;
use crate::error::Error;
use crate::workspace;

/// How an experiment is run. Kept with its commit while it is queued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    /// In place of an experiment of that name.
    pub force: bool,
    pub selection: Selection,
    pub options: ReproOptions,
    pub run_cache: bool,
    /// Of its commit.
    pub message: Option<String>,
    /// Files and folders that Git does not know, relative to the root, which it needs.
    pub copied: Vec<String>,
    /// Where the command was given, relative to the root.
    pub folder: String,
}

/// A task and the commit that has its files; its parent is where the experiment begins.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub task: Task,
    pub baseline: CommitId,
    pub commit: CommitId,
}

/// How a task ended.
pub enum End {
    Done(Experiment),
    /// What was wrong, one sentence.
    Failed(String),
    /// Somebody asked for the end of everything.
    Cancelled,
    /// Another process runs it.
    Taken,
}

/// The workspace that tasks come from.
pub struct Home<'h> {
    pub tree: &'h WorkTree,
    pub repository: &'h Repository,
}

impl Home<'_> {
    /// The commit of a task: the files of the workspace as they are, with other parameters.
    pub fn prepare(&self, task: Task, baseline: &CommitId, changed: &[Override]) -> Result<Prepared, Error> {
        let from = self.repository.root().join(&task.folder);
        let texts = overrides::texts(self.repository, &from, changed)?;
        let place = Place { tree: self.tree, files: self.tree.root(), repository: self.repository };
        let replaced = texts.into_iter().map(|(path, text)| {
            let mut path = place.seen_from_top([path]);
            (path.pop().unwrap_or_default(), text.into_bytes())
        });
        let replaced: Vec<(String, Vec<u8>)> = replaced.collect();
        let snapshot = Snapshot { files: self.tree.root(), also: &[], replaced: &replaced };
        let commit = self.tree.commit_snapshot(&snapshot, baseline, &task.commit_message()?)?;
        Ok(Prepared { task, baseline: baseline.clone(), commit })
    }

    fn folder(&self) -> PathBuf {
        self.repository.tmp_dir().join("towpath/experiments")
    }

    /// Runs a task. What a killed process left of it is removed first.
    pub fn run(&self, ctx: &Context, prepared: &Prepared, label: Option<&str>, cancel: &Cancel) -> Result<End, Error> {
        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let id = Digest::of(format!("{} {}", prepared.baseline, prepared.task.name).as_bytes());
        let Some(claim) = Claim::of(&folder.join(id.short()))? else { return Ok(End::Taken) };
        let end = self.run_in(ctx, prepared, &claim.checkout, label, cancel);
        claim.release()?;
        end
    }

    fn run_in(
        &self,
        ctx: &Context,
        prepared: &Prepared,
        checkout: &Path,
        label: Option<&str>,
        cancel: &Cancel,
    ) -> Result<End, Error> {
        let Prepared { task, baseline, commit } = prepared;
        self.tree.borrow_into(checkout, baseline, commit)?;
        let prefix = self.repository.root().strip_prefix(self.tree.root()).unwrap_or(Path::new(""));
        let root = checkout.join(prefix);
        self.configure(&root)?;
        for path in &task.copied {
            copy(&self.repository.root().join(path), &root.join(path))?;
        }
        let repository = Repository::open(&root)?;
        let stages = workspace::stages(&root)?;
        let options = CheckoutOptions { force: true, relink: false, allow_missing: true };
        verbs::checkout(&repository, &stages, &Targets::default(), options, &ctx.ui.data_progress())?;
        let chosen = task.selection.resolve_from(&repository, &root.join(&task.folder))?;
        let beginning = Beginning { baseline: baseline.clone(), name: task.name.clone(), force: task.force };
        let runs = self.repository.root().join("mlruns");
        fs::create_dir_all(&runs).map_err(Error::io("create", &runs))?;
        let setting = Setting {
            run_cache: task.run_cache,
            variables: beginning.variables(self.repository.root()),
            home: Some(self.repository),
            writable: vec![runs.clone()],
            label: label.map(str::to_owned),
            cancel: Some(cancel.clone()),
            ..Setting::default()
        };
        let outcome = task.options.run(ctx, &repository, chosen, &setting);
        // Only one that a stage wrote to stays.
        drop(fs::remove_dir(&runs));
        let outcome = outcome?;
        match outcome.as_ref().map(|outcome| outcome.status) {
            Some(Status::Cancelled) => return Ok(End::Cancelled),
            Some(Status::Failed | Status::Waiting) => {
                let why =
                    outcome.and_then(|outcome| outcome.error).unwrap_or_else(|| "it waits for an approval".into());
                return Ok(End::Failed(why));
            }
            None | Some(Status::Succeeded) => {}
        }
        let place = Place { tree: self.tree, files: checkout, repository: &repository };
        let stages = entries_of(outcome.as_ref());
        match place.record(&beginning, &stages, Vec::new(), task.message.as_deref()) {
            Ok(experiment) => Ok(End::Done(experiment)),
            Err(error) if error.kind() == Kind::Conflict => Ok(End::Failed(error.message)),
            Err(error) => Err(error),
        }
    }

    /// The settings of this machine, and the same cache.
    fn configure(&self, root: &Path) -> Result<(), Error> {
        let own = self.repository.dvc_dir().join("config.local");
        let copied = root.join(".dvc/config.local");
        if own.exists() {
            fs::copy(&own, &copied).map_err(Error::io("copy", &own))?;
        }
        let cache = self.repository.cache()?.dir().display().to_string();
        Ok(Config::write(&root.join(".dvc"), Level::Local, "cache", "dir", &cache)?)
    }
}

impl Task {
    /// The message of the commit that has its files: it says how it is run.
    fn commit_message(&self) -> Result<String, Error> {
        let json = serde_json::to_string(self).map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
        Ok(format!("towpath: experiment {} to be run\n\n{json}", self.name))
    }

    /// Nothing when it was written by another version of this program.
    pub fn of_commit_message(message: &str) -> Option<Self> {
        serde_json::from_str(message.split_once("\n\n")?.1.trim()).ok()
    }
}

/// A folder that no other process uses at the same time; it may die with it.
struct Claim {
    checkout: PathBuf,
    lock_path: PathBuf,
    lock: File,
}

impl Claim {
    fn of(checkout: &Path) -> Result<Option<Self>, Error> {
        let lock_path = checkout.with_extension("lock");
        let lock = File::create(&lock_path).map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &lock_path)(error)),
        }
        let claim = Self { checkout: checkout.to_owned(), lock_path, lock };
        claim.clear()?;
        Ok(Some(claim))
    }

    fn clear(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.checkout) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.checkout)(error))
            }
            _ => Ok(()),
        }
    }

    fn release(self) -> Result<(), Error> {
        self.clear()?;
        fs::remove_file(&self.lock_path).map_err(Error::io("remove", &self.lock_path))?;
        drop(self.lock);
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if !from.is_dir() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        return fs::copy(from, to).map(drop).map_err(Error::io("copy", from));
    }
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
