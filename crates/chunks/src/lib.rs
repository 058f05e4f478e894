//! Large files as lists of chunks whose borders follow from the content, so that two versions of a
//! file share most of theirs; and packs, which carry many contents in one stream.
//!
//! Pure: readers and bytes in, values and bytes out. What came from somebody else is decoded with
//! bounds, and every refusal says what is wrong.

pub mod chunker;
pub mod error;
pub mod pack;
pub mod protocol;
pub mod recipe;

pub use chunker::{Chunker, Sizes};
pub use error::Error;
pub use pack::{Frame, PackReader, PackWriter};
pub use recipe::{Chunk, ChunkId, Recipe};
