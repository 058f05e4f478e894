//! A user's clone, for the command line: the user's configuration, hooks and credentials apply.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Git;
use crate::id::{checked_path, checked_reference};
use crate::{CommitId, Error};

/// Fetching talks to a network.
const FETCH_DEADLINE: Duration = Duration::from_mins(10);

#[derive(Clone, Debug)]
pub struct WorkTree {
    pub(crate) root: PathBuf,
    access: Option<Access>,
}

/// A file as a commit has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedFile {
    /// From the root of the work tree, `/`-separated.
    pub path: String,
    /// Git's id of its content.
    pub blob: String,
}

/// The token of a server, sent to nobody else.
#[derive(Clone)]
struct Access {
    server: String,
    token: String,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({})", self.server)
    }
}

impl Access {
    /// Git gets it through its environment: arguments are visible to every user of the machine.
    fn of(&self, git: Git) -> Git {
        git.config(&format!("http.{}/.extraHeader", self.server), &format!("Authorization: Bearer {}", self.token))
    }
}

impl WorkTree {
    /// The work tree that `dir` lies in.
    pub fn discover(dir: &Path) -> Result<Self, Error> {
        let output = Git::of_user(dir, "rev-parse").arg("--show-toplevel").run()?;
        match output.code {
            Some(0) => Ok(Self::at(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n')))),
            _ => Err(Error::NotARepository(dir.to_owned())),
        }
    }

    /// A new repository in `dir` (made if missing) with an empty branch `main`. Its first `git push`
    /// needs no name of a remote or branch.
    pub fn init(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Io { action: "create", path: dir.to_owned(), source })?;
        Git::of_user(dir, "init").args(["--quiet", "--initial-branch=main"]).bytes()?;
        Git::of_user(dir, "config").args(["--local", "push.autoSetupRemote", "true"]).bytes()?;
        Ok(Self::at(dir.to_owned()))
    }

    /// Clones `url` into `dir`, without its submodules. Of a server that wants a token: its address
    /// and the token.
    pub fn clone_from(url: &str, dir: &Path, access: Option<(&str, &str)>) -> Result<Self, Error> {
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut tree = Self::at(dir.to_owned());
        let mut git = Git::of_user(parent, "clone");
        if let Some((server, token)) = access {
            tree = tree.with_token(server, token);
        }
        if let Some(access) = &tree.access {
            git = access.of(git);
        }
        git.args(["--quiet", "--end-of-options", url])
            .arg(std::path::absolute(dir).map_err(|source| Error::Io {
                action: "find",
                path: dir.to_owned(),
                source,
            })?)
            .deadline(FETCH_DEADLINE)
            .bytes()?;
        Ok(tree)
    }

    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root, access: None }
    }

    /// Sends the token to everything below `server` (`http://127.0.0.1:4400`), for this value only.
    pub fn with_token(mut self, server: &str, token: &str) -> Self {
        self.access = Some(Access { server: server.to_owned(), token: token.to_owned() });
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn git(&self, what: &str) -> Git {
        let git = Git::of_user(&self.root, what);
        match &self.access {
            Some(access) => access.of(git),
            None => git,
        }
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

    /// The commits that all refs below `namespace` (`refs/heads`, `refs/tags`) name, each once.
    pub fn commits_of(&self, namespace: &str) -> Result<Vec<CommitId>, Error> {
        let format =
            "--format=%(if)%(*objectname)%(then)%(*objectname) %(*objecttype)%(else)%(objectname) %(objecttype)%(end)";
        let text = self.git("for-each-ref").args([format, checked_reference(namespace)?]).text()?;
        let named: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_suffix(" commit")).collect();
        named.into_iter().map(str::parse).collect()
    }

    /// Names below `namespace` (without it) and the commits they stand for, sorted by name.
    pub fn references(&self, namespace: &str) -> Result<Vec<(String, CommitId)>, Error> {
        let format = "--format=%(if)%(*objectname)%(then)%(*objectname) %(*objecttype)%(else)%(objectname) %(objecttype)%(end) %(refname)";
        let text = self.git("for-each-ref").args([format, checked_reference(namespace)?]).text()?;
        let mut found = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(id), Some("commit"), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
            if let Some(name) = name.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('/')) {
                found.push((name.to_owned(), id.parse()?));
            }
        }
        Ok(found)
    }

    /// Every commit that some ref leads to.
    pub fn commits_reachable(&self) -> Result<Vec<CommitId>, Error> {
        self.git("rev-list").arg("--all").text()?.lines().map(str::parse).collect()
    }

    /// The files of a commit; those whose names are not UTF-8 are left out.
    pub fn files(&self, commit: &CommitId) -> Result<Vec<CommittedFile>, Error> {
        let listing = self.git("ls-tree").args(["-r", "-z", "--full-tree", commit.as_str()]).bytes()?;
        let entries = listing.split(|byte| *byte == 0).filter_map(|entry| str::from_utf8(entry).ok());
        // `<mode> <type> <id>\t<path>`
        let file = |entry: &str| {
            let (about, path) = entry.split_once('\t')?;
            let blob = about.split_once(" blob ")?.1.to_owned();
            Some(CommittedFile { path: path.to_owned(), blob })
        };
        Ok(entries.filter_map(file).collect())
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

    /// Commits everything that is not ignored. For who never told Git a name, `towpath` is the author.
    pub fn commit_all(&self, message: &str) -> Result<CommitId, Error> {
        self.git("add").arg("--all").bytes()?;
        let mut commit = self.git("commit").args(["--quiet", "--message", message]);
        for (key, value) in self.missing_identity()? {
            commit = commit.config(key, value);
        }
        commit.bytes()?;
        self.resolve("HEAD")
    }

    /// Settings for who never told Git a name.
    pub(crate) fn missing_identity(&self) -> Result<Vec<(&'static str, &'static str)>, Error> {
        let mut missing = Vec::new();
        for (key, fallback) in [("user.name", "towpath"), ("user.email", "towpath@localhost")] {
            if self.git("config").args(["--get", key]).run()?.code != Some(0) {
                missing.push((key, fallback));
            }
        }
        Ok(missing)
    }

    /// The paths (relative to the root) that Git neither tracks nor ignores.
    pub fn untracked(&self) -> Result<Vec<String>, Error> {
        let output = self.git("ls-files").args(["-z", "--others", "--exclude-standard", "--full-name"]).text()?;
        Ok(output.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
    }

    /// The file at `path` in a commit; `None` when it has none.
    pub fn file(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let object = format!("{commit}:{}", checked_path(path)?);
        let output = self.git("cat-file").args(["blob", &object]).run()?;
        Ok((output.code == Some(0) && !output.truncated).then_some(output.stdout))
    }

    /// The password that Git knows for `url`: from the address itself or a credential helper. Nobody is
    /// asked for it.
    pub fn password(&self, url: &str) -> Result<Option<String>, Error> {
        let mut git = Git::of_user(&self.root, "credential").arg("fill");
        for (name, value) in [("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", ""), ("SSH_ASKPASS", "")] {
            git = git.env(name, value);
        }
        git = git.config("core.askPass", "").config("credential.interactive", "false");
        let output = git.stdin(format!("url={url}\n\n").into_bytes()).run()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let password = text.lines().find_map(|line| line.strip_prefix("password=")).map(str::to_owned);
        Ok(password.filter(|password| output.code == Some(0) && !password.is_empty()))
    }

    /// True when no tracked file differs from `HEAD`.
    pub fn is_clean(&self) -> Result<bool, Error> {
        Ok(self.git("status").args(["--porcelain", "--untracked-files=no"]).text()?.is_empty())
    }
}
