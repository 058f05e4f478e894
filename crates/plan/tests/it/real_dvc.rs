//! Runs the real `dvc` in a scratch repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Git and DVC repository in a temporary folder.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
    bin: PathBuf,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().expect("a temporary folder"), bin: python_bin() };
        repository.run("git", &["init", "-q"]);
        repository.dvc(&["init", "-q"]);
        repository
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("create the folder");
        std::fs::write(path, text).expect("write the file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// What `dvc` prints; it must succeed.
    pub(crate) fn dvc(&self, arguments: &[&str]) -> String {
        let (succeeded, output) = self.try_dvc(arguments);
        assert!(succeeded, "dvc {arguments:?}: {output}");
        output
    }

    pub(crate) fn try_dvc(&self, arguments: &[&str]) -> (bool, String) {
        let dvc = self.bin.join("dvc");
        self.output(dvc.to_str().expect("the path is UTF-8"), arguments)
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let (succeeded, output) = self.output(program, arguments);
        assert!(succeeded, "{program} {arguments:?}: {output}");
        output
    }

    fn output(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .env("DVC_NO_ANALYTICS", "1")
            .env("DVC_SITE_CACHE_DIR", self.path(".site"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }
}

/// `bin` of the virtual environment named by `TOWPATH_TEST_PYENV`, else of `.venv` of the workspace.
fn python_bin() -> PathBuf {
    let environment = std::env::var_os("TOWPATH_TEST_PYENV")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv"), PathBuf::from);
    let bin = environment.join("bin");
    assert!(
        bin.join("dvc").exists(),
        "no dvc in {}: set TOWPATH_TEST_PYENV to a virtual environment with dvc 3, or run 'make test', which makes one",
        bin.display()
    );
    bin
}
