//! Large objects by chunks, in the caches of clients and servers alike: what an object is made of,
//! where a chunk can be had without the network, and how an object is put together.
//!
//! Everything lies in the cache's own folder, which DVC neither reads nor collects:
//!
//! | path | what |
//! |---|---|
//! | `towpath/recipes/<2>/<rest>` | the recipe of the object with that id |
//! | `towpath/chunks.db` | in which object a chunk was seen; without it only bytes are lost |
//! | `towpath/assembly/<oid>-<recipe>/` | an object on its way: `recipe`, `content` |
//!
//! The objects themselves stay whole files, so DVC reads them as ever.

mod assembly;
mod index;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use towpath_chunks::{Chunk, ChunkId, Recipe};

use crate::{Cache, Error, Oid};
pub use assembly::Assembly;
use index::Index;

/// Recipes and chunks of one cache.
#[derive(Clone, Debug)]
pub struct ChunkedObjects {
    cache: Cache,
    index: Index,
}

impl ChunkedObjects {
    /// Nothing is read or made yet.
    pub fn of(cache: &Cache) -> Self {
        let index = Index::at(cache.own_dir().join("chunks.db"));
        Self { cache: cache.clone(), index }
    }

    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The recipe of an object in the cache; `None` when the object is not there. It is made from
    /// the object, which costs one reading of it, the first time.
    pub fn recipe(&self, oid: &Oid) -> Result<Option<Recipe>, Error> {
        let Some((file, size)) = self.cache.open_object(oid)? else { return Ok(None) };
        let kept = fs::read(self.recipe_path(oid)).ok().and_then(|bytes| Recipe::decode(&bytes).ok());
        if let Some(recipe) = kept.filter(|recipe| recipe.size() == size) {
            return Ok(Some(recipe));
        }
        let recipe = Recipe::of(file, size).map_err(Error::io("read", &self.cache.path(oid)))?;
        self.learn(oid, &recipe)?;
        Ok(Some(recipe))
    }

    /// Remembers what an object in the cache is made of.
    pub(crate) fn learn(&self, oid: &Oid, recipe: &Recipe) -> Result<(), Error> {
        let path = self.recipe_path(oid);
        let tmp = self.cache.temporary_file()?;
        fs::write(tmp.path(), recipe.encode()).map_err(Error::io("write", tmp.path()))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        tmp.persist(&path).map_err(|e| Error::io("write", &path)(e.error))?;
        self.index.insert(oid, recipe);
        Ok(())
    }

    fn recipe_path(&self, oid: &Oid) -> PathBuf {
        let text = oid.to_string();
        self.cache.own_dir().join("recipes").join(&text[..2]).join(&text[2..])
    }
}

/// The bytes of a chunk, verified; `None` when the file does not have it there.
fn read_chunk(file: &File, offset: u64, chunk: Chunk) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; chunk.length as usize];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok((ChunkId::of(&bytes) == chunk.id).then_some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads chunks of one object, in order of their places.
#[derive(Debug)]
pub struct ChunkSource {
    file: File,
    path: PathBuf,
    recipe: Recipe,
}

impl ChunkSource {
    /// `None` when the object is not in the cache.
    pub fn open(objects: &ChunkedObjects, oid: &Oid) -> Result<Option<Self>, Error> {
        let Some(recipe) = objects.recipe(oid)? else { return Ok(None) };
        let opened = objects.cache.open_object(oid)?;
        let path = objects.cache.path(oid);
        Ok(opened.map(|(file, _)| Self { file, path, recipe }))
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// # Errors
    /// [`Error::DamagedChunk`] when the object no longer has the chunk there.
    pub fn read(&self, offset: u64, chunk: Chunk) -> Result<Vec<u8>, Error> {
        let found = read_chunk(&self.file, offset, chunk).map_err(Error::io("read", &self.path))?;
        found.ok_or_else(|| Error::DamagedChunk { path: self.path.clone(), offset })
    }
}
