//! A user's clone, for the command line: the user's configuration, hooks and credentials apply.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Git;
use crate::id::checked_reference;
use crate::{CommitId, Error};

/// Fetching talks to a network.
const FETCH_DEADLINE: Duration = Duration::from_mins(10);

#[derive(Clone, Debug)]
pub struct WorkTree {
    root: PathBuf,
}

impl WorkTree {
    /// The work tree that `dir` lies in.
    pub fn discover(dir: &Path) -> Result<Self, Error> {
        let output = Git::of_user(dir, "rev-parse").arg("--show-toplevel").run()?;
        match output.code {
            Some(0) => Ok(Self { root: PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n')) }),
            _ => Err(Error::NotARepository(dir.to_owned())),
        }
    }

    /// A new repository in `dir` (made if missing) with an empty branch `main`.
    pub fn init(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Io { action: "create", path: dir.to_owned(), source })?;
        Git::of_user(dir, "init").args(["--quiet", "--initial-branch=main"]).bytes()?;
        Ok(Self { root: dir.to_owned() })
    }

    /// Clones `url` into `dir`, without its submodules.
    pub fn clone_from(url: &str, dir: &Path) -> Result<Self, Error> {
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Git::of_user(parent, "clone")
            .args(["--quiet", "--end-of-options", url])
            .arg(std::path::absolute(dir).map_err(|source| Error::Io {
                action: "find",
                path: dir.to_owned(),
                source,
            })?)
            .deadline(FETCH_DEADLINE)
            .bytes()?;
        Ok(Self { root: dir.to_owned() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn git(&self, what: &str) -> Git {
        Git::of_user(&self.root, what)
    }

    /// The branch that is checked out; `None` when `HEAD` is detached.
    pub fn branch(&self) -> Result<Option<String>, Error> {
        let output = self.git("symbolic-ref").args(["--quiet", "--short", "HEAD"]).run()?;
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.code == Some(0) && !name.is_empty()).then_some(name))
    }

    /// The commit that is checked out; `None` before the first one.
    pub fn head(&self) -> Result<Option<CommitId>, Error> {
        let output = self.git("rev-parse").args(["--verify", "--quiet", "HEAD^{commit}"]).run()?;
        match output.code {
            Some(0) => String::from_utf8_lossy(&output.stdout).trim().parse().map(Some),
            _ => Ok(None),
        }
    }

    /// The commit that a branch, tag or ref names.
    pub fn resolve(&self, revision: &str) -> Result<CommitId, Error> {
        checked_reference(revision)?;
        let commit = format!("{revision}^{{commit}}");
        let output = self.git("rev-parse").args(["--verify", "--quiet", "--end-of-options", &commit]).run()?;
        match output.code {
            Some(0) => String::from_utf8_lossy(&output.stdout).trim().parse(),
            _ => Err(Error::NoSuchCommit(revision.to_owned())),
        }
    }

    /// Where a remote points; `None` when there is no such remote.
    pub fn remote_url(&self, remote: &str) -> Result<Option<String>, Error> {
        let output = self.git("remote").args(["get-url", checked_reference(remote)?]).run()?;
        Ok((output.code == Some(0)).then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }

    pub fn add_remote(&self, remote: &str, url: &str) -> Result<(), Error> {
        self.git("remote").args(["add", checked_reference(remote)?, url]).bytes().map(drop)
    }

    /// The folder that Git looks for hooks in (`core.hooksPath` respected).
    pub fn hooks_dir(&self) -> Result<PathBuf, Error> {
        Ok(self.root.join(self.git("rev-parse").args(["--git-path", "hooks"]).text()?))
    }

    /// Fetches a ref and returns the commit it points at.
    pub fn fetch(&self, remote: &str, reference: &str) -> Result<CommitId, Error> {
        self.git("fetch")
            .args(["--quiet", "--end-of-options", checked_reference(remote)?, checked_reference(reference)?])
            .deadline(FETCH_DEADLINE)
            .bytes()?;
        self.resolve("FETCH_HEAD")
    }

    /// Merges a commit into the current branch; a conflict is undone and an error.
    pub fn merge(&self, commit: &CommitId, message: &str) -> Result<(), Error> {
        let merged = self.git("merge").args(["--quiet", "--no-edit", "-m", message, commit.as_str()]).bytes();
        if merged.is_err() {
            // Fails when there is nothing to abort: the merge was refused before it began.
            drop(self.git("merge").arg("--abort").run());
        }
        merged.map(drop)
    }

    /// Checks a commit out, detached.
    pub fn checkout(&self, commit: &CommitId) -> Result<(), Error> {
        self.git("checkout").args(["--quiet", "--detach", commit.as_str()]).bytes().map(drop)
    }

    /// Commits everything that is not ignored.
    pub fn commit_all(&self, message: &str) -> Result<CommitId, Error> {
        self.git("add").arg("--all").bytes()?;
        self.git("commit").args(["--quiet", "--message", message]).bytes()?;
        self.resolve("HEAD")
    }

    /// True when no tracked file differs from `HEAD`.
    pub fn is_clean(&self) -> Result<bool, Error> {
        Ok(self.git("status").args(["--porcelain", "--untracked-files=no"]).text()?.is_empty())
    }
}
