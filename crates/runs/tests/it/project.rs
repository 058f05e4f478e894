//! A project with a repository, and the runs of a server that is not there.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use towpath_core::{Actor, ManualClock, Timestamp};
use towpath_runs::{Capacity, Config, Error, NewVersion, OpenRelease, Runs, projects};
use towpath_store::{Durability, Store, Tx, objects};
use towpath_tracking::artifacts::Artifacts;

/// Nothing is released here.
struct NoRelease;

impl OpenRelease for NoRelease {
    fn open(&self, _: &mut Tx<'_>, _: Timestamp, _: NewVersion<'_>) -> Result<(), Error> {
        Ok(())
    }
}

pub(crate) struct Project {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    pub(crate) runs: Arc<Runs>,
}

pub(crate) const START: &str = "2026-03-02T10:00:00Z";

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

impl Project {
    /// A project `digits` with these files on `main`, at [`START`].
    pub(crate) async fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("towpath.db").display().to_string();
        Self::on(dir, &database, files).await
    }

    pub(crate) async fn on(dir: TempDir, database: &str, files: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::at(at(START)));
        let store = Store::open(database, Arc::clone(&clock) as _).await.unwrap();
        let runs = runs_of(dir.path(), &store, "one");
        let project = Self { dir, clock, store, runs };
        project.add("digits", files).await;
        project
    }

    /// Another project beside it.
    pub(crate) async fn add(&self, name: &str, files: &[(&str, &str)]) {
        let bare = self.dir.path().join(format!("repositories/{name}.git"));
        git(self.dir.path(), &["init", "--quiet", "--bare", "--initial-branch=main", bare.to_str().unwrap()]);
        git(self.dir.path(), &["clone", "--quiet", bare.to_str().unwrap(), name]);
        let owned = name.to_owned();
        let now = self.store.now();
        let made = self.store.write(Durability::Relaxed, move |tx| projects::ensure(tx, now, &owned, &Actor::local()));
        made.await.unwrap();
        towpath_data::Repository::init(&self.dir.path().join(name)).unwrap();
        self.push(name, files).await;
    }

    /// Commits the files and pushes them to `main`.
    pub(crate) async fn push(&self, name: &str, files: &[(&str, &str)]) {
        let tree = self.dir.path().join(name);
        for (path, text) in files {
            std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            std::fs::write(tree.join(path), text).unwrap();
        }
        git(&tree, &["add", "--all"]);
        git(&tree, &["commit", "--quiet", "--message", "files"]);
        self.git(name, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]).await;
    }

    /// A git command in the clone, then what the server does after a push.
    pub(crate) async fn git(&self, name: &str, arguments: &[&str]) {
        git(&self.dir.path().join(name), arguments);
        self.runs.look(name).await.unwrap();
    }

    pub(crate) fn set_time(&self, text: &str) -> Timestamp {
        let to = at(text);
        self.clock.set(to);
        to
    }
}

/// The runs of a server whose data is in `dir`.
pub(crate) fn runs_of(dir: &Path, store: &Store, server: &str) -> Arc<Runs> {
    let config = Config {
        data_dir: dir.join("data"),
        repositories: dir.join("repositories"),
        runs: dir.join("runs"),
        cache: dir.join("cache"),
        environments: dir.join("environments"),
        models: dir.join("models"),
        server_url: "http://127.0.0.1:1".into(),
        slots: 2,
        jobs: 2,
        program: "towpath".into(),
        strict: false,
        capacity: Capacity::of_machine(),
        secrets_key: [7; towpath_store::vault::KEY_LENGTH],
        server: server.into(),
    };
    let artifacts = Artifacts::new(objects::open(&dir.join("artifacts").display().to_string()).unwrap());
    Arc::new(Runs::new(store.clone(), config, artifacts, Arc::new(NoRelease)))
}

fn git(directory: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=ds-1", "-c", "user.email=ds-1@example.org"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
