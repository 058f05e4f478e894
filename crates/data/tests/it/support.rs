//! A repository in a temporary folder, and the real `dvc` beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use towpath_data::config::Level;
use towpath_data::{Config, Error, Repository, Silent, Targets, verbs};

/// The Python environment that holds `dvc`: `TOWPATH_TEST_PYENV`, or `.venv` of the workspace.
pub(crate) fn python_environment() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    std::env::var_os("TOWPATH_TEST_PYENV").map_or_else(default, PathBuf::from)
}

/// Checks everything out; the outputs that changed.
pub(crate) fn check_out(project: &Project, force: bool) -> Result<Vec<String>, Error> {
    let options = verbs::CheckoutOptions { force, ..verbs::CheckoutOptions::default() };
    verbs::checkout(&project.repository(), &[], &Targets::default(), options, &Silent).map(|done| done.changed())
}

/// A Git repository with DVC's files, and room beside it.
pub(crate) struct Project {
    dir: TempDir,
}

impl Project {
    /// Initialised by us.
    pub(crate) fn ours() -> Self {
        let project = Self::empty();
        project.git(&["init", "-q"]);
        Repository::init(&project.root()).unwrap();
        project
    }

    /// Initialised by real `dvc`.
    pub(crate) fn by_dvc() -> Self {
        let project = Self::empty();
        project.git(&["init", "-q"]);
        project.dvc(&["init", "-q"]);
        project
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("project")).unwrap();
        Self { dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// A path beside the repository.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::open(&self.root()).unwrap()
    }

    /// Sets keys such as `core.remote` or `remote.name.url` in the configuration that Git keeps.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) {
        for (setting, value) in settings {
            let (section, key) = setting.rsplit_once('.').unwrap();
            let section = match section.split_once('.') {
                Some((kind, name)) => format!("{kind} \"{name}\""),
                None => section.to_owned(),
            };
            Config::write(&self.repository().dvc_dir(), Level::Repository, &section, key, value).unwrap();
        }
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// Runs real `dvc` here; fails the test if it fails.
    pub(crate) fn dvc(&self, args: &[&str]) -> String {
        let output = self.try_dvc(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dvc {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_dvc(&self, args: &[&str]) -> Output {
        self.dvc_command(args).output().unwrap()
    }

    /// Real `dvc`, to be run here.
    pub(crate) fn dvc_command(&self, args: &[&str]) -> Command {
        let program = python_environment().join("bin/dvc");
        assert!(program.exists(), "no dvc at {}: set TOWPATH_TEST_PYENV", program.display());
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root());
        command.env("DVC_NO_ANALYTICS", "1").env("DVC_SITE_CACHE_DIR", self.dir.path().join("site"));
        command.env("DVC_GLOBAL_CONFIG_DIR", self.dir.path().join("none"));
        command
    }

    pub(crate) fn git(&self, args: &[&str]) {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").args(identity).args(args).current_dir(self.root()).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A second clone: what Git has of this one, without cache and data.
    pub(crate) fn clone_of_git(&self) -> Self {
        self.git(&["add", "-A"]);
        self.git(&["commit", "--allow-empty", "-qm", "state"]);
        let clone = Self { dir: tempfile::tempdir().unwrap() };
        let origin = self.root();
        let target = clone.root();
        let args = ["clone", "-q", origin.to_str().unwrap(), target.to_str().unwrap()];
        let output = Command::new("git").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        clone
    }
}
