//! A bare repository of the server: its making, its branches and refs, who pushed what.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Git;
use crate::id::checked_reference;
use crate::{CommitId, Error};

/// A branch and the commit it points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Without `refs/heads/`.
    pub branch: String,
    pub commit: CommitId,
}

/// A tag and the commit it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Without `refs/tags/`.
    pub name: String,
    pub commit: CommitId,
}

/// What a repository offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tips {
    pub heads: Vec<Head>,
    pub tags: Vec<Tag>,
    /// Of `HEAD`, when it exists.
    pub default_branch: Option<String>,
}

/// A bare repository that only this server writes.
#[derive(Clone, Debug)]
pub struct Repository {
    path: PathBuf,
}

/// Settings of a hosted repository. `core.logAllRefUpdates` keeps the reflog, which records who
/// pushed; the limits keep one push from filling the memory or the disk.
const SETTINGS: [(&str, &str); 7] = [
    ("core.logAllRefUpdates", "true"),
    ("gc.reflogExpire", "never"),
    ("gc.reflogExpireUnreachable", "never"),
    ("http.receivepack", "true"),
    ("uploadpack.allowFilter", "true"),
    ("receive.hideRefs", "refs/towpath"),
    ("receive.maxInputSize", "2147483648"),
];

impl Repository {
    /// Makes a bare repository at `path`, or brings the settings of an existing one up to date.
    pub fn init_bare(path: &Path) -> Result<Self, Error> {
        let mut command = crate::command::hermetic(None);
        command.args(["-c", "init.defaultBranch=main"]);
        Git::new(command, "init").args(["--quiet", "--bare", "--template="]).arg(path).bytes()?;
        let repository = Self { path: path.to_owned() };
        for (key, value) in SETTINGS {
            Git::in_repository(path, "config").arg(key).arg(value).bytes()?;
        }
        Ok(repository)
    }

