//! Repositories as the server and the command line use them, with the real `git`.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failing test")]

mod hosting;
mod repository;
mod worktree;

use std::fs;
use std::path::Path;
use std::process::Command;

/// A clone with one commit per entry, pushed to `main` of a hosted repository.
struct Fixture {
    dir: tempfile::TempDir,
    bare: towpath_git::Repository,
}

impl Fixture {
    fn new(commits: &[(&str, &str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bare = towpath_git::Repository::init_bare(&dir.path().join("digits.git")).unwrap();
        let fixture = Self { dir, bare };
        git(fixture.dir.path(), &["init", "-q", "-b", "main", "clone"]);
        for (path, text, message) in commits {
            fixture.commit(path, text, message);
        }
        if !commits.is_empty() {
            fixture.git(&["push", "-q", "../digits.git", "main"]);
        }
        fixture
    }

    fn clone(&self) -> std::path::PathBuf {
        self.dir.path().join("clone")
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.clone(), args)
    }

    fn commit(&self, path: &str, text: &str, message: &str) -> towpath_git::CommitId {
        let file = self.clone().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
