//! Where the files of the four levels are, and paths that are relative to them.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Where a setting stands; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    System,
    Global,
    /// `.dvc/config`, in Git.
    Repository,
    /// `.dvc/config.local`, not in Git: the place of passwords.
    Local,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::System, Self::Global, Self::Repository, Self::Local];
}

/// The files of the levels. Those of a repository are there only inside one.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub system: Option<PathBuf>,
    pub global: Option<PathBuf>,
    pub repository: Option<PathBuf>,
    pub local: Option<PathBuf>,
}

impl Places {
    /// DVC's places (`dvc/dirs.py`): `DVC_SYSTEM_CONFIG_DIR` or the first of `XDG_CONFIG_DIRS`,
    /// `DVC_GLOBAL_CONFIG_DIR` or `XDG_CONFIG_HOME`, and the `.dvc` folder.
    pub fn of(dvc_dir: Option<&Path>) -> Self {
        let system = || {
            let dirs = variable("XDG_CONFIG_DIRS")?;
            env::split_paths(&dirs).next().filter(|dir| !dir.as_os_str().is_empty())
        };
        let system = || system().unwrap_or_else(|| PathBuf::from("/etc/xdg")).join("dvc");
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
        let global = || variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home).map(|dir| dir.join("dvc"));
        let in_repository = |name| dvc_dir.map(|dir| dir.join(name));
        Self {
            system: Some(variable("DVC_SYSTEM_CONFIG_DIR").map_or_else(system, PathBuf::from).join("config")),
            global: variable("DVC_GLOBAL_CONFIG_DIR").map(PathBuf::from).or_else(global).map(|dir| dir.join("config")),
            repository: in_repository("config"),
            local: in_repository("config.local"),
        }
    }

    /// The file of a level; `None` outside a repository, or without a home.
    pub fn file(&self, level: Level) -> Option<&Path> {
        match level {
            Level::System => self.system.as_deref(),
            Level::Global => self.global.as_deref(),
            Level::Repository => self.repository.as_deref(),
            Level::Local => self.local.as_deref(),
        }
    }
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// A path or url that stands in `file`, as it is meant: urls and absolute paths are themselves, `~` is
/// the home, all else is relative to the folder of the file. `..` is resolved without asking the disk.
pub(super) fn resolve(file: &Path, written: &str) -> String {
    if is_url(written) || Path::new(written).is_absolute() {
        return written.to_owned();
    }
    if let Some(expanded) = in_home(written) {
        return expanded;
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    normal(&folder.join(written)).display().to_string()
}

/// The reverse: a path that a user gave in the folder `from`, as it is to be written into `file`.
pub(super) fn as_written(file: &Path, from: &Path, given: &str) -> String {
    if is_url(given) || Path::new(given).is_absolute() || given.starts_with('~') {
        return given.to_owned();
    }
    let folder = normal(file.parent().unwrap_or(Path::new("/")));
    let target = normal(&from.join(given));
    let shared = folder.components().zip(target.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(target.components().skip(shared)).collect();
    if relative.as_os_str().is_empty() { ".".to_owned() } else { relative.display().to_string() }
}

/// `word://`, as DVC tells urls from paths.
fn is_url(text: &str) -> bool {
    let word = |scheme: &str| !scheme.is_empty() && scheme.chars().all(|c| c.is_alphanumeric() || c == '_');
    text.split_once("://").is_some_and(|(scheme, _)| word(scheme))
}

fn in_home(text: &str) -> Option<String> {
    let rest = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let home = variable("HOME")?;
    Some(format!("{}{rest}", home.to_str()?.trim_end_matches('/')))
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file_that_names_them() {
        let file = Path::new("/repo/.dvc/config");
        for (written, meant) in [
            ("../../store", "/store"),
            ("cache", "/repo/.dvc/cache"),
            ("/a/../b", "/a/../b"),
            ("s3://b/../a", "s3://b/../a"),
        ] {
            assert_eq!(resolve(file, written), meant);
        }
        let from = Path::new("/repo/a");
        for (given, written) in [
            ("../../store", "../../store"),
            ("store", "../a/store"),
            ("/abs", "/abs"),
            ("~/store", "~/store"),
            ("../.dvc", "."),
            ("ssh://h/a", "ssh://h/a"),
        ] {
            assert_eq!(as_written(file, from, given), written, "{given}");
        }
    }
}
