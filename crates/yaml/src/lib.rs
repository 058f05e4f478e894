//! YAML with positions: typed reading whose errors show file, line, column and source line; an
//! emitter that writes the dialect of DVC's files byte for byte; edits that keep every byte they do
//! not touch. Scalars resolve as YAML 1.2 with the additions of the Python library that DVC uses.

pub mod edit;
mod emit;
mod entries;
mod error;
mod fields;
mod node;
mod parse;
mod scalar;
mod value;

pub use edit::Step;
pub use emit::emit;
pub use entries::Entries;
pub use error::YamlError;
pub use fields::{Field, Fields};
pub use node::{Document, Entry, Kind, Node, Span};
pub use parse::parse;
pub use scalar::{Scalar, resolve_plain};
pub use value::{Value, python_float, write_python_string};