    /// The repository at `path`, which must exist.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.join("objects").is_dir() && path.join("HEAD").is_file() {
            Ok(Self { path: path.to_owned() })
        } else {
            Err(Error::NotARepository(path.to_owned()))
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn git(&self, what: &str) -> Git {
        Git::in_repository(&self.path, what)
    }

    /// All branches, by name.
    pub fn heads(&self) -> Result<Vec<Head>, Error> {
        let text = self.git("for-each-ref").args(["--format=%(objectname) %(refname:strip=2)", "refs/heads"]).text()?;
        text.lines()
            .map(|line| {
                let unexpected = || Error::Unexpected { what: "for-each-ref", answer: line.to_owned() };
                let (commit, branch) = line.split_once(' ').ok_or_else(unexpected)?;
                Ok(Head { branch: branch.to_owned(), commit: commit.parse()? })
            })
            .collect()
    }

    /// Branches, tags (with the commits they name) and the branch that `HEAD` names, in one look.
    pub fn tips(&self) -> Result<Tips, Error> {
        let format = "--format=%(HEAD) %(objectname) %(*objectname) %(refname)";
        let text = self.git("for-each-ref").args([format, "refs/heads", "refs/tags"]).text()?;
        let mut tips = Tips::default();
        for line in text.lines() {
            let unexpected = || Error::Unexpected { what: "for-each-ref", answer: line.to_owned() };
            let (mark, rest) = line.split_at_checked(2).ok_or_else(unexpected)?;
            let [object, peeled, name] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else { return Err(unexpected()) };
            if let Some(branch) = name.strip_prefix("refs/heads/") {
                if mark == "* " {
                    tips.default_branch = Some(branch.to_owned());
                }
                tips.heads.push(Head { branch: branch.to_owned(), commit: object.parse()? });
            } else if let Some(tag) = name.strip_prefix("refs/tags/") {
                // An annotated tag is an object of its own that names the commit.
                let commit = if peeled.is_empty() { object } else { peeled };
                tips.tags.push(Tag { name: tag.to_owned(), commit: commit.parse()? });
            }
        }
        Ok(tips)
    }

    /// The heads of pull requests that a forge mirrors here (`refs/pull/7/head`, GitLab's
    /// `refs/merge-requests/7/head`, Bitbucket's `refs/pull-requests/7/from`), by the ref's name.
    pub fn pull_requests(&self) -> Result<Vec<(String, CommitId)>, Error> {
        let places = ["refs/pull/*/head", "refs/merge-requests/*/head", "refs/pull-requests/*/from"];
        let text = self.git("for-each-ref").arg("--format=%(objectname) %(refname)").args(places).text()?;
        let head = |line: &str| {
            let unexpected = || Error::Unexpected { what: "for-each-ref", answer: line.to_owned() };
            let (id, name) = line.split_once(' ').ok_or_else(unexpected)?;
            Ok((name.to_owned(), id.parse()?))
        };
        text.lines().map(head).collect()
    }

    /// What a path holds at a commit: the id of its blob or tree.
    pub fn object_at(&self, commit: &CommitId, path: &str) -> Result<Option<String>, Error> {
        let object = format!("{commit}:{}", crate::id::checked_path(path)?);
        let output = self.git("rev-parse").args(["--verify", "--quiet", "--end-of-options"]).arg(object).run()?;
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.code == Some(0) && !id.is_empty()).then_some(id))
    }

    /// Points `HEAD` at a branch that exists, so that a clone is not empty: the first push may have
    /// gone to any branch. Returns the branch when `HEAD` had to move.
    pub fn point_head_at_a_branch(&self) -> Result<Option<String>, Error> {
        let current = self.default_branch()?.unwrap_or_default();
        let heads = self.heads()?;
        if heads.iter().any(|h| h.branch == current) {
            return Ok(None);
        }
        let named = |name: &str| heads.iter().find(|h| h.branch == name);
        let Some(to) = named("main").or_else(|| named("master")).or_else(|| heads.first()) else {
            return Ok(None);
        };
        self.git("symbolic-ref").arg("HEAD").arg(format!("refs/heads/{}", to.branch)).bytes()?;
        Ok(Some(to.branch.clone()))
    }

    /// The branch that `HEAD` names, whether it exists or not.
    pub fn default_branch(&self) -> Result<Option<String>, Error> {
        let head = self.git("symbolic-ref").args(["--quiet", "--short", "HEAD"]).run()?;
        let name = String::from_utf8_lossy(&head.stdout).trim().to_owned();
        Ok((!name.is_empty()).then_some(name))
    }

    /// The commit that a branch, a tag, a full ref name or a full or shortened commit id names.
    pub fn resolve(&self, revision: &str) -> Result<CommitId, Error> {
        checked_reference(revision)?;
        let output = self
            .git("rev-parse")
            .args(["--verify", "--quiet", "--end-of-options"])
            .arg(format!("{revision}^{{commit}}"))
            .run()?;
        match output.code {
            Some(0) => String::from_utf8_lossy(&output.stdout).trim().parse(),
            _ => Err(Error::NoSuchCommit(revision.to_owned())),
        }
    }

    /// Moves or makes a ref. With `expected` only if it still points there.
    pub fn update_ref(&self, name: &str, commit: &CommitId, expected: Option<&CommitId>) -> Result<(), Error> {
        let mut git = self.git("update-ref").arg(checked_reference(name)?).arg(commit.as_str());
        if let Some(old) = expected {
            git = git.arg(old.as_str());
        }
        git.bytes().map(drop)
    }

    /// Who pushed `commit` to the branch: the name that [`crate::Pusher`] gave the last time the
    /// branch moved there. `None` when the reflog does not say.
    pub fn pusher_of(&self, branch: &str, commit: &CommitId) -> Result<Option<String>, Error> {
        let path = self.path.join("logs/refs/heads").join(checked_reference(branch)?);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { action: "read", path, source }),
        };
        // `<old> <new> <name> <email> <seconds> <zone> TAB <message>`, the newest last (githooks and
        // gitrepository-layout describe it). Read here: a process takes longer than the rest of a trigger.
        let moved_there = |line: &&str| line.split(' ').nth(1) == Some(commit.as_str());
        let name = |line: &str| Some(line.splitn(3, ' ').nth(2)?.split_once(" <")?.0.to_owned());
        Ok(text.lines().rev().find(moved_there).and_then(name))
    }

    /// True when `ancestor` is `commit` or lies in its history.
    pub fn is_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<bool, Error> {
        let output = self.git("merge-base").args(["--is-ancestor", ancestor.as_str(), commit.as_str()]).run()?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            code => Err(Error::Failed { what: "merge-base".into(), code, stderr: output.stderr }),
        }
    }
}
