//! Ways to get a file's content to a second place: reflink, hard link, symbolic link, copy.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::Error;
use crate::scratch::Scratch;

/// Larger files are not held in memory while they are copied.
const READ_WHOLE: u64 = 256 << 10;

/// A value of `cache.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Shares the blocks until one side is written (`FICLONE`: Btrfs, XFS, bcachefs).
    Reflink,
    Hardlink,
    Symlink,
    Copy,
}

impl LinkType {
    /// What DVC tries without a setting.
    pub const DEFAULT: [Self; 2] = [Self::Reflink, Self::Copy];

    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "reflink" => Self::Reflink,
            "hardlink" => Self::Hardlink,
            "symlink" => Self::Symlink,
            "copy" => Self::Copy,
            _ => return None,
        })
    }

    /// True when both places are the same file, which therefore must stay read-only.
    pub fn shares_the_file(self) -> bool {
        matches!(self, Self::Hardlink | Self::Symlink)
    }
}

/// Makes `to`, which must not exist, by the first type that the file system can do.
pub(crate) fn link(types: &[LinkType], from: &Path, to: &Path) -> Result<LinkType, Error> {
    let mut last = None;
    for &kind in types {
        match link_as(kind, from, to) {
            Ok(()) => return Ok(kind),
            Err(error) if cannot_link(&error) => last = Some(error),
            Err(error) => return Err(Error::io("write", to)(error)),
        }
    }
    let error = last.unwrap_or_else(|| io::Error::other("cache.type names no way to do it"));
    Err(Error::io("link", to)(error))
}

fn link_as(kind: LinkType, from: &Path, to: &Path) -> io::Result<()> {
    match kind {
        LinkType::Reflink => reflink(from, to),
        // DVC makes empty files fresh: hard links to the one empty object would meet file systems' link limits.
        LinkType::Hardlink if fs::metadata(from)?.len() == 0 => File::create_new(to).map(drop),
        LinkType::Hardlink => fs::hard_link(from, to),
        LinkType::Symlink => std::os::unix::fs::symlink(from, to),
        LinkType::Copy => copy(from, to),
    }
}

/// True when another link type may do what this one cannot.
pub(crate) fn cannot_link(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::Unsupported | K::CrossesDevices | K::TooManyLinks | K::InvalidInput | K::PermissionDenied)
        || error.raw_os_error() == Some(rustix::io::Errno::NOTTY.raw_os_error())
}

fn reflink(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::create_new(to)?;
    rustix::fs::ioctl_ficlone(&target, &source).map_err(|errno| {
        // The empty file is ours, made a line above.
        let _ = fs::remove_file(to);
        io::Error::from(errno)
    })
}

/// A small file in one read and one write, a large one by `copy_file_range` where the kernel has it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let size = source.metadata()?.len();
    let mut target = File::create_new(to)?;
    if size > READ_WHOLE {
        return io::copy(&mut source, &mut target).map(drop);
    }
    let mut content = vec![0; size as usize];
    source.read_exact(&mut content)?;
    target.write_all(&content)
}

/// Makes a link to an object a file of its own, which may be written to. Other files only get their
/// write permission.
pub(crate) fn unlink(path: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io("read", path))?;
    let shared = metadata.is_symlink() || metadata.nlink() > 1;
    let mode = if metadata.mode() & 0o111 != 0 && !metadata.is_symlink() { 0o755 } else { 0o644 };
    if shared {
        let folder = path.parent().unwrap_or(Path::new("."));
        let scratch = Scratch::near(folder)?;
        let own = scratch.path();
        let source = fs::canonicalize(path).map_err(Error::io("read", path))?;
        link(&LinkType::DEFAULT, &source, &own)?;
        fs::rename(&own, path).map_err(Error::io("write", path))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))
}

/// Shares `from`'s blocks with the empty open file `to`; false when the file system cannot.
pub(crate) fn try_reflink_into(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_type_that_works_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "x").unwrap();
        assert_eq!(link(&[LinkType::Hardlink, LinkType::Copy], &from, &to).unwrap(), LinkType::Hardlink);
        fs::remove_file(&to).unwrap();
        let kind = link(&LinkType::DEFAULT, &from, &to).unwrap();
        assert!(!kind.shares_the_file());
        assert_eq!(fs::read_to_string(&to).unwrap(), "x");
    }

    #[test]
    fn a_link_becomes_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (object, hard, soft) = (dir.path().join("object"), dir.path().join("hard"), dir.path().join("soft"));
        fs::write(&object, "x").unwrap();
        fs::set_permissions(&object, Permissions::from_mode(0o444)).unwrap();
        fs::hard_link(&object, &hard).unwrap();
        std::os::unix::fs::symlink(&object, &soft).unwrap();
        for path in [&hard, &soft] {
            unlink(path).unwrap();
            fs::write(path, "mine").unwrap();
        }
        assert_eq!(fs::read_to_string(&object).unwrap(), "x");
        assert_eq!(fs::metadata(&object).unwrap().permissions().mode() & 0o777, 0o444);
    }

    #[test]
    fn an_existing_target_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "x").unwrap();
        fs::write(&to, "mine").unwrap();
        assert!(link(&LinkType::DEFAULT, &from, &to).is_err());
        assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
    }
}
