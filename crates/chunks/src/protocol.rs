//! What client and server agree on beside the formats: the paths below a data remote, and its limits.
//!
//! All paths are relative to the url of the remote. Lists of ids are text, one id a line.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET towpath` | | [`Capabilities`] as JSON |
//! | `POST towpath/missing` | object ids | those that are not there |
//! | `POST towpath/objects` | pack of objects | 200 when all are published |
//! | `POST towpath/fetch` | object ids | pack; those it does not name did not fit: ask again |
//! | `GET towpath/recipes/<oid>` | | recipe |
//! | `PUT towpath/recipes/<oid>` | recipe | ids of the chunks that are to be sent; 204: the object is there |
//! | `POST towpath/recipes/<oid>/chunks` | chunk ids | pack of chunks |
//! | `POST towpath/uploads/<oid>/<recipe id>/chunks` | pack of chunks | 200 when all are kept |
//! | `POST towpath/uploads/<oid>/<recipe id>` | | 200 when the object is published |

use serde::{Deserialize, Serialize};

/// The version of all this.
pub const PROTOCOL: u32 = 1;

/// What a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub protocol: u32,
    /// The most ids in one question, and objects in one pack.
    pub ids: usize,
    /// The most bytes of a pack.
    pub pack_bytes: u64,
    /// Objects of more bytes are not packed but sent by chunks.
    pub packed_object_bytes: u64,
}

impl Capabilities {
    pub const OURS: Self = Self { protocol: PROTOCOL, ids: 10_000, pack_bytes: 32 << 20, packed_object_bytes: 1 << 20 };
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::OURS
    }
}
