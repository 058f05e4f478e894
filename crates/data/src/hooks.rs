//! The Git hook that pushes data before code.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, files};

/// What the hook runs. Git feeds it the refs being pushed, which it does not need.
const SCRIPT: &str =
    "#!/bin/sh\n# Pushes data before the code that refers to it.\nexec towpath push --quiet </dev/null\n";

/// Installs the pre-push hook of the Git repository at `root`. One that is ours already is left; a
/// foreign one is an error that names it.
pub fn install_pre_push(root: &Path) -> Result<PathBuf, Error> {
    let hooks = PathBuf::from(git(root, &["rev-parse", "--git-path", "hooks"])?.trim_end());
    let path = root.join(hooks).join("pre-push");
    match files::read_text(&path)? {
        Some(text) if text == SCRIPT => return Ok(path),
        Some(_) => return Err(Error::HookExists { name: "pre-push", path }),
        None => {}
    }
    files::write_atomically(&path, SCRIPT.as_bytes())?;
    fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(Error::io("set the mode of", &path))?;
    Ok(path)
}

/// True when Git tracks the path or something below it.
pub(crate) fn is_tracked_by_git(root: &Path, path: &Path) -> Result<bool, Error> {
    if !root.ancestors().any(|folder| folder.join(".git").exists()) {
        return Ok(false);
    }
    let Some(path) = path.to_str() else { return Ok(false) };
    Ok(!git(root, &["ls-files", "-z", "--", &format!(":(literal){path}")])?.is_empty())
}

/// `git add` of files that a command changed or removed.
pub(crate) fn stage(root: &Path, files: &[PathBuf]) -> Result<(), Error> {
    let known = |file: &&PathBuf| file.exists() || is_tracked_by_git(root, file).unwrap_or(false);
    let files: Vec<&str> = files.iter().filter(known).filter_map(|file| file.to_str()).collect();
    if files.is_empty() {
        return Ok(());
    }
    git(root, &[&["--literal-pathspecs", "add", "--all", "--"], files.as_slice()].concat()).map(drop)
}

pub(crate) fn git(root: &Path, args: &[&str]) -> Result<String, Error> {
    let what = || args.first().copied().unwrap_or_default().to_owned();
    let output = Command::new("git").arg("-C").arg(root).args(args).env("GIT_OPTIONAL_LOCKS", "0").output();
    let output = output.map_err(|e| Error::Git { what: what(), stderr: e.to_string() })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Git { what: what(), stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_hook_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]).unwrap();
        let path = install_pre_push(dir.path()).unwrap();
        assert!(fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0);
        assert_eq!(install_pre_push(dir.path()).unwrap(), path);
        fs::write(&path, "#!/bin/sh\nmine\n").unwrap();
        let refused = install_pre_push(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("pre-push"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nmine\n");
    }
}
