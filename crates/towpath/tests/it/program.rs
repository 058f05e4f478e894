//! The program in a home of its own, without a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) struct Home {
    dir: tempfile::TempDir,
    /// Where commands run.
    folder: PathBuf,
}

impl Home {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap().join("work");
        fs::create_dir(&folder).unwrap();
        Self { dir, folder }
    }

    /// A Git repository with versioned data.
    pub(crate) fn repository() -> Self {
        let home = Self::new();
        home.git(&["init", "--quiet", "--initial-branch=main"]);
        home.ok(&["init"]);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Beside the folder that commands run in.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        // Nobody listens on port 1.
        command.env("HOME", self.outside("home")).env("TOWPATH_SERVER", "http://127.0.0.1:1");
        command
    }

    pub(crate) fn towpath(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_towpath"));
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.towpath(arguments).output().unwrap()
    }

    /// What it prints; it must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "towpath {}: {}", arguments.join(" "), text(&output.stderr));
        text(&output.stdout)
    }

    /// Exit code and what it says.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "towpath {} succeeded: {}", arguments.join(" "), text(&output.stdout));
        (output.status.code().unwrap(), text(&output.stderr))
    }

    /// Commits everything.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", message]);
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = self.command("git").args(arguments).output().unwrap();
        assert!(output.status.success(), "git {}: {}", arguments.join(" "), text(&output.stderr));
        text(&output.stdout)
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
