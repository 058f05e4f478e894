//! What joins pipeline runs to releases: the end of a run opens the first environment's.

use std::sync::Arc;

use towpath_core::Timestamp;
use towpath_delivery::{Delivery, OpenRequest};
use towpath_runs::{Error, NewVersion, OpenRelease};
use towpath_store::Tx;

/// Opens the first release of a new version.
pub(crate) struct FirstRelease(pub Arc<Delivery>);

impl OpenRelease for FirstRelease {
    fn open(&self, tx: &mut Tx<'_>, now: Timestamp, version: NewVersion<'_>) -> Result<(), Error> {
        let request = OpenRequest {
            project: version.project,
            model: version.model,
            version: version.version,
            file: version.file,
            requested_by: version.requested_by,
        };
        let opened = self.0.open_for_version(tx, now, request).map_err(|error| Error::Release {
            model: version.model.to_owned(),
            version: version.version,
            detail: error.to_string(),
        })?;
        tracing::debug!(model = version.model, version = version.version, ?opened, "the end of a run");
        Ok(())
    }
}
