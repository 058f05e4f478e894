//! Data that comes from elsewhere and remembers from where: `import`, `import-url`, `update`.
//!
//! The `.dvc` file of an import has one dependency, the place that it comes from. It is frozen, and records an MD5 over
//! itself (dvc, `repo/imp_url.py`, `dependency/repo.py`).

mod checksum;
mod import;
mod update;
mod url;

pub use checksum::checksum;
pub use import::{Imported, Request, Take, import};
pub use update::{ImportedFrom, Updated, imported_from, update};
pub use url::{TakeUrl, import_url, imported_from_url, update_url};
