//! Remotes that move many small objects in one request, and of large ones only what is new.

use crate::unpack::Unpacked;
use crate::{Cache, Error, Oid};

/// One request or a few each; retries and parallelism are the transfer's. Objects of DVC 3 only.
pub trait Batch: Send + Sync {
    /// The most objects in one question or pack.
    fn most(&self) -> usize;

    /// Larger objects go alone.
    fn packed_object_bytes(&self) -> u64;

    /// Those of at most [`most`](Self::most) objects that the remote lacks.
    fn missing(&self, oids: &[Oid]) -> Result<Vec<Oid>, Error>;

    /// Uploads objects of the cache together.
    fn upload_pack(&self, cache: &Cache, oids: &[Oid]) -> Result<(), Error>;

    /// Uploads the chunks of an object that the remote has not seen.
    fn upload_large(&self, cache: &Cache, oid: &Oid) -> Result<(), Error>;

    /// Downloads objects into the cache, as many as fit: those that the answer does not name are to
    /// be asked for again.
    fn download_pack(&self, cache: &Cache, oids: &[Oid]) -> Result<Unpacked, Error>;

    /// Downloads the chunks of an object that the cache has not seen. Returns the object's size in
    /// bytes; `None` when the remote does not have it.
    fn download_large(&self, cache: &Cache, oid: &Oid) -> Result<Option<u64>, Error>;
}
