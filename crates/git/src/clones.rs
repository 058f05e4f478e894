//! Bare clones of repositories at other addresses, kept between commands; only what was asked for is
//! fetched.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use towpath_core::Digest;

use crate::command::Git;
use crate::{CommitId, Error};

/// To fetch, or to wait for another process that does.
const FETCH_DEADLINE: Duration = Duration::from_mins(10);
const CHECKOUT_DEADLINE: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(100);

/// What is kept of the repository at one address. The user's configuration and credentials apply;
/// nobody is asked for a password.
#[derive(Debug)]
pub struct BareClone {
    url: String,
    dir: PathBuf,
    /// One process at a time fetches; unlocked when dropped.
    _lock: File,
}

impl BareClone {
    /// The clone of `url` below `clones`, which is made if missing. Nothing is fetched yet.
    pub fn open(clones: &Path, url: &str) -> Result<Self, Error> {
        if url.is_empty() || url.starts_with('-') || url.contains(|c: char| c.is_control()) {
            return Err(Error::InvalidUrl(url.to_owned()));
        }
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        fs::create_dir_all(clones).map_err(io("create", clones))?;
        let name = Digest::of(url.as_bytes()).to_string();
        let dir = clones.join(&name);
        let lock_path = clones.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(io("open", &lock_path))?;
        let started = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < FETCH_DEADLINE => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::TimedOut { what: "fetch of another process".into(), deadline: FETCH_DEADLINE });
                }
                Err(TryLockError::Error(source)) => return Err(io("lock", &lock_path)(source)),
            }
        }
        // Making it again does no harm, and mends what was interrupted.
        Git::of_user(clones, "init").args(["--quiet", "--bare", "--template="]).arg(&dir).bytes()?;
        Ok(Self { url: url.to_owned(), dir, _lock: lock })
    }

    fn git(&self, what: &str) -> Git {
        let git = Git::of_user(&self.dir, what).env("GIT_DIR", ".").env("GIT_TERMINAL_PROMPT", "0");
        git.config("safe.bareRepository", "all").config("core.hooksPath", "/dev/null").deadline(FETCH_DEADLINE)
    }

    /// The commit that a branch, a tag, a commit id or another expression of Git names; without one
    /// the head of the default branch. Of branches and tags this is what the other side has now.
    pub fn resolve(&self, revision: Option<&str>) -> Result<CommitId, Error> {
        let Some(revision) = revision else {
            self.fetch(&["--depth=1", "--no-tags"], &["HEAD"])?;
            return self
                .parse("FETCH_HEAD")?
                .ok_or_else(|| Error::NoSuchRevision { revision: "HEAD".to_owned(), url: self.url.clone() });
        };
        let unknown = || Error::NoSuchRevision { revision: revision.to_owned(), url: self.url.clone() };
        if revision.starts_with(['-', '+']) || revision.contains(|c: char| c.is_control() || c == ':') {
            return Err(unknown());
        }
        if let (Ok(_), Some(commit)) = (revision.parse::<CommitId>(), self.parse(revision)?) {
            return Ok(commit);
        }
        if self.fetch(&["--depth=1", "--no-tags"], &[revision]).is_ok() {
            return self.parse("FETCH_HEAD")?.ok_or_else(unknown);
        }
        // A shortened id or an expression such as `v1~2`: only the whole history can tell.
        let shallow = self.git("rev-parse").arg("--is-shallow-repository").text()? == "true";
        let options: &[&str] = if shallow { &["--unshallow", "--prune"] } else { &["--prune"] };
        self.fetch(options, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
        self.parse(revision)?.ok_or_else(unknown)
    }

    fn fetch(&self, options: &[&str], wanted: &[&str]) -> Result<(), Error> {
        let fetched = self.git("fetch").arg("--quiet").args(options).args(["--end-of-options", &self.url]).args(wanted);
        match fetched.bytes() {
            Err(Error::Failed { stderr, .. }) => Err(Error::CannotFetch { url: self.url.clone(), stderr }),
            other => other.map(drop),
        }
    }

    fn parse(&self, revision: &str) -> Result<Option<CommitId>, Error> {
        let commit = format!("{revision}^{{commit}}");
        let output = self.git("rev-parse").args(["--verify", "--quiet", "--end-of-options", &commit]).run()?;
        match output.code {
            Some(0) => String::from_utf8_lossy(&output.stdout).trim().parse().map(Some),
            _ => Ok(None),
        }
    }

    /// Writes the files of a commit into `dir`, which must be empty.
    pub fn checkout(&self, commit: &CommitId, dir: &Path) -> Result<(), Error> {
        let index = tempfile_beside(dir);
        let git = |what: &str| {
            let git = self.git(what).env("GIT_INDEX_FILE", &index).env("GIT_WORK_TREE", &dir.display().to_string());
            git.deadline(CHECKOUT_DEADLINE)
        };
        let done = git("read-tree").arg(commit.as_str()).bytes().and_then(|_| {
            let prefix = format!("--prefix={}/", dir.display());
            git("checkout-index").args(["--all", "--force", "--quiet", &prefix]).bytes()
        });
        // Never made when the commit could not be read.
        drop(fs::remove_file(&index));
        done.map(drop)
    }
}

/// Git's list of files while it checks out: beside the folder, not in it.
fn tempfile_beside(dir: &Path) -> String {
    format!("{}.index", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkTree;

    #[test]
    fn revisions_are_fetched_as_they_are_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let origin = WorkTree::init(&home.path().join("origin")).unwrap();
        let commit = |text: &str| {
            fs::write(origin.root().join("a"), text).unwrap();
            origin.commit_all(text).unwrap()
        };
        let (first, second) = (commit("1"), commit("2"));
        let url = origin.root().display().to_string();
        let clones = home.path().join("clones");
        let clone = BareClone::open(&clones, &url).unwrap();
        assert_eq!(clone.resolve(None).unwrap(), second);
        assert_eq!(clone.resolve(Some("main")).unwrap(), second);
        assert_eq!(clone.resolve(Some("main~1")).unwrap(), first);
        assert_eq!(clone.resolve(Some(&first.as_str()[..8])).unwrap(), first);

        let dir = home.path().join("checkout");
        fs::create_dir(&dir).unwrap();
        clone.checkout(&first, &dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");

        let third = commit("3");
        assert_eq!(clone.resolve(Some("main")).unwrap(), third);
        drop(clone);
        assert_eq!(BareClone::open(&clones, &url).unwrap().resolve(Some(third.as_str())).unwrap(), third);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let home = tempfile::tempdir().unwrap();
        let gone = BareClone::open(&home.path().join("clones"), "/no/such/repository").unwrap();
        let error = gone.resolve(None).unwrap_err();
        assert!(error.to_string().contains("/no/such/repository"), "{error}");
        let origin = WorkTree::init(&home.path().join("origin")).unwrap();
        origin.commit_all("empty").unwrap_err();
        fs::write(origin.root().join("a"), "a").unwrap();
        origin.commit_all("a").unwrap();
        let clone = BareClone::open(&home.path().join("clones"), &origin.root().display().to_string()).unwrap();
        for wrong in ["v9", "--upload-pack=touch x", "a:b"] {
            let error = clone.resolve(Some(wrong)).unwrap_err();
            assert!(matches!(&error, Error::NoSuchRevision { revision, .. } if revision == wrong), "{error}");
        }
        assert!(BareClone::open(&home.path().join("clones"), "--upload-pack=x").is_err());
    }
}
