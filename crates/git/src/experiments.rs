//! DVC's experiments: commits on top of the commit they began from, at
//! `refs/exps/<2 digits>/<38 digits>/<name>` of that commit (dvc 3.67, `repo/experiments/refs.py`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Git;
use crate::id::{checked_path, checked_reference, is_valid_reference};
use crate::{CommitId, Error, Repository, WorkTree};

/// The namespace of all that belongs to experiments.
pub const NAMESPACE: &str = "refs/exps";

/// A work tree of many files, or a network.
const DEADLINE: Duration = Duration::from_mins(10);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Experiment {
    pub name: String,
    /// The commit it began from.
    pub baseline: CommitId,
    pub commit: CommitId,
}

impl Experiment {
    pub fn reference(&self) -> String {
        reference(&self.baseline, &self.name)
    }

    /// Of a ref without its namespace; nothing for refs of other kinds.
    fn of(below: &str, commit: CommitId) -> Option<Self> {
        let mut parts = below.split('/');
        let (start, rest, name) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || start.len() != 2 {
            return None;
        }
        Some(Self { name: name.to_owned(), baseline: format!("{start}{rest}").parse().ok()?, commit })
    }
}

/// The full name of the ref of an experiment.
pub fn reference(baseline: &CommitId, name: &str) -> String {
    let (start, rest) = baseline.as_str().split_at(2);
    format!("{NAMESPACE}/{start}/{rest}/{name}")
}

/// True for what can be the name of an experiment.
pub fn is_valid_name(name: &str) -> bool {
    !name.contains('/') && is_valid_reference(name)
}

/// The files of a work tree as a commit shall have them.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'s> {
    /// The work tree: the clone itself, or a checkout of one of its commits.
    pub files: &'s Path,
    /// Files and folders to take although Git does not track them or ignores them.
    pub also: &'s [String],
    /// Content that stands for that of the work tree.
    pub replaced: &'s [(String, Vec<u8>)],
}

/// What became of a ref that was pushed or fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Done,
    UpToDate,
    /// The other side has another commit at it.
    Diverged,
}

impl Repository {
    /// All experiments that were pushed here, by baseline and name.
    pub fn experiments(&self) -> Result<Vec<Experiment>, Error> {
        let format = "--format=%(objectname) %(objecttype) %(refname)";
        let text = self.git("for-each-ref").args([format, NAMESPACE]).text()?;
        let one = |line: &str| {
            let (id, name) = line.split_once(" commit ")?;
            Experiment::of(name.strip_prefix(NAMESPACE)?.strip_prefix('/')?, id.parse().ok()?)
        };
        Ok(text.lines().filter_map(one).collect())
    }
}

impl WorkTree {
    /// All experiments, by baseline and name.
    pub fn experiments(&self) -> Result<Vec<Experiment>, Error> {
        let found = self.references(NAMESPACE)?;
        Ok(found.into_iter().filter_map(|(below, commit)| Experiment::of(&below, commit)).collect())
    }

