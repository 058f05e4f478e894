//! From DVC 2 to DVC 3: `dvc cache migrate`.
//!
//! DVC 2 knew files by an MD5 that overlooks line ends (`md5-dos2unix`) and kept them in another
//! place of the cache. Here its objects get the names of DVC 3 as well, and entries of `.dvc` and
//! `dvc.lock` files are told by them. Contents come from the cache, so nothing of them has to be in the
//! workspace (DVC hashes the workspace, and writes files that it cannot read if data is not there).

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rayon::prelude::*;
use towpath_core::{Content, HashName};

use crate::cache::TRUSTED_MODE;
use crate::imports::with_checksum;
use crate::links::{self, LinkType};
use crate::manifest::{Entry, Manifest};
use crate::pointer::PointerFile;
use crate::progress::{Event, Work};
use crate::scratch::Scratch;
use crate::{Cache, Error, Oid, Progress, Repository, Workspace, gc, hash};

/// The objects of DVC 2 in a cache.
pub fn objects_of_dvc_2(cache: &Cache) -> Result<Vec<Oid>, Error> {
    let objects = gc::objects_in(cache.dir())?.into_iter().map(|object| object.oid);
    Ok(objects.filter(|oid| !oid.hash_name().is_md5()).collect())
}

/// A cache whose objects of DVC 2 have the names of DVC 3, too.
pub struct Migration<'r> {
    repository: &'r Repository,
    cache: Cache,
    workspace: Workspace,
    /// By the names of DVC 2.
    names: HashMap<Oid, Oid>,
}

/// What became of files that have entries of DVC 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Written anew, relative to the root.
    pub files: Vec<String>,
    /// Outputs and dependencies whose content is neither in the cache nor in the workspace; their
    /// entries stay.
    pub left: Vec<String>,
}

impl<'r> Migration<'r> {
    /// Hashes the objects and links them to their new places; the old ones stay. The caller holds the
    /// lock.
    pub fn of_cache(repository: &'r Repository, progress: &dyn Progress) -> Result<Self, Error> {
        let (cache, workspace) = (repository.cache()?, repository.workspace()?);
        let objects = objects_of_dvc_2(&cache)?;
        progress.event(Event::Started { work: Work::Adding, items: objects.len() as u64 });
        let scratch = cache.new_scratch()?;
        let names = objects.into_par_iter().map(|old| {
            let new = link_anew(&cache, &scratch, &old)?;
            progress.event(Event::Done { work: Work::Adding, bytes: 0 });
            Ok((old, new))
        });
        let names = names.collect::<Result<HashMap<_, _>, Error>>()?;
        progress.event(Event::Finished { work: Work::Adding });
        Ok(Self { repository, cache, workspace, names })
    }

    /// How many objects there were.
    pub fn objects(&self) -> usize {
        self.names.len()
    }

    /// How DVC 3 tells a content that DVC 2 recorded of `path` (relative to the root); `None` when it
    /// is nowhere. What is in the workspace only is kept in the cache if `cached`.
    pub fn content(&self, path: &str, recorded: &Content, cached: bool) -> Result<Option<Content>, Error> {
        let old = Oid::of(recorded)?;
        let from_cache = if old.is_dir() { self.folder(&old)? } else { self.names.get(&old).cloned() };
        if let Some(new) = from_cache {
            return Ok(Some(Content { md5: new.to_string(), hash: HashName::Md5, ..recorded.clone() }));
        }
        let found = self.workspace.hash_as(Path::new(path), recorded.hash)?;
        if found.is_none_or(|found| found.content.md5 != recorded.md5) {
            return Ok(None);
        }
        if cached {
            return self.cache.add_path(&self.workspace, Path::new(path)).map(Some);
        }
        Ok(self.workspace.hash(Path::new(path))?.map(|found| found.content))
    }

    /// The manifest that lists the files of another one by their new names, if all are in the cache.
    fn folder(&self, old: &Oid) -> Result<Option<Oid>, Error> {
        let Some(manifest) = self.cache.manifest(old)? else { return Ok(None) };
        let entry = |entry: &Entry| {
            let oid = self.names.get(&entry.oid)?.clone();
            Some(Entry { relpath: entry.relpath.clone(), oid })
        };
        let entries = manifest.entries().iter().map(entry).collect::<Option<Vec<_>>>();
        entries.map(|entries| self.cache.add_manifest(&Manifest::new(entries))).transpose()
    }

    /// Writes the `.dvc` files that have entries of DVC 2 as DVC 3 does.
    pub fn pointers(&self) -> Result<Migrated, Error> {
        let mut migrated = Migrated::default();
        for pointer in self.repository.pointers()? {
            if let Some(text) = self.pointer_text(&pointer, &mut migrated.left)? {
                self.repository.write(&pointer.path, &text)?;
                migrated.files.push(pointer.path);
            }
        }
        self.workspace.save()?;
        Ok(migrated)
    }

    fn pointer_text(&self, pointer: &PointerFile, left: &mut Vec<String>) -> Result<Option<String>, Error> {
        let mut text = pointer.text.clone();
        for (out, tracked) in pointer.outs.iter().zip(pointer.tracked()?) {
            let Some(recorded) = out.content.as_ref().filter(|content| !content.hash.is_md5()) else { continue };
            match self.content(&tracked.path, recorded, tracked.cached)? {
                Some(content) => text = PointerFile::parse(&pointer.path, text)?.with_content(&out.path, &content)?,
                None => left.push(tracked.path),
            }
        }
        if text == pointer.text {
            return Ok(None);
        }
        let has_checksum = towpath_yaml::parse(&pointer.path, &text)?.root().get("md5").is_some();
        Ok(Some(if has_checksum { with_checksum(&pointer.path, &text)? } else { text }))
    }
}

/// True when a `.dvc` file has an entry of DVC 2.
pub fn is_of_dvc_2(pointer: &PointerFile) -> bool {
    pointer.outs.iter().any(|out| out.content.as_ref().is_some_and(|content| !content.hash.is_md5()))
}

/// Gives an object its name of DVC 3, by a hard link where the file system has them.
fn link_anew(cache: &Cache, scratch: &Scratch, old: &Oid) -> Result<Oid, Error> {
    let from = cache.path(old);
    let file = File::open(&from).map_err(Error::io("read", &from))?;
    let size = file.metadata().map_err(Error::io("read", &from))?.len();
    let (md5, _) = hash::digest_of_file(&file, size, HashName::Md5).map_err(Error::io("read", &from))?;
    let new = if old.is_dir() { Oid::of_dir(md5, HashName::Md5) } else { Oid::of_file(md5, HashName::Md5) };
    if cache.has(&new)? {
        return Ok(new);
    }
    let (linked, to) = (scratch.path(), cache.path(&new));
    links::link(&[LinkType::Hardlink, LinkType::Reflink, LinkType::Copy], &from, &linked)?;
    fs::set_permissions(&linked, Permissions::from_mode(TRUSTED_MODE)).map_err(Error::io("write", &linked))?;
    cache.make_folder(to.parent().unwrap_or(&to))?;
    fs::rename(&linked, &to).map_err(Error::io("write", &to))?;
    Ok(new)
}
