//! Git's merge driver: what `git merge` calls for `.dvc` files and `dvc.lock`.

use std::fs;
use std::path::Path;

use super::{Folders, Merged, Sides, merge};
use crate::external::fetch_manifest;
use crate::manifest::Manifest;
use crate::remote::object_key;
use crate::{Cache, Error, Oid, Remote, Repository, files, hooks};

/// What Git runs; `%L` is the size of a conflict marker.
const COMMAND: &str = "towpath merge-driver --marker-size %L %O %A %B %P";

const PATTERNS: [&str; 2] = ["*.dvc", "dvc.lock"];

/// What [`install`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// True when `.gitattributes` got lines, which belong into Git.
    pub attributes_changed: bool,
}

/// Tells the Git repository at `root` to merge `.dvc` files and `dvc.lock` with this program:
/// `merge.towpath` in its configuration, and lines in `.gitattributes`. Who has no such
/// configuration merges them as text. A pattern that has a merge attribute already (DVC's own
/// driver is one) keeps it.
pub fn install(root: &Path) -> Result<Installed, Error> {
    for (key, value) in [("merge.towpath.name", "data versions"), ("merge.towpath.driver", COMMAND)] {
        hooks::git(root, &["config", "--local", key, value])?;
    }
    let path = root.join(".gitattributes");
    let before = files::read_text(&path)?.unwrap_or_default();
    let after = with_attributes(&before);
    if after != before {
        files::write_atomically(&path, after.as_bytes())?;
    }
    Ok(Installed { attributes_changed: after != before })
}

fn with_attributes(text: &str) -> String {
    let has_merge = |pattern: &str| {
        text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(pattern) && words.any(|word| word.trim_start_matches(['-', '!']).starts_with("merge"))
        })
    };
    let mut after = text.to_owned();
    for pattern in PATTERNS.into_iter().filter(|pattern| !has_merge(pattern)) {
        if !after.is_empty() && !after.ends_with('\n') {
            after.push('\n');
        }
        after.push_str(pattern);
        after.push_str(" merge=towpath\n");
    }
    after
}

/// Merges the files that Git gives a driver and writes the result over `ours`, as Git wants it.
/// `name` is the path of the merged file, relative to the root of the Git repository.
pub fn driver(
    repository: &Repository,
    name: &str,
    [base, ours, theirs]: [&Path; 3],
    marker_size: usize,
) -> Result<Merged, Error> {
    let read = |path: &Path| fs::read_to_string(path).map_err(Error::io("read", path));
    let (base, our_text, theirs) = (read(base)?, read(ours)?, read(theirs)?);
    let sides = Sides { file: name, base: &base, ours: &our_text, theirs: &theirs, marker_size };
    let merged = merge(sides, &mut FetchedFolders::of(repository)?)?;
    files::write_unsynced(ours, merged.text.as_bytes())?;
    Ok(merged)
}

/// Manifests of the cache; those it lacks come from the default remote.
struct FetchedFolders {
    cache: Cache,
    remote: Result<Box<dyn Remote>, Error>,
}

impl FetchedFolders {
    fn of(repository: &Repository) -> Result<Self, Error> {
        Ok(Self { cache: repository.cache()?, remote: repository.remote(None) })
    }
}

impl Folders for FetchedFolders {
    fn manifest(&mut self, oid: &Oid) -> Result<Result<Manifest, String>, Error> {
        let remote = match &self.remote {
            Ok(remote) => remote,
            Err(error) => {
                let problem = || format!("is not in the cache and cannot be fetched ({error})");
                return Ok(self.cache.manifest(oid)?.ok_or_else(problem));
            }
        };
        Ok(match fetch_manifest(&self.cache, remote.as_ref(), oid) {
            Ok(manifest) => manifest.ok_or_else(|| "is neither in the cache nor on the remote".to_owned()),
            Err(error) => Err(format!("is not in the cache and cannot be fetched ({error})")),
        })
    }

    fn size(&mut self, oid: &Oid) -> Option<u64> {
        let cached = self.cache.open_object(oid).ok()?.map(|(_, size)| size);
        cached.or_else(|| self.remote.as_ref().ok()?.stat(&object_key(oid)).ok()??.size)
    }

    fn keep(&mut self, manifest: &Manifest) -> Result<(), Error> {
        self.cache.add_manifest(manifest).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_added_once_and_those_of_the_user_stay() {
        let ours = "*.dvc merge=towpath\ndvc.lock merge=towpath\n";
        assert_eq!(with_attributes(""), ours);
        assert_eq!(with_attributes(ours), ours);
        assert_eq!(with_attributes("*.dvc merge=dvc"), "*.dvc merge=dvc\ndvc.lock merge=towpath\n");
        assert_eq!(
            with_attributes("*.dvc text\ndvc.lock -merge\n"),
            "*.dvc text\ndvc.lock -merge\n*.dvc merge=towpath\n"
        );
    }
}