    /// Those of a remote, by name or address.
    pub fn remote_experiments(&self, remote: &str) -> Result<Vec<Experiment>, Error> {
        let listing = self.git("ls-remote").args(["--refs", "--end-of-options", checked_remote(remote)?]);
        let text = listing.arg(format!("{NAMESPACE}/*")).env("GIT_TERMINAL_PROMPT", "0").deadline(DEADLINE).text()?;
        let mut found = Vec::new();
        for line in text.lines() {
            let Some((id, name)) = line.split_once('\t') else { continue };
            let below = name.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix('/'));
            found.extend(below.map(|below| Ok::<_, Error>(Experiment::of(below, id.parse()?))).transpose()?.flatten());
        }
        Ok(found)
    }

    /// Commits the files of a work tree on top of `parent`, past its index and its branch: what it has
    /// staged, what changed of the files that Git tracks, and what is named. No ref points at it yet.
    pub fn commit_snapshot(
        &self,
        snapshot: &Snapshot<'_>,
        parent: &CommitId,
        message: &str,
    ) -> Result<CommitId, Error> {
        let git_dir = PathBuf::from(self.git("rev-parse").arg("--absolute-git-dir").text()?);
        let of_files = Git::of_user(snapshot.files, "rev-parse").args(["--git-path", "index"]).text()?;
        let scratch = Scratch::beside(&git_dir, &snapshot.files.join(of_files))?;
        let git = |what: &str| {
            let git = Git::of_user(snapshot.files, what).deadline(DEADLINE).env("GIT_LITERAL_PATHSPECS", "1");
            git.env_path("GIT_DIR", &git_dir)
                .env_path("GIT_WORK_TREE", snapshot.files)
                .env_path("GIT_INDEX_FILE", &scratch.index)
        };
        git("add").arg("--update").bytes()?;
        let there = |path: &&String| snapshot.files.join(path).symlink_metadata().is_ok();
        let also: Vec<&str> = snapshot.also.iter().filter(there).map(String::as_str).collect();
        if !also.is_empty() {
            let paths = also.iter().map(|path| checked_path(path)).collect::<Result<Vec<_>, _>>()?.join("\0");
            let add = git("add").args(["--force", "--pathspec-from-file=-", "--pathspec-file-nul"]);
            add.stdin(paths.into_bytes()).bytes()?;
        }
        for (path, content) in snapshot.replaced {
            let blob = git("hash-object").args(["-w", "--stdin"]).stdin(content.clone()).text()?;
            let entry = format!("100644,{blob},{}", checked_path(path)?);
            git("update-index").args(["--add", "--cacheinfo", &entry]).bytes()?;
        }
        let tree = git("write-tree").text()?;
        let mut commit = git("commit-tree").args([&tree, "-p", parent.as_str(), "-m", message]);
        for (key, value) in self.missing_identity()? {
            commit = commit.config(key, value);
        }
        commit.text()?.parse()
    }

    /// Points a ref (a full name) at a commit. With `expected`, only from there: `Some(None)` is a ref
    /// that does not exist.
    ///
    /// # Errors
    /// [`Error::Failed`] when it is not where it was expected.
    pub fn point(
        &self,
        reference: &str,
        commit: &CommitId,
        expected: Option<Option<&CommitId>>,
        why: &str,
    ) -> Result<(), Error> {
        let update = self.git("update-ref").args(["-m", why, checked_full(reference)?, commit.as_str()]);
        let update = match expected {
            None => update,
            Some(None) => update.arg(""),
            Some(Some(expected)) => update.arg(expected.as_str()),
        };
        update.bytes().map(drop)
    }

    /// One that is not there is no error.
    pub fn delete_reference(&self, reference: &str) -> Result<(), Error> {
        self.git("update-ref").args(["-d", checked_full(reference)?]).bytes().map(drop)
    }

    /// The commit at a ref, by its full name; `None` when there is none.
    pub fn at_reference(&self, reference: &str) -> Result<Option<CommitId>, Error> {
        let output = self.git("rev-parse").args(["--verify", "--quiet", checked_full(reference)?]).run()?;
        match output.code {
            Some(0) => String::from_utf8_lossy(&output.stdout).trim().parse().map(Some),
            _ => Ok(None),
        }
    }

    /// The message of a commit.
    pub fn message(&self, commit: &CommitId) -> Result<String, Error> {
        self.git("log").args(["--no-walk", "--format=%B", commit.as_str()]).text()
    }

    /// When a commit was made, in seconds since 1970.
    pub fn committed_at(&self, commit: &CommitId) -> Result<i64, Error> {
        let text = self.git("log").args(["--no-walk", "--format=%ct", commit.as_str()]).text()?;
        text.parse().map_err(|_| Error::Unexpected { what: "log", answer: text })
    }

    /// Up to `count` commits from `start` back along the first parents, newest first; `None`: all.
    pub fn first_parents(&self, start: &CommitId, count: Option<usize>) -> Result<Vec<CommitId>, Error> {
        let mut list = self.git("rev-list").arg("--first-parent");
        if let Some(count) = count {
            list = list.arg(format!("--max-count={count}"));
        }
        list.arg(start.as_str()).text()?.lines().map(str::parse).collect()
    }

    /// Every commit that a branch, a tag or another ref leads to, newest first; experiments left out.
    pub fn commits_of_history(&self) -> Result<Vec<CommitId>, Error> {
        let list = self.git("rev-list").args(["--exclude=refs/exps/*", "--exclude=refs/towpath/*", "--all", "HEAD"]);
        list.deadline(DEADLINE).text()?.lines().map(str::parse).collect()
    }

    /// Writes the files of a commit over those of the work tree; others stay. Neither the branch nor
    /// the index move: what differs from `HEAD` is a change of the work tree.
    pub fn lay_over(&self, commit: &CommitId) -> Result<(), Error> {
        self.git("checkout").args(["--quiet", commit.as_str(), "--", "."]).deadline(DEADLINE).bytes()?;
        self.git("reset").args(["--quiet"]).deadline(DEADLINE).bytes().map(drop)
    }

    /// A checkout of `commit` in the new folder `dir` with a repository of its own, which borrows the
    /// objects of this one. Its `HEAD` is `head`: the differences are staged.
    pub fn borrow_into(&self, dir: &Path, head: &CommitId, commit: &CommitId) -> Result<WorkTree, Error> {
        let clone = Git::of_user(&self.root, "clone").args(["--quiet", "--shared", "--no-checkout"]);
        clone.arg(&self.root).arg(dir).deadline(DEADLINE).bytes()?;
        Git::of_user(dir, "update-ref").args(["--no-deref", "HEAD", head.as_str()]).bytes()?;
        let read = Git::of_user(dir, "read-tree").args(["--reset", "-u", commit.as_str()]);
        read.deadline(DEADLINE).bytes()?;
        Ok(Self::at(dir.to_owned()))
    }

    /// Pushes refs to the same names of a remote, past the hooks; without `force` only where it has none or
    /// an ancestor.
    pub fn push_references(&self, remote: &str, references: &[String], force: bool) -> Result<Vec<Sent>, Error> {
        let specs = references.iter().map(|reference| Ok(format!("{0}:{0}", checked_full(reference)?)));
        let specs = specs.collect::<Result<Vec<_>, Error>>()?;
        let mut push =
            self.git("push").args(["--porcelain", "--no-verify"]).env("GIT_TERMINAL_PROMPT", "0").deadline(DEADLINE);
        if force {
            push = push.arg("--force");
        }
        let output = push.args(["--end-of-options", checked_remote(remote)?]).args(&specs).run()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |spec: &String| {
            // `<flag>\t<from>:<to>\t<summary>`
            let line = said.lines().find(|line| line.split('\t').nth(1) == Some(spec))?;
            match line.chars().next()? {
                '=' => Some(Sent::UpToDate),
                '!' if line.contains("non-fast-forward") || line.contains("fetch first") => Some(Sent::Diverged),
                '!' => None,
                _ => Some(Sent::Done),
            }
        };
        let failed = || Error::Failed { what: "push".into(), code: output.code, stderr: output.stderr.clone() };
        specs.iter().map(|spec| of(spec).ok_or_else(failed)).collect()
    }

    /// Deletes refs of a remote.
    pub fn delete_remote_references(&self, remote: &str, references: &[String]) -> Result<(), Error> {
        let specs = references.iter().map(|reference| Ok(format!(":{}", checked_full(reference)?)));
        let specs = specs.collect::<Result<Vec<_>, Error>>()?;
        let push = self.git("push").args(["--quiet", "--no-verify", "--end-of-options", checked_remote(remote)?]);
        push.args(&specs).env("GIT_TERMINAL_PROMPT", "0").deadline(DEADLINE).bytes().map(drop)
    }

    /// Fetches the commits of experiments of a remote. No ref points at them yet.
    pub fn fetch_commits(&self, remote: &str, experiments: &[Experiment]) -> Result<(), Error> {
        let references = experiments.iter().map(Experiment::reference);
        let fetch = self.git("fetch").args(["--quiet", "--no-tags", "--end-of-options", checked_remote(remote)?]);
        fetch.args(references).env("GIT_TERMINAL_PROMPT", "0").deadline(DEADLINE).bytes().map(drop)
    }
}

