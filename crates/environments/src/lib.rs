//! Python environments of stages and models: what a repository or a model names, resolved and built
//! by `uv`, kept by content.
//!
//! ```text
//! <root>/resolved/<hash of the named files and the interpreter>.txt   the lock they resolved to
//! <root>/<hash of the lock>/                                          the virtual environment
//! <root>/<hash of the lock>/towpath.lock                              written last: it is complete
//! <root>/<hash of the lock>.building                                  held by whoever builds it
//! ```
//! A lock is a list of pinned requirements below one line that names interpreter and platform, so
//! its hash identifies the environment. What was resolved once stays resolved.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use towpath_core::{Classify, Digest, Kind};

mod runner;

pub use runner::{Ending, Program, Ran, Runner, Undisturbed};

/// For resolving and for building, each.
const DEADLINE: Duration = Duration::from_mins(30);
const COMPLETE: &str = "towpath.lock";
/// Requirement files that include one another.
const MAX_INCLUDES: usize = 50;
/// What `uv` gets of the caller's environment: where things are and how to reach the package index.
const UV_VARIABLES: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NETRC",
    "PIP_INDEX_URL",
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{file} needs uv, which is not on the PATH")]
    NoUv { file: String },
    #[error("{file} needs python3, which is not on the PATH")]
    NoPython { file: String },
    #[error("Python {wanted} is not on the PATH: python3 is {found}")]
    OtherPython { wanted: String, found: String },
    #[error("'{file}' is not a requirements file, a pyproject.toml or a uv.lock")]
    UnknownKind { file: String },
    #[error("cannot read {file}, which names the Python packages: {source}")]
    Unreadable { file: String, source: io::Error },
    #[error("{file} includes more than {MAX_INCLUDES} other files")]
    TooManyIncludes { file: String },
    /// `output` is the end of what uv said.
    #[error("uv cannot {action} {file}: {output}")]
    Uv { action: &'static str, file: String, output: String },
    #[error("another process has been building the environment {hash} for {} s", waited.as_secs())]
    Busy { hash: String, waited: Duration },
    #[error("cancelled while the environment was being built")]
    Cancelled,
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot run {program}: {source}")]
    Process { program: String, source: io::Error },
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoUv { .. } | Self::NoPython { .. } | Self::OtherPython { .. } | Self::Busy { .. } => {
                Kind::Unavailable
            }
            Self::UnknownKind { .. } | Self::TooManyIncludes { .. } | Self::Uv { .. } => Kind::Invalid,
            Self::Unreadable { source, .. } | Self::Io { source, .. } | Self::Process { source, .. } => io_kind(source),
            Self::Cancelled => Kind::Conflict,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoUv { .. } => {
                vec!["install uv (`pip install uv`) or name it in the variable TOWPATH_UV".to_owned()]
            }
            Self::UnknownKind { .. } => vec!["write `python: requirements.txt`".to_owned()],
            _ => Vec::new(),
        }
    }
}

fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        _ => Kind::Internal,
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// A built environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// SHA-256 of the lock.
    pub hash: Digest,
    /// The virtual environment.
    pub path: PathBuf,
    pub file: String,
    /// `3.11.2`.
    pub python: String,
    /// Number of packages.
    pub packages: u32,
    pub lock_text: String,
    /// False when it was built just now.
    pub cached: bool,
    /// To find or to build it, without resolving.
    pub seconds: f64,
}

/// A lock, known before its environment is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// SHA-256 of the lock.
    pub hash: Digest,
    /// The file that `towpath.yaml` names, or `towpath.lock` when it came from a lock.
    pub file: String,
    pub lock_text: String,
    interpreter: PathBuf,
}

impl Resolved {
    /// `3.11.2`.
    pub fn python(&self) -> &str {
        lock_python(&self.lock_text)
    }

    /// With these requirements beside the others, installed without what they need in turn. One whose
    /// package is there already is left out.
    pub fn beside(mut self, requirements: &[String]) -> Self {
        let package = |line: &str| {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(line.len());
            line[..end].to_lowercase().replace(['_', '.'], "-")
        };
        for requirement in requirements {
            let known = self.lock_text.lines().filter(|line| is_requirement(line)).map(package);
            if !known.into_iter().any(|known| known == package(requirement)) {
                self.lock_text.push_str(requirement);
                self.lock_text.push('\n');
            }
        }
        self.hash = Digest::of(self.lock_text.as_bytes());
        self
    }

