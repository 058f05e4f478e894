//! Data that comes from another repository and remembers from which: `import`, `update`.
//!
//! The `.dvc` file of an import has a dependency with a `repo`, is frozen, and records an MD5 over
//! itself (dvc, `repo/imp_url.py`, `dependency/repo.py`).

mod checksum;
mod import;
mod update;

pub use checksum::checksum;
pub use import::{Imported, Request, Take, import};
pub use update::{ImportedFrom, Updated, imported_from, update};
