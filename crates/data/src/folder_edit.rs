//! Changes to a tracked folder of which only the manifest is needed: the content of everything else
//! stays where it is.

use towpath_core::{Content, HashName};

use crate::manifest::{Entry, Manifest};
use crate::remote::{self, Wanted};
use crate::targets::is_within;
use crate::{Cache, Error, Oid, Repository, TrackedOutput};

/// The manifest of a tracked folder; from the remote if the cache lacks it.
///
/// # Errors
/// [`Error::NotInCache`] when it is nowhere.
pub(crate) fn manifest_of(repository: &Repository, cache: &Cache, output: &TrackedOutput) -> Result<Manifest, Error> {
    let unusable =
        |problem: &str| Error::UnusablePath { path: output.path.clone().into(), problem: problem.to_owned() };
    let content =
        output.content.as_ref().ok_or_else(|| unusable("nothing is recorded of it yet; add it as a whole"))?;
    if !content.is_dir() {
        return Err(unusable("it is tracked as a file; nothing can be inside it"));
    }
    if content.hash == HashName::Md5Dos2unix {
        return Err(unusable("it is an entry of DVC 2; convert it with `towpath cache migrate --dvc-files`"));
    }
    let oid = Oid::of(content)?;
    if let Some(manifest) = cache.manifest(&oid)? {
        return Ok(manifest);
    }
    let absent = || Error::NotInCache { path: output.path.clone(), oids: vec![oid.clone()] };
    let remote = repository.remote(output.remote.as_deref()).map_err(|error| match error {
        Error::NoDefaultRemote => absent(),
        other => other,
    })?;
    let key = remote::object_key(&oid);
    let download = remote.download(&Wanted::whole(&key))?.ok_or_else(absent)?;
    cache.receive(&oid, download.body)?;
    cache.manifest(&oid)?.ok_or_else(absent)
}

/// What a change of a folder came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) content: Content,
    /// False when the size of something that went is not known, so that of the whole is not either.
    pub(crate) size_is_known: bool,
}

/// Replaces the file or everything below the folder `at` (relative to the tracked folder) by `new`,
/// which has `new_size` bytes, and stores the new manifest.
pub(crate) fn replace(
    cache: &Cache,
    manifest: &Manifest,
    recorded: &Content,
    at: &str,
    new: Vec<Entry>,
    new_size: u64,
) -> Result<Edited, Error> {
    let (gone, kept): (Vec<Entry>, Vec<Entry>) =
        manifest.entries().iter().cloned().partition(|entry| is_within(&entry.relpath, at));
    let mut size = Some(recorded.size);
    for entry in &gone {
        let of_entry =
            if new.contains(entry) && gone.len() == 1 { Some(new_size) } else { size_of(cache, &entry.oid)? };
        size = size.zip(of_entry).and_then(|(all, one)| all.checked_sub(one));
    }
    let edited = Manifest::new(kept.into_iter().chain(new).collect());
    cache.add_manifest(&edited)?;
    let content = edited.content(size.unwrap_or(0) + new_size);
    if content.md5 == recorded.md5 {
        return Ok(Edited { content: recorded.clone(), size_is_known: true });
    }
    Ok(Edited { content, size_is_known: size.is_some() })
}

fn size_of(cache: &Cache, oid: &Oid) -> Result<Option<u64>, Error> {
    Ok(cache.open_object(oid)?.map(|(_, size)| size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(relpath: &str, digit: char) -> Entry {
        Entry { relpath: relpath.into(), oid: Oid::parse(&digit.to_string().repeat(32)).unwrap() }
    }

    #[test]
    fn a_file_is_added_replaced_and_removed_without_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let manifest = Manifest::new(vec![entry("a/x", '1'), entry("b", '2')]);
        let recorded = manifest.content(10);

        let added = replace(&cache, &manifest, &recorded, "a/y", vec![entry("a/y", '3')], 5).unwrap();
        assert_eq!((added.content.size, added.content.nfiles, added.size_is_known), (15, Some(3), true));

        let removed = replace(&cache, &manifest, &recorded, "a", Vec::new(), 0).unwrap();
        assert_eq!((removed.content.nfiles, removed.size_is_known), (Some(1), false), "a/x was never here");
        let unchanged = replace(&cache, &manifest, &recorded, "b", vec![entry("b", '2')], 4).unwrap();
        assert_eq!(unchanged.content, recorded);
    }
}
