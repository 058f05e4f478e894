//! Data that comes from elsewhere and remembers from where: `import`, `import-url`, `update`.
//!
//! The `.dvc` file of an import has one dependency, the place that it comes from. It is frozen, and records an MD5 over
//! itself (dvc, `repo/imp_url.py`, `dependency/repo.py`).

mod checksum;
mod import;
mod update;
mod url;

use std::error::Error as StdError;
use std::fmt::Debug;

use towpath_core::Content;
use towpath_yaml::{Field, YamlError};

use crate::{Cache, Progress};

pub use checksum::checksum;
pub use import::{Imported, Request, Take, import};
pub(crate) use import::{check_place, with_checksum};
pub use update::{ImportedFrom, Updated, update};
pub use url::{ImportedUrl, Origin, TakeUrl, ToRemote, import_url, news_of_url, update_url};
pub(crate) use url::{fetch_import, through_scratch_cache};

/// Where the data of an import comes from, as its `.dvc` file records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    Repository(ImportedFrom),
    Url(ImportedUrl),
}

impl Import {
    /// Reads the only dependency of a `.dvc` file that is at `folder`; `None` for one of a database or
    /// a dataset, which are DVC's alone.
    pub(crate) fn read(dependency: Field<'_>, folder: &str) -> Result<Option<Self>, YamlError> {
        let mut fields = dependency.fields()?;
        if fields.optional("repo").is_some() {
            return update::read_dependency(dependency).map(Self::Repository).map(Some);
        }
        if fields.optional("db").is_some() || fields.optional("dataset").is_some() {
            return Ok(None);
        }
        url::read_dependency(dependency, folder).map(Self::Url).map(Some)
    }

    /// True when the data is neither pushed nor fetched from a remote, because where it comes from keeps
    /// it. `recorded` is what the import records of it.
    pub fn keeps_data(&self, recorded: Option<&Content>) -> bool {
        match self {
            Self::Repository(_) => true,
            Self::Url(from) => from.is_by_version() || recorded.is_none(),
        }
    }
}

/// Opens the repositories that imports come from, which takes Git.
pub trait Repositories: Debug + Sync {
    /// Brings what an import records into the cache.
    fn fetch(
        &self,
        import: &ImportedFrom,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Content, Box<dyn StdError + Send + Sync>>;
}