    /// Number of packages.
    pub fn packages(&self) -> u32 {
        self.lock_text.lines().filter(|l| is_requirement(l)).count() as u32
    }
}

/// The option of uv that refuses to build packages from source.
const ONLY_WHEELS: &str = "--no-build";

/// All environments of a machine, in one folder.
#[derive(Clone, Debug)]
pub struct Environments {
    root: PathBuf,
    only_wheels: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Requirements,
    Pyproject,
    UvLock,
}

impl Environments {
    /// `root` is made when it is first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), only_wheels: false }
    }

    /// Refuses packages that would have to be built from source: building one runs its code, outside of any
    /// sandbox.
    #[must_use]
    pub fn only_wheels(mut self) -> Self {
        self.only_wheels = true;
        self
    }

    /// What `file`, relative to `workspace`, asks for. When it has been resolved before this reads
    /// two small files and starts no process.
    pub fn resolve(&self, workspace: &Path, file: &str, runner: &impl Runner) -> Result<Resolved, Error> {
        self.resolve_on(workspace, file, interpreter(file)?, runner)
    }

    /// The same on a minor version of Python: `3.11`.
    pub fn resolve_for(
        &self,
        workspace: &Path,
        file: &str,
        python: &str,
        runner: &impl Runner,
    ) -> Result<Resolved, Error> {
        let found = find_program(&format!("python{python}")).and_then(|path| path.canonicalize().ok());
        let resolved = self.resolve_on(workspace, file, found.map_or_else(|| interpreter(file), Ok)?, runner)?;
        let found = resolved.python();
        let is_release = found == python || found.strip_prefix(python).is_some_and(|rest| rest.starts_with('.'));
        if is_release { Ok(resolved) } else { Err(Error::OtherPython { wanted: python.into(), found: found.into() }) }
    }

    fn resolve_on(
        &self,
        workspace: &Path,
        file: &str,
        interpreter: PathBuf,
        runner: &impl Runner,
    ) -> Result<Resolved, Error> {
        let kind = kind_of(file)?;
        let key = request_key(workspace, file, kind, &interpreter)?;
        let known = self.root.join("resolved").join(format!("{key}.txt"));
        let lock_text = match fs::read_to_string(&known) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = self.compile(workspace, file, kind, &interpreter, runner)?;
                write_whole(&known, &text)?;
                text
            }
            Err(source) => return Err(Error::Io { action: "read", path: known, source }),
        };
        Ok(Resolved { hash: Digest::of(lock_text.as_bytes()), file: file.to_owned(), lock_text, interpreter })
    }

    /// What a lock that a run kept asks for.
    pub fn from_lock(lock_text: &str) -> Result<Resolved, Error> {
        Ok(Resolved {
            hash: Digest::of(lock_text.as_bytes()),
            file: COMPLETE.to_owned(),
            lock_text: lock_text.to_owned(),
            interpreter: interpreter(COMPLETE)?,
        })
    }

    /// Builds the environment unless it is there.
    pub fn build(&self, resolved: &Resolved, runner: &impl Runner) -> Result<Environment, Error> {
        let started = Instant::now();
        let path = self.root.join(resolved.hash.as_str());
        let complete = path.join(COMPLETE);
        let mut cached = complete.is_file();
        if !cached {
            fs::create_dir_all(&self.root).map_err(io_error("create", &self.root))?;
            let _lock = self.lock(&resolved.hash, runner)?;
            // Another process may have built it while we waited.
            cached = complete.is_file();
            if !cached {
                build_environment(&path, resolved, self.only_wheels, runner)?;
            }
        }
        Ok(Environment {
            hash: resolved.hash.clone(),
            path,
            file: resolved.file.clone(),
            python: resolved.python().to_owned(),
            packages: resolved.packages(),
            lock_text: resolved.lock_text.clone(),
            cached,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn compile(
        &self,
        workspace: &Path,
        file: &str,
        kind: FileKind,
        interpreter: &Path,
        runner: &impl Runner,
    ) -> Result<String, Error> {
        fs::create_dir_all(&self.root).map_err(io_error("create", &self.root))?;
        let uv = find_uv(file)?;
        let version = python_version(interpreter, file, runner)?;
        let scratch = tempfile_in(&self.root)?;
        let output = scratch.path().join("lock.txt");
        let input = workspace.join(file);
        let project = input.parent().unwrap_or(workspace);
        let mut argv: Vec<&OsStr> = vec![uv.as_os_str()];
        if kind == FileKind::UvLock {
            argv.extend(
                ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--project"].map(OsStr::new),
            );
            argv.push(project.as_os_str());
        } else {
            argv.extend(["pip", "compile"].map(OsStr::new));
            argv.push(input.as_os_str());
        }
        argv.extend(["--quiet", "--no-header", "--no-annotate", "--python"].map(OsStr::new));
        argv.push(interpreter.as_os_str());
        argv.push(OsStr::new("--output-file"));
        argv.push(output.as_os_str());
        if self.only_wheels {
            argv.push(OsStr::new(ONLY_WHEELS));
        }
        run(&argv, "resolve", file, project, runner)?;
        let pinned = fs::read_to_string(&output).map_err(io_error("read", &output))?;
        Ok(format!("# python {version} on {}-{}\n{pinned}", std::env::consts::ARCH, std::env::consts::OS))
    }

    /// Held until the file is dropped, or its process dies.
    fn lock(&self, hash: &Digest, runner: &impl Runner) -> Result<File, Error> {
        let path = self.root.join(format!("{hash}.building"));
        let file = File::create(&path).map_err(io_error("create", &path))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(Error::Io { action: "lock", path, source }),
                Err(TryLockError::WouldBlock) if runner.is_cancelled() => return Err(Error::Cancelled),
                Err(TryLockError::WouldBlock) if started.elapsed() > DEADLINE => {
                    return Err(Error::Busy { hash: hash.to_string(), waited: started.elapsed() });
                }
                // flock has no deadline of its own.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

fn build_environment(path: &Path, resolved: &Resolved, only_wheels: bool, runner: &impl Runner) -> Result<(), Error> {
    let Resolved { file, lock_text, interpreter, .. } = resolved;
    let uv = find_uv(file)?;
    if path.exists() {
        fs::remove_dir_all(path).map_err(io_error("delete the unfinished", path))?;
    }
    let root = path.parent().unwrap_or(path);
    let venv = [uv.as_os_str(), "venv".as_ref(), "--quiet".as_ref(), "--no-project".as_ref(), "--python".as_ref()];
    run(
        &[venv.as_slice(), &[interpreter.as_os_str(), path.as_os_str()]].concat(),
        "make an environment for",
        file,
        root,
        runner,
    )?;
    let requirements = path.join("requirements.lock");
    fs::write(&requirements, lock_text).map_err(io_error("write", &requirements))?;
    if lock_text.lines().any(is_requirement) {
        // Stages cannot write here, so the byte code has to be there already.
        let options = ["pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "--python"].map(OsStr::new);
        let mut argv = vec![uv.as_os_str()];
        argv.extend(options);
        argv.extend([path.as_os_str(), OsStr::new("--requirements"), requirements.as_os_str()]);
        if only_wheels {
            argv.push(OsStr::new(ONLY_WHEELS));
        }
        run(&argv, "install", file, root, runner)?;
    }
    write_whole(&path.join(COMPLETE), lock_text)
}

/// Runs a command of uv; what it said last becomes the error.
fn run(argv: &[&OsStr], action: &'static str, file: &str, directory: &Path, runner: &impl Runner) -> Result<(), Error> {
    let ran = execute(argv, directory, runner)?;
    match ran.ending {
        Ending::Succeeded => Ok(()),
        Ending::Cancelled => Err(Error::Cancelled),
        Ending::Failed => Err(Error::Uv { action, file: file.to_owned(), output: ran.said.join(" ") }),
    }
}

fn execute(argv: &[&OsStr], directory: &Path, runner: &impl Runner) -> Result<Ran, Error> {
    let mut variables: Vec<(String, String)> =
        UV_VARIABLES.iter().filter_map(|n| Some(((*n).to_owned(), std::env::var(n).ok()?))).collect();
    variables.extend(std::env::vars().filter(|(name, _)| name.starts_with("UV_")));
    let argv: Vec<String> = argv.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let program = Program { argv: &argv, directory, variables: &variables, deadline: DEADLINE };
    runner.run(&program).map_err(|source| Error::Process { program: argv[0].clone(), source })
}

fn python_version(interpreter: &Path, file: &str, runner: &impl Runner) -> Result<String, Error> {
    let script = "import platform; print(platform.python_version())";
    let argv = [interpreter.as_os_str(), OsStr::new("-I"), OsStr::new("-c"), OsStr::new(script)];
    let ran = execute(&argv, Path::new("/"), runner)?;
    match ran.ending {
        Ending::Succeeded if ran.said.len() == 1 => Ok(ran.said.concat()),
        Ending::Cancelled => Err(Error::Cancelled),
        Ending::Succeeded | Ending::Failed => Err(Error::NoPython { file: file.to_owned() }),
    }
}

fn kind_of(file: &str) -> Result<FileKind, Error> {
    let path = Path::new(file);
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match name {
        "pyproject.toml" => Ok(FileKind::Pyproject),
        "uv.lock" => Ok(FileKind::UvLock),
        _ if path.extension().is_some_and(|e| e == "txt" || e == "in") => Ok(FileKind::Requirements),
        _ => Err(Error::UnknownKind { file: file.to_owned() }),
    }
}

/// `python3` of the PATH with its symbolic links followed, so that a virtual environment that is
/// switched on in the caller's shell does not count.
fn interpreter(file: &str) -> Result<PathBuf, Error> {
    let found = find_program("python3").ok_or_else(|| Error::NoPython { file: file.to_owned() })?;
    found.canonicalize().map_err(io_error("find", &found))
}

fn find_uv(file: &str) -> Result<PathBuf, Error> {
    let named = std::env::var_os("TOWPATH_UV").map(PathBuf::from).filter(|p| p.is_file());
    named.or_else(|| find_program("uv")).ok_or_else(|| Error::NoUv { file: file.to_owned() })
}

fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What the resolution depends on: the content of the named file and of those it includes, the
/// interpreter, the platform. The interpreter is known by path, size and time of change, which
/// needs no process.
fn request_key(workspace: &Path, file: &str, kind: FileKind, interpreter: &Path) -> Result<Digest, Error> {
    use std::os::unix::fs::MetadataExt as _;
    let stat = fs::metadata(interpreter).map_err(io_error("find", interpreter))?;
    let mut text = format!(
        "towpath environment 1\n{}\n{} {} {}\n{}-{}\n",
        file,
        interpreter.display(),
        stat.len(),
        stat.mtime(),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let mut files = BTreeSet::new();
    collect(workspace, file, file, &mut files, &mut text)?;
    if kind == FileKind::UvLock {
        let project = Path::new(file).with_file_name("pyproject.toml");
        collect(workspace, file, &project.to_string_lossy(), &mut files, &mut text)?;
    }
    Ok(Digest::of(text.as_bytes()))
}

/// Appends the file's content, then that of the requirement files it includes.
fn collect(
    workspace: &Path,
    named: &str,
    file: &str,
    seen: &mut BTreeSet<String>,
    text: &mut String,
) -> Result<(), Error> {
    if !seen.insert(file.to_owned()) {
        return Ok(());
    }
    if seen.len() > MAX_INCLUDES {
        return Err(Error::TooManyIncludes { file: named.to_owned() });
    }
    let content = fs::read_to_string(workspace.join(file))
        .map_err(|source| Error::Unreadable { file: file.to_owned(), source })?;
    *text = format!("{text}{file} {}\n{content}\n", content.len());
    if kind_of(file).is_ok_and(|kind| kind == FileKind::Requirements) {
        for line in content.lines() {
            if let Some(included) = included_file(line) {
                let path = Path::new(file).with_file_name(included);
                collect(workspace, named, &path.to_string_lossy(), seen, text)?;
            }
        }
    }
    Ok(())
}

/// Of `-r FILE`, `-c FILE`, `--requirement[=]FILE`, `--constraint[=]FILE`.
fn included_file(line: &str) -> Option<&str> {
    let line = line.trim();
    ["--requirement", "--constraint", "-r", "-c"].iter().find_map(|option| {
        let rest = line.strip_prefix(option)?;
        let separated = rest.starts_with([' ', '=']) || !option.starts_with("--");
        let file = rest.trim_start_matches([' ', '=']).split(" #").next()?.trim();
        (separated && !file.is_empty()).then_some(file)
    })
}

/// The version in the first line of a lock.
fn lock_python(lock_text: &str) -> &str {
    lock_text.lines().next().and_then(|l| l.strip_prefix("# python ")?.split(' ').next()).unwrap_or("unknown")
}

fn is_requirement(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with([' ', '#', '-'])
}

fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(io_error("write in", folder))?;
    fs::write(temporary.path(), text).map_err(io_error("write", path))?;
    temporary.persist(path).map_err(|e| Error::Io { action: "write", path: path.to_owned(), source: e.error })?;
    Ok(())
}

fn tempfile_in(folder: &Path) -> Result<tempfile::TempDir, Error> {
    tempfile::Builder::new().prefix("resolve-").tempdir_in(folder).map_err(io_error("write in", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_follows_from_its_name() {
        assert!(
            kind_of("requirements.txt").is_ok()
                && kind_of("train/pyproject.toml").is_ok()
                && kind_of("uv.lock").is_ok()
        );
        let error = kind_of("environment.yml").map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "'environment.yml' is not a requirements file, a pyproject.toml or a uv.lock");
    }

    #[test]
    fn an_included_requirements_file_counts_as_content() {
        let dir = tempfile::tempdir().unwrap();
        let key = || request_key(dir.path(), "requirements.txt", FileKind::Requirements, Path::new("/proc/self/exe"));
        fs::write(dir.path().join("requirements.txt"), "-r base.txt  # shared\nsix\n").unwrap();
        assert!(matches!(key(), Err(Error::Unreadable { ref file, .. }) if file == "base.txt"));
        fs::write(dir.path().join("base.txt"), "idna\n-r requirements.txt\n").unwrap();
        let before = key().unwrap();
        assert_eq!(key().unwrap(), before);
        fs::write(dir.path().join("base.txt"), "idna==3.7\n").unwrap();
        assert_ne!(key().unwrap(), before);
    }

    #[test]
    fn options_of_a_requirements_file_that_name_no_file_are_not_includes() {
        for (line, file) in [
            ("-r base.txt", Some("base.txt")),
            ("--constraint=limits.txt", Some("limits.txt")),
            ("-cbase.txt", Some("base.txt")),
            ("--requirements-like", None),
            ("requests==2", None),
            ("--index-url https://example.org", None),
        ] {
            assert_eq!(included_file(line), file, "{line}");
        }
    }

    #[test]
    fn a_requirement_beside_a_lock_is_added_once() {
        let lock = "# python 3.11.2 on x86_64-linux\nsix==1.17.0\n";
        let resolved = Resolved {
            hash: Digest::of(lock.as_bytes()),
            file: "requirements.txt".into(),
            lock_text: lock.into(),
            interpreter: PathBuf::from("/usr/bin/python3"),
        };
        let beside = resolved.clone().beside(&["kfp==2.17.3".into(), "Six>=1".into()]);
        assert_eq!(beside.lock_text, format!("{lock}kfp==2.17.3\n"));
        assert!(beside.hash != resolved.hash && beside.packages() == 2);
    }

    #[test]
    fn a_lock_tells_its_interpreter() {
        let lock = "# python 3.11.2 on x86_64-linux\nidna==3.7\n    # via -r x\nsix==1.16 \\\n    --hash=sha256:0\n";
        assert_eq!(lock_python(lock), "3.11.2");
        assert_eq!(lock.lines().filter(|l| is_requirement(l)).count(), 2);
    }
}
