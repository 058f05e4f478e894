//! Where objects are shared: a folder or a web server, both laid out as `files/md5/<2>/<rest>`.

mod http;
mod local;

use std::io::Read;
use std::path::Path;

use crate::config::RemoteConfig;
use crate::{Error, Oid};

pub use http::HttpRemote;
pub use local::LocalRemote;

/// A place objects are pushed to and pulled from. One request each: retries and parallelism are the
/// transfer's. That a manifest is there means that its files are, too; whoever uploads keeps to it.
pub trait Remote: Send + Sync {
    /// As a person calls it: the url or folder.
    fn url(&self) -> &str;

    /// How many requests to make at a time.
    fn jobs(&self) -> usize;

    fn exists(&self, oid: &Oid) -> Result<bool, Error>;

    /// Stores the file at `from` as that object.
    fn upload(&self, oid: &Oid, from: &Path) -> Result<(), Error>;

    /// The object's bytes, not yet verified; `None` when the remote does not have it.
    fn download(&self, oid: &Oid) -> Result<Option<Box<dyn Read + Send>>, Error>;
}

/// The remote that a configuration describes. Nothing is asked of it yet.
pub fn open(config: &RemoteConfig) -> Result<Box<dyn Remote>, Error> {
    if config.url.starts_with("http://") || config.url.starts_with("https://") {
        Ok(Box::new(HttpRemote::open(config)?))
    } else {
        Ok(Box::new(LocalRemote::open(Path::new(&config.url), config.jobs)))
    }
}
