//! Other repositories and addresses, read only: what `get`, `list`, `import` and their siblings for
//! urls take data from.

mod address;
mod list;
mod source;

pub(crate) use address::is_by_version;
pub use address::{Address, AddressEntry, Fingerprint, StoredVersion};
pub use list::{Depth, Listed};
pub use source::Source;

use crate::manifest::Manifest;
use crate::remote::{Wanted, object_key};
use crate::{Cache, Error, Oid, Remote};

/// The manifest of a folder without its files: from the cache, or else from a remote into the cache;
/// nothing when neither has it.
pub(crate) fn fetch_manifest(cache: &Cache, remote: &dyn Remote, oid: &Oid) -> Result<Option<Manifest>, Error> {
    if let Some(manifest) = cache.manifest(oid)? {
        return Ok(Some(manifest));
    }
    let Some(sent) = remote.download(&Wanted::whole(&object_key(oid)))? else { return Ok(None) };
    cache.receive(oid, sent.body)?;
    cache.manifest(oid)
}
