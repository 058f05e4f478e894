//! Making tracked files the workspace's own, so that they can be changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rayon::prelude::*;

use crate::checkout::Placement;
use crate::links::LinkType;
use crate::{Cache, Error, Workspace, links};

impl Cache {
    /// Replaces hard and symbolic links at `path` (a file or a folder, absolute or below the
    /// workspace) by copies, and lets their owner write all of it.
    pub fn unprotect(&self, workspace: &Workspace, path: &Path) -> Result<(), Error> {
        let path = workspace.confined(path)?;
        let placement = Placement::beside(self, workspace, &path)?;
        if !fs::metadata(&path).map_err(Error::io("read", &path))?.is_dir() {
            return self.unprotect_file(&placement, &path);
        }
        let files = workspace.walk(&path, |files| Ok(files.into_iter().map(|file| file.relpath).collect()))?;
        files.par_iter().try_for_each(|file| self.unprotect_file(&placement, &path.join(file)))
    }

    fn unprotect_file(&self, placement: &Placement<'_>, path: &Path) -> Result<(), Error> {
        let metadata = fs::symlink_metadata(path).map_err(Error::io("read", path))?;
        if metadata.is_symlink() || metadata.nlink() > 1 {
            let tmp = placement.scratch_file();
            links::link(&[LinkType::Reflink, LinkType::Copy], path, &tmp)?;
            fs::rename(&tmp, path).map_err(Error::io("write", path))?;
        }
        let mode = fs::metadata(path).map_err(Error::io("read", path))?.permissions().mode();
        let writable = mode | if self.is_shared() { 0o660 } else { 0o600 };
        if writable == mode {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(writable)).map_err(Error::io("set the mode of", path))
    }
}
