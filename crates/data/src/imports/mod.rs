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
pub(crate) use import::{check_place, with_checksum};
pub use update::{ImportedFrom, Updated, imported_from, update};
pub(crate) use url::through_scratch_cache;
pub use url::{Origin, TakeUrl, ToRemote, import_url, imported_from_url, update_url};
