//! A repository: the folder with `.dvc` in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Level, RemoteConfig};
use crate::gc::clones;
use crate::ignore::{self, DVCIGNORE_TEMPLATE};
use crate::locks::{Locking, PathLocks, RepositoryLock};
use crate::pointer::{self, PointerFile};
use crate::{Cache, Config, Error, Remote, Stage, Workspace, files, remote};

/// A repository on disk, its configuration read.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
    config: Config,
    waits_for_lock: bool,
}

impl Repository {
    /// The repository that `from` lies in: the nearest folder upwards that has `.dvc`.
    pub fn find(from: &Path) -> Result<Self, Error> {
        Self::open(&Self::find_root(from)?)
    }

    /// The root of that repository, its configuration not read.
    pub fn find_root(from: &Path) -> Result<PathBuf, Error> {
        let absolute = fs::canonicalize(from).map_err(Error::io("read", from))?;
        let root = absolute.ancestors().find(|folder| folder.join(".dvc").is_dir());
        root.map(Path::to_owned).ok_or_else(|| Error::NotARepository { from: from.to_owned() })
    }

    /// The repository with exactly this root.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let root = fs::canonicalize(root).map_err(Error::io("read", root))?;
        if !root.join(".dvc").is_dir() {
            return Err(Error::NotARepository { from: root });
        }
        let config = Config::read(&root.join(".dvc"))?;
        Ok(Self { root, config, waits_for_lock: false })
    }

    /// Writes what `dvc init` writes: `.dvc/config`, `.dvc/.gitignore`, `.dvcignore`.
    pub fn init(root: &Path) -> Result<Self, Error> {
        let dvc_dir = root.join(".dvc");
        if dvc_dir.exists() {
            return Err(Error::AlreadyInitialised { path: dvc_dir });
        }
        files::write_atomically(&dvc_dir.join(".gitignore"), b"/config.local\n/tmp\n/cache\n")?;
        files::write_atomically(&dvc_dir.join("config"), b"")?;
        let dvcignore = root.join(".dvcignore");
        if !dvcignore.exists() {
            files::write_atomically(&dvcignore, DVCIGNORE_TEMPLATE.as_bytes())?;
        }
        Self::open(root)
    }

    /// As [`init`](Self::init), without Git: data is versioned, `.gitignore` files are left alone.
    pub fn init_without_git(root: &Path) -> Result<Self, Error> {
        Self::init(root)?;
        Config::write(&root.join(".dvc"), Level::Repository, "core", "no_scm", "True")?;
        Self::open(root)
    }

    /// True when no Git repository is around it, or `core.no_scm` says so.
    pub fn has_no_scm(&self) -> bool {
        self.config.get("core", "no_scm").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || !self.root.ancestors().any(|folder| folder.join(".git").exists())
    }

    /// Lists a tracked path (relative to the root) in the `.gitignore` beside it, if Git does not
    /// ignore it yet. Returns the `.gitignore` that changed.
    pub fn keep_out_of_git(&self, path: &str, is_dir: bool) -> Result<Option<PathBuf>, Error> {
        if self.has_no_scm() {
            return Ok(None);
        }
        ignore::keep_out_of_git(&self.root, &self.root.join(path), is_dir)
    }

    /// The reverse, for a path that is tracked no more.
    pub fn let_into_git(&self, path: &str) -> Result<Option<PathBuf>, Error> {
        if self.has_no_scm() { Ok(None) } else { ignore::let_into_git(&self.root.join(path)) }
    }

    /// Replaces a file of DVC (relative to the root).
    pub fn write(&self, path: &str, text: &str) -> Result<(), Error> {
        files::write_atomically(&self.root.join(path), text.as_bytes())
    }

    /// Absolute, symbolic links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn dvc_dir(&self) -> PathBuf {
        self.root.join(".dvc")
    }

    pub fn tmp_dir(&self) -> PathBuf {
        self.root.join(".dvc/tmp")
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn cache(&self) -> Result<Cache, Error> {
        let shared = self.config.get("cache", "shared") == Some("group");
        let cache = Cache::open(&self.config.cache_dir(&self.dvc_dir())).with_shared(shared);
        Ok(cache.with_links(self.config.cache_types()?))
    }

    /// The working tree, with what earlier commands learnt of it.
    pub fn workspace(&self) -> Result<Workspace, Error> {
        Workspace::open(&self.root, Some(self.tmp_dir().join("towpath/state")))
    }

    /// Waits for the lock as long as another process has it, instead of three seconds.
    pub fn waiting_for_lock(mut self, waits: bool) -> Self {
        self.waits_for_lock = waits;
        self
    }

    fn locking(&self) -> Locking {
        Locking {
            tmp_dir: self.tmp_dir(),
            hardlink: self.config.flag("core", "hardlink_lock") == Some(true),
            wait: self.waits_for_lock,
        }
    }

    /// Takes DVC's lock: one command at a time changes the repository.
    ///
    /// # Errors
    /// [`Error::Locked`] after three seconds.
    pub fn lock(&self) -> Result<RepositoryLock, Error> {
        if self.config.get("cache", "dir").is_some() {
            // A cache that cannot be written, but read, is no reason to stop.
            let _ = clones::register(&self.config.cache_dir(&self.dvc_dir()), &self.root);
        }
        self.locking().repository()
    }

    /// Enters paths (relative to the root, or absolute) that this command reads and writes into DVC's
    /// table, where stages that run have entered theirs.
    ///
    /// # Errors
    /// [`Error::Busy`] when such a stage is at one of them.
    pub fn lock_paths<P: AsRef<Path>>(
        &self,
        read: impl IntoIterator<Item = P>,
        write: impl IntoIterator<Item = P>,
    ) -> Result<PathLocks, Error> {
        let absolute = |path: P| self.root.join(path);
        PathLocks::take(
            &self.locking(),
            read.into_iter().map(absolute).collect(),
            write.into_iter().map(absolute).collect(),
        )
    }

    /// As [`lock_paths`](Self::lock_paths), to write.
    pub fn lock_to_write<P: AsRef<Path>>(&self, write: impl IntoIterator<Item = P>) -> Result<PathLocks, Error> {
        self.lock_paths([], write)
    }

    /// The remote of that name, or the default one.
    pub fn remote(&self, name: Option<&str>) -> Result<Box<dyn Remote>, Error> {
        self.remote_with_jobs(name, None)
    }

    /// As [`remote`](Self::remote), with at most so many requests at a time.
    pub fn remote_with_jobs(&self, name: Option<&str>, jobs: Option<usize>) -> Result<Box<dyn Remote>, Error> {
        let config = self.config.remote(name)?;
        if config.is_version_aware() {
            // Its files lie under their own names, not under their hashes.
            return Err(config.bad("only push, fetch and pull work with version_aware and worktree remotes"));
        }
        self.open_remote(config, jobs)
    }

    pub(crate) fn open_remote(&self, mut config: RemoteConfig, jobs: Option<usize>) -> Result<Box<dyn Remote>, Error> {
        config.jobs = jobs.or(config.jobs);
        remote::open_to_upload(&config, Some(&self.tmp_dir().join("towpath/uploads")))
    }

    /// Gives a remote a password for this process only; nothing is written. A remote whose
    /// configuration has an auth of its own keeps it.
    pub fn with_remote_password(mut self, remote: &str, user: &str, password: &str) -> Self {
        self.config.set_remote_password(remote, user, password);
        self
    }

    /// All `.dvc` files that neither `.dvcignore` nor Git ignores, sorted by path.
    pub fn pointers(&self) -> Result<Vec<PointerFile>, Error> {
        PointerFile::find_all(&self.root)
    }

    /// All `dvc.yaml` files below `root` (relative to it) that neither `.dvcignore` nor Git ignores,
    /// sorted.
    pub fn pipeline_files(root: &Path) -> Result<Vec<String>, Error> {
        pointer::find_files(root, |name| name == "dvc.yaml")
    }

    /// Everything declared: the `.dvc` files, then `stages`.
    pub fn stages(&self, stages: &[Stage]) -> Result<Vec<Stage>, Error> {
        let pointers = self.pointers()?;
        let mut all = pointers.iter().map(PointerFile::stage).collect::<Result<Vec<_>, _>>()?;
        all.extend_from_slice(stages);
        // A folder that is recorded file by file has no manifest on any remote.
        for versions in all.iter().flat_map(|stage| &stage.outputs).filter_map(|output| output.versions.as_ref()) {
            if let Some(manifest) = versions.manifest() {
                self.cache()?.add_manifest(&manifest)?;
            }
        }
        Ok(all)
    }

    /// The path below the root of something the user named, relative to `from`. It need not exist.
    pub fn relative(&self, from: &Path, path: &Path) -> Result<PathBuf, Error> {
        let outside = |problem: &str| Error::UnusablePath { path: path.to_owned(), problem: problem.to_owned() };
        let absolute = from.join(path);
        let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(outside("it must be a file or folder below the repository"));
        };
        // The folder is resolved, the last part is not: it may be a symbolic link that is tracked.
        let folder = fs::canonicalize(folder).map_err(Error::io("read", folder))?;
        let joined = folder.join(name);
        let below = joined.strip_prefix(&self.root).map_err(|_| outside("it lies outside the repository"))?;
        if below.as_os_str().is_empty() || below.starts_with(".dvc") || below.starts_with(".git") {
            return Err(outside("the repository itself, .dvc and .git cannot be tracked"));
        }
        Ok(below.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_writes_what_dvc_writes() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::init(dir.path()).unwrap();
        let read = |name: &str| fs::read_to_string(repository.root().join(name)).unwrap();
        assert_eq!(read(".dvc/config"), "");
        assert_eq!(read(".dvc/.gitignore"), "/config.local\n/tmp\n/cache\n");
        assert!(read(".dvcignore").starts_with("# Add patterns of files dvc should ignore"));
        assert!(matches!(Repository::init(dir.path()), Err(Error::AlreadyInitialised { .. })));
    }

    #[test]
    fn a_password_given_for_the_process_does_not_replace_a_configured_one() {
        let dir = tempfile::tempdir().unwrap();
        Repository::init(dir.path()).unwrap();
        let text = "['remote \"open\"']\n    url = http://host/a\n['remote \"own\"']\n    url = http://host/b\n    auth = custom\n    custom_auth_header = X\n    password = p\n";
        fs::write(dir.path().join(".dvc/config"), text).unwrap();
        let repository = Repository::open(dir.path()).unwrap();
        let repository = repository.with_remote_password("open", "u", "s").with_remote_password("own", "u", "s");
        let signs_in_by = |name| {
            let remote = repository.config().remote(Some(name)).unwrap();
            ["auth", "user", "password"].map(|option| remote.text(option).unwrap_or_default().to_owned())
        };
        assert_eq!(signs_in_by("open"), ["basic", "u", "s"]);
        assert_eq!(signs_in_by("own"), ["custom", "", "p"]);
        assert_eq!(fs::read_to_string(dir.path().join(".dvc/config")).unwrap(), text);
    }

    #[test]
    fn a_repository_is_found_from_below() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Repository::find(dir.path()), Err(Error::NotARepository { .. })));
        let repository = Repository::init(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert_eq!(Repository::find(&dir.path().join("a/b")).unwrap().root(), repository.root());
    }

    #[test]
    fn paths_outside_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::init(dir.path()).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let from = repository.root().join("a");
        assert_eq!(repository.relative(&from, Path::new("../x")).unwrap(), Path::new("x"));
        for bad in ["../../x", "..", "../.dvc/config", "/etc/passwd"] {
            let refused = repository.relative(&from, Path::new(bad));
            assert!(matches!(refused, Err(Error::UnusablePath { .. })), "{bad}");
        }
    }
}
