//! An object is put together from chunks, in a file of its full size: each chunk is written to its
//! places as soon as it is there. Every byte that is written was verified first, so a process may be
//! killed at any moment and several may work on the same file; whoever goes on hashes what is there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::{NamedTempFile, TempPath};
use towpath_chunks::{Chunk, ChunkId, Recipe};
use towpath_core::{Clock as _, HashName, SystemClock};

use super::{ChunkedObjects, read_chunk};
use crate::{Cache, Error, Oid, hash};

/// An unfinished object that nobody worked on for so long is given up.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// One object on its way.
#[derive(Debug)]
pub struct Assembly {
    oid: Oid,
    recipe: Recipe,
    dir: PathBuf,
    file: File,
    /// Where each chunk belongs.
    places: HashMap<ChunkId, (u32, Vec<u64>)>,
}

impl Assembly {
    /// Begins, or goes on with what an earlier attempt left, and takes every chunk that objects of
    /// the cache have. Returns the chunks that are still missing, each once, in order.
    ///
    /// # Errors
    /// [`Error::Io`] with [`StorageFull`](std::io::ErrorKind::StorageFull) when the disk has no room
    /// for the whole object, before anything is written.
    pub fn begin(objects: &ChunkedObjects, oid: &Oid, recipe: Recipe) -> Result<(Self, Vec<ChunkId>), Error> {
        let root = root(&objects.cache);
        give_up_old_ones(&root);
        let dir = root.join(name(oid, &recipe.id()));
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        let content = dir.join("content");
        let goes_on = content.exists();
        if !goes_on {
            room_for(recipe.size(), &dir)?;
            let tmp = NamedTempFile::new_in(&dir).map_err(Error::io("write in", &dir))?;
            fs::write(tmp.path(), recipe.encode()).map_err(Error::io("write", tmp.path()))?;
            tmp.persist(dir.join("recipe")).map_err(|e| Error::io("write", &dir)(e.error))?;
        }
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&content);
        let file = options().map_err(Error::io("write", &content))?;
        file.set_len(recipe.size()).map_err(Error::io("write", &content))?;
        let assembly = Self::with(oid.clone(), recipe, dir, file);
        let mut wanted: HashSet<ChunkId> = assembly.places.keys().copied().collect();
        if goes_on {
            assembly.keep_what_is_there(&mut wanted)?;
        }
        assembly.take_from(objects, &mut wanted)?;
        let in_order = assembly.recipe.chunks().iter().map(|chunk| chunk.id);
        let missing = in_order.filter(|id| wanted.remove(id)).collect();
        Ok((assembly, missing))
    }

    /// The one that was begun for this object and recipe; `None` when there is none.
    pub fn open(cache: &Cache, oid: &Oid, recipe: &ChunkId) -> Result<Option<Self>, Error> {
        let dir = root(cache).join(name(oid, recipe));
        let content = dir.join("content");
        let opened = fs::read(dir.join("recipe"))
            .and_then(|bytes| Ok((bytes, OpenOptions::new().read(true).write(true).open(&content)?)));
        match opened {
            Ok((bytes, file)) => Ok(Some(Self::with(oid.clone(), Recipe::decode(&bytes)?, dir, file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &dir)(error)),
        }
    }

    fn with(oid: Oid, recipe: Recipe, dir: PathBuf, file: File) -> Self {
        let mut places: HashMap<ChunkId, (u32, Vec<u64>)> = HashMap::new();
        for (offset, chunk) in recipe.placed() {
            places.entry(chunk.id).or_insert_with(|| (chunk.length, Vec::new())).1.push(offset);
        }
        Self { oid, recipe, dir, file, places }
    }

    /// Bytes of a chunk; `None` when it does not belong to this object.
    pub fn length_of(&self, id: &ChunkId) -> Option<u32> {
        self.places.get(id).map(|(length, _)| *length)
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// [`Error::Chunks`] when it is not what its id says or does not belong to this object.
    pub fn put(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), Error> {
        let Some((length, places)) = self.places.get(id) else {
            return Err(Error::ForeignChunk { oid: self.oid.clone(), chunk: id.to_string() });
        };
        id.verify(bytes)?;
        // A recipe that gives one chunk two lengths: the whole would not fit together.
        if bytes.len() as u64 != u64::from(*length) {
            let problem = format!("chunk {id} has {} bytes, and {length} are announced", bytes.len());
            return Err(towpath_chunks::Error::Recipe(problem).into());
        }
        for place in places {
            self.file.write_all_at(bytes, *place).map_err(Error::io("write in", &self.dir))?;
        }
        Ok(())
    }

    /// Makes it the object, if it is what its id says: the MD5 of the whole. On disk when this
    /// returns. Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when chunks are missing; [`Error::Corrupt`] when all are there and the
    /// whole is something else, and then nothing of it is kept.
    pub fn finish(self, objects: &ChunkedObjects) -> Result<u64, Error> {
        let size = self.recipe.size();
        let (md5, _) = hash::digest_of_file(&self.file, size, HashName::Md5).map_err(Error::io("read", &self.dir))?;
        if md5 != self.oid.md5() {
            let mut wanted: HashSet<ChunkId> = self.places.keys().copied().collect();
            self.keep_what_is_there(&mut wanted)?;
            if !wanted.is_empty() {
                return Err(Error::Incomplete { oid: self.oid, chunks: wanted.len() });
            }
            fs::remove_dir_all(&self.dir).map_err(Error::io("remove", &self.dir))?;
            return Err(Error::corrupt(&self.oid, md5));
        }
        self.file.sync_data().map_err(Error::io("write in", &self.dir))?;
        let content = self.dir.join("content");
        let path = TempPath::try_from_path(&content).map_err(Error::io("write", &content))?;
        let kept = objects.cache.keep(NamedTempFile::from_parts(self.file, path), &self.oid);
        // Another process that put the same object together may have been faster.
        if let Err(error) = kept
            && !objects.cache.has(&self.oid)?
        {
            return Err(error);
        }
        objects.learn(&self.oid, &self.recipe)?;
        // What is left of the folder goes with the old ones, if not now.
        let _ = fs::remove_dir_all(&self.dir);
        Ok(size)
    }

    fn keep_what_is_there(&self, wanted: &mut HashSet<ChunkId>) -> Result<(), Error> {
        for (id, (length, places)) in &self.places {
            let chunk = Chunk { id: *id, length: *length };
            let mut everywhere = true;
            for place in places {
                let found = read_chunk(&self.file, *place, chunk).map_err(Error::io("read", &self.dir))?;
                everywhere &= found.is_some();
            }
            if everywhere {
                wanted.remove(id);
            }
        }
        Ok(())
    }

    fn take_from(&self, objects: &ChunkedObjects, wanted: &mut HashSet<ChunkId>) -> Result<(), Error> {
        for (oid, mut chunks) in objects.index.find(wanted.iter().copied()) {
            // An object that is gone or was damaged since has nothing to give.
            let Ok(Some((file, _))) = objects.cache.open_object(&oid) else { continue };
            chunks.sort_unstable_by_key(|(_, offset)| *offset);
            for (id, offset) in chunks {
                let Some(length) = self.length_of(&id) else { continue };
                if let Ok(Some(bytes)) = read_chunk(&file, offset, Chunk { id, length }) {
                    self.put(&id, &bytes)?;
                    wanted.remove(&id);
                }
            }
        }
        Ok(())
    }
}

fn root(cache: &Cache) -> PathBuf {
    cache.own_dir().join("assembly")
}

fn name(oid: &Oid, recipe: &ChunkId) -> String {
    format!("{oid}-{recipe}")
}

fn room_for(size: u64, dir: &Path) -> Result<(), Error> {
    let disk = rustix::fs::statvfs(dir).map_err(|e| Error::io("read", dir)(e.into()))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < size {
        return Err(Error::io("keep the object in", dir)(std::io::ErrorKind::StorageFull.into()));
    }
    Ok(())
}

/// What cannot be looked at or removed is left for the next time.
fn give_up_old_ones(root: &Path) {
    let now = Duration::from_millis(SystemClock.now().millis().unsigned_abs());
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        // A process that was killed at once left an empty folder.
        let changed = fs::metadata(entry.path().join("content")).or_else(|_| entry.metadata());
        let changed = changed.and_then(|metadata| metadata.modified());
        let changed = changed.map(|changed| changed.duration_since(UNIX_EPOCH).unwrap_or_default());
        if changed.is_ok_and(|changed| changed + KEPT < now) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};

    use super::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn oid(bytes: &[u8]) -> Oid {
        Oid::parse(&hex::encode(Md5::digest(bytes))).unwrap()
    }

    /// The chunks by id.
    fn chunks(bytes: &[u8], recipe: &Recipe) -> HashMap<ChunkId, Vec<u8>> {
        let cut = |(offset, chunk): (u64, Chunk)| {
            (chunk.id, bytes[offset as usize..offset as usize + chunk.length as usize].to_vec())
        };
        recipe.placed().map(cut).collect()
    }

    fn objects() -> (tempfile::TempDir, ChunkedObjects) {
        let dir = tempfile::tempdir().unwrap();
        let objects = ChunkedObjects::of(&Cache::open(dir.path()));
        (dir, objects)
    }

    #[test]
    fn a_new_version_takes_what_it_shares_with_an_old_one() {
        let (_dir, objects) = objects();
        let old = noise(4 << 20, 1);
        objects.cache().receive(&oid(&old), old.as_slice()).unwrap();
        objects.recipe(&oid(&old)).unwrap().unwrap();
        let mut new = old.clone();
        new.insert(2 << 20, 7);
        let recipe = Recipe::of(new.as_slice(), new.len() as u64).unwrap();
        let (assembly, missing) = Assembly::begin(&objects, &oid(&new), recipe.clone()).unwrap();
        assert!((1..=3).contains(&missing.len()), "{} chunks", missing.len());
        let all = chunks(&new, &recipe);
        for id in &missing {
            assembly.put(id, &all[id]).unwrap();
        }
        assert_eq!(assembly.finish(&objects).unwrap(), new.len() as u64);
        assert_eq!(fs::read(objects.cache().path(&oid(&new))).unwrap(), new);
        assert_eq!(fs::read_dir(root(objects.cache())).unwrap().count(), 0);
        assert_eq!(objects.recipe(&oid(&new)).unwrap().unwrap(), recipe);
    }

    #[test]
    fn an_assembly_goes_on_where_it_was_left() {
        let (_dir, objects) = objects();
        let bytes = noise(2 << 20, 2);
        let (oid, recipe) = (oid(&bytes), Recipe::of(bytes.as_slice(), bytes.len() as u64).unwrap());
        let all = chunks(&bytes, &recipe);
        let (assembly, missing) = Assembly::begin(&objects, &oid, recipe.clone()).unwrap();
        let (first, rest) = missing.split_at(missing.len() / 2);
        for id in first {
            assembly.put(id, &all[id]).unwrap();
        }
        let incomplete = assembly.finish(&objects).unwrap_err();
        assert!(matches!(incomplete, Error::Incomplete { chunks, .. } if chunks == rest.len()), "{incomplete}");
        let (_, missing) = Assembly::begin(&objects, &oid, recipe.clone()).unwrap();
        assert_eq!(missing, rest);
        let assembly = Assembly::open(objects.cache(), &oid, &recipe.id()).unwrap().unwrap();
        for id in rest {
            assembly.put(id, &all[id]).unwrap();
        }
        assembly.finish(&objects).unwrap();
        assert!(objects.cache().has(&oid).unwrap());
        assert!(Assembly::open(objects.cache(), &oid, &recipe.id()).unwrap().is_none());
    }

    #[test]
    fn what_is_not_what_it_says_is_refused_and_never_an_object() {
        let (_dir, objects) = objects();
        let bytes = noise(1 << 20, 3);
        let recipe = Recipe::of(bytes.as_slice(), bytes.len() as u64).unwrap();
        let liar = oid(b"something else");
        let (assembly, missing) = Assembly::begin(&objects, &liar, recipe.clone()).unwrap();
        assert!(assembly.put(&missing[0], b"wrong").unwrap_err().to_string().contains("has the content of"));
        assert!(assembly.put(&ChunkId::of(b"x"), b"x").unwrap_err().to_string().contains("does not belong"));
        for (id, bytes) in chunks(&bytes, &recipe) {
            assembly.put(&id, &bytes).unwrap();
        }
        assert!(matches!(assembly.finish(&objects), Err(Error::Corrupt { .. })));
        assert!(!objects.cache().has(&liar).unwrap());
        assert_eq!(fs::read_dir(root(objects.cache())).unwrap().count(), 0);
    }

    #[test]
    fn a_recipe_that_repeats_a_chunk_beyond_the_disk_writes_nothing() {
        let (_dir, objects) = objects();
        let zeros = vec![0; 4 << 20];
        let chunk = ChunkId::of(&zeros);
        let mut bytes = b"TPRECIP1".to_vec();
        let count = 1_800_000_u32;
        bytes.extend_from_slice(&(u64::from(count) * (4 << 20)).to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        for _ in 0..count {
            bytes.extend_from_slice(chunk.as_bytes());
            bytes.extend_from_slice(&(4_u32 << 20).to_le_bytes());
        }
        let recipe = Recipe::decode(&bytes).unwrap();
        let error = Assembly::begin(&objects, &oid(b"bomb"), recipe).unwrap_err();
        assert_eq!(towpath_core::Classify::kind(&error), towpath_core::Kind::Exhausted, "{error}");
    }
}
