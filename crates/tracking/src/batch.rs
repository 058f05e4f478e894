//! Logging many points, parameters and tags of a run at once: all of them or nothing.

use std::collections::BTreeSet;

use towpath_store::Tx;

use crate::metrics::{self, Metric};
use crate::{KeyValue, TrackingError, params, runs, tags, validate};

pub const METRICS: usize = 1000;
pub const PARAMS: usize = 100;
pub const TAGS: usize = 100;
pub const TOGETHER: usize = 1000;

/// What one call may log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub metrics: Vec<Metric>,
    pub params: Vec<KeyValue>,
    pub tags: Vec<KeyValue>,
}

impl Batch {
    fn check(&self) -> Result<(), TrackingError> {
        let bounds = [
            ("metrics", self.metrics.len(), METRICS),
            ("params", self.params.len(), PARAMS),
            ("tags", self.tags.len(), TAGS),
            ("metrics, params, and tags", self.metrics.len() + self.params.len() + self.tags.len(), TOGETHER),
        ];
        for (what, count, limit) in bounds {
            if count > limit {
                return Err(TrackingError::Conflicting(format!(
                    "A batch logging request can contain at most {limit} {what}. Got {count} {what}. Please split up {what} across multiple requests and try again."
                )));
            }
        }
        for (i, metric) in self.metrics.iter().enumerate() {
            metric.check(&format!("metrics[{i}]."))?;
        }
        let mut seen = BTreeSet::new();
        for (i, param) in self.params.iter().enumerate() {
            validate::key(&format!("params[{i}].key"), &param.key)?;
            if !seen.insert(param.key.as_str()) {
                return Err(TrackingError::Conflicting(format!(
                    "Duplicate parameter keys have been submitted: ['{}']. Please ensure the request contains only one param value per param key.",
                    param.key
                )));
            }
        }
        for (i, tag) in self.tags.iter().enumerate() {
            validate::key(&format!("tags[{i}].key"), &tag.key)?;
        }
        Ok(())
    }
}

/// Logs the batch to an active run.
pub fn log(tx: &mut Tx<'_>, run_id: &str, batch: &Batch) -> Result<(), TrackingError> {
    batch.check()?;
    let run = runs::active(tx, run_id)?;
    for param in &batch.params {
        params::put(tx, &run, param)?;
    }
    metrics::put(tx, &run, &batch.metrics)?;
    for tag in &batch.tags {
        tags::put(tx, &run, tag)?;
    }
    runs::notify(tx, &run);
    Ok(())
}