/// A full name below `refs/`.
fn checked_full(reference: &str) -> Result<&str, Error> {
    if checked_reference(reference)?.starts_with("refs/") {
        Ok(reference)
    } else {
        Err(Error::InvalidReference(reference.to_owned()))
    }
}

/// The name of a remote, or an address.
fn checked_remote(remote: &str) -> Result<&str, Error> {
    if remote.is_empty() || remote.starts_with('-') || remote.contains(|c: char| c.is_control()) {
        return Err(Error::InvalidUrl(remote.to_owned()));
    }
    Ok(remote)
}

/// A copy of an index, removed when dropped.
struct Scratch {
    index: PathBuf,
}

impl Scratch {
    fn beside(git_dir: &Path, of: &Path) -> Result<Self, Error> {
        let index = git_dir.join(format!("towpath-index-{}", towpath_core::ids::new_id()));
        let scratch = Self { index };
        match fs::copy(of, &scratch.index) {
            Ok(_) => Ok(scratch),
            // Nothing is tracked yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(scratch),
            Err(source) => Err(Error::Io { action: "copy", path: of.to_owned(), source }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written.
        drop(fs::remove_file(&self.index));
        drop(fs::remove_file(self.index.with_extension("lock")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_is_an_experiment_when_it_names_a_commit_and_a_name() {
        let id: CommitId = "819071d0819071d0819071d0819071d0819071d0".parse().unwrap();
        let experiment = Experiment { name: "quick-fox".into(), baseline: id.clone(), commit: id.clone() };
        assert_eq!(experiment.reference(), "refs/exps/81/9071d0819071d0819071d0819071d0819071d0/quick-fox");
        let below = "81/9071d0819071d0819071d0819071d0819071d0/quick-fox";
        assert_eq!(Experiment::of(below, id.clone()), Some(experiment));
        for other in ["exec/EXEC_HEAD", "stash", "81/9071d0/x", "81/9071d0819071d0819071d0819071d0819071d0/a/b"] {
            assert_eq!(Experiment::of(other, id.clone()), None, "{other}");
        }
        assert!(is_valid_name("a-1") && !is_valid_name("a/b") && !is_valid_name("-x") && !is_valid_name(""));
    }
}
