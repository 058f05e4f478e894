//! A repository with a pipeline, and a journal that remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use towpath_checks::{Baseline, Verdict};
use towpath_core::project::Approvals;
use towpath_pipeline::{
    Cancel, Environments, Error, Event, Journal, JournalError, Local, Outcome, Permission, Request, StageStatus,
    Variable,
};
use towpath_plan::pipeline::Stage;

/// Two stages: `prepare` copies lines, `train` counts them with a parameter.
pub(crate) const PIPELINE: &str = "\
stages:
  prepare:
    cmd: grep -v '^#' data/raw.csv > data/clean.csv
    deps:
    - data/raw.csv
    outs:
    - data/clean.csv
  train:
    cmd:
    - mkdir -p model
    - wc -l < data/clean.csv > model/weights
    - echo '{\"loss\":' $(grep -o '[0-9.]*$' params.yaml)'}' > metrics.json
    deps:
    - data/clean.csv
    params:
    - lr
    outs:
    - model
    metrics:
    - metrics.json:
        cache: false
";

pub(crate) struct Repo {
    dir: tempfile::TempDir,
    pub(crate) journal: Remembering,
    pub(crate) cancel: Cancel,
}

impl Repo {
    /// With the files of [`PIPELINE`], under git and dvc.
    pub(crate) fn new() -> Self {
        let repo = Self::with(PIPELINE);
        repo.write("data/raw.csv", "x\n# comment\n1\n2\n");
        repo.write("params.yaml", "lr: 0.1\n");
        repo
    }

    /// With another pipeline and no other file.
    pub(crate) fn with(pipeline: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Self { dir, journal: Remembering::default(), cancel: Cancel::new().unwrap() };
        fs::create_dir(repo.root()).unwrap();
        let init = Command::new("git").args(["init", "-q"]).current_dir(repo.root()).status().unwrap();
        assert!(init.success());
        towpath_data::Repository::init(&repo.root()).unwrap();
        repo.write("dvc.yaml", pipeline);
        repo
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("checkout")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.root().join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    pub(crate) fn track(&self, path: &str) {
        let repository = towpath_data::Repository::open(&self.root()).unwrap();
        towpath_data::verbs::add(&repository, &[path.into()], &[], &towpath_data::Silent).unwrap();
    }

    pub(crate) fn request(&self) -> Request {
        let outside = self.outside();
        let environments = Environments::new(outside.join("environments"));
        let mut request = Request::new(self.root(), environments, outside.join("logs"), outside.join("scratch"));
        request.grace = std::time::Duration::from_millis(200);
        request
    }

    pub(crate) fn try_run(&self, request: &Request) -> Result<Outcome, Error> {
        self.journal.why.lock().unwrap().clear();
        towpath_pipeline::run(request, &self.journal, &Local, &self.cancel)
    }

    pub(crate) fn run(&self) -> Outcome {
        self.try_run(&self.request()).unwrap()
    }

    pub(crate) fn why(&self, stage: &str) -> String {
        self.journal.why.lock().unwrap()[stage].clone()
    }

    pub(crate) fn log(&self, stage: &str) -> Vec<String> {
        let page = towpath_pipeline::log::read(&self.request().log_of(stage), 0, 10_000).unwrap();
        page.lines.into_iter().map(|l| l.text).collect()
    }
}

pub(crate) fn statuses(outcome: &Outcome) -> Vec<(&str, StageStatus)> {
    outcome.stages.iter().map(|s| (s.stage.as_str(), s.status)).collect()
}

/// Remembers what a server would write to its database.
#[derive(Default)]
pub(crate) struct Remembering {
    pub(crate) why: Mutex<BTreeMap<String, String>>,
    pub(crate) baselines: Mutex<BTreeMap<String, Baseline>>,
    pub(crate) verdicts: Mutex<BTreeMap<(String, String, String), Verdict>>,
    pub(crate) evaluated: Mutex<u32>,
    pub(crate) environments: Mutex<Vec<String>>,
    pub(crate) variables: Mutex<Vec<Variable>>,
    /// Of stages that need an approval; the others are granted.
    pub(crate) permissions: Mutex<BTreeMap<String, Permission>>,
    /// Stages at whose end the database is gone.
    pub(crate) breaks_after: Mutex<BTreeSet<String>>,
}

impl Journal for Remembering {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        match event {
            Event::Decided { stage, decision, .. } => {
                self.why.lock().unwrap().insert(stage.name.clone(), decision.why.clone());
            }
            Event::Checked(check) => {
                let key = (check.name.clone(), check.data_hash.clone(), check.suite_hash.clone());
                self.verdicts.lock().unwrap().insert(key, check.verdict.clone());
            }
            Event::Environment(environment) => {
                self.environments.lock().unwrap().push(environment.hash.to_string());
            }
            Event::Finished(outcome) if self.breaks_after.lock().unwrap().remove(&outcome.stage) => {
                return Err("the database is gone".into());
            }
            _ => {}
        }
        Ok(())
    }

    fn stage_variables(&self, _stage: &Stage) -> Result<Vec<Variable>, JournalError> {
        Ok(self.variables.lock().unwrap().clone())
    }

    fn permission(&self, stage: &Stage, _approval: &Approvals) -> Result<Permission, JournalError> {
        Ok(self.permissions.lock().unwrap().get(&stage.name).cloned().unwrap_or(Permission::Granted))
    }

    fn baseline(&self, check: &str) -> Result<Option<Baseline>, JournalError> {
        *self.evaluated.lock().unwrap() += 1;
        Ok(self.baselines.lock().unwrap().get(check).cloned())
    }

    fn save_baseline(&self, check: &str, baseline: &Baseline) -> Result<(), JournalError> {
        self.baselines.lock().unwrap().insert(check.to_owned(), baseline.clone());
        Ok(())
    }

    fn verdict(&self, check: &str, data: &str, suite: &str) -> Result<Option<Verdict>, JournalError> {
        let key = (check.to_owned(), data.to_owned(), suite.to_owned());
        Ok(self.verdicts.lock().unwrap().get(&key).cloned())
    }
}

/// The real client: of the environment named by `TOWPATH_TEST_PYENV`, or of `.venv` in the root of
/// the workspace.
pub(crate) fn dvc(dir: &Path, args: &[&str]) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    let environment = std::env::var_os("TOWPATH_TEST_PYENV").map_or(workspace, PathBuf::from);
    let program = environment.join("bin/dvc");
    assert!(program.exists(), "no {}: `make test` installs it", program.display());
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("DVC_NO_ANALYTICS", "1")
        .env("DVC_SITE_CACHE_DIR", dir.parent().unwrap().join("dvc-site"))
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "dvc {args:?}: {text}");
    text
}
