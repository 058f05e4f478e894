//! `timeouts`: how long a stage may run, wait, or say nothing.

use std::collections::BTreeMap;

use towpath_core::project::Waits;
use towpath_yaml::{Field, YamlError};

use super::units;

#[derive(Default)]
pub(super) struct Timeouts {
    /// Seconds of the run itself.
    pub(super) run: BTreeMap<String, u64>,
    pub(super) waits: BTreeMap<String, Waits>,
}

pub(super) fn read(field: Option<Field<'_>>) -> Result<Timeouts, YamlError> {
    let mut timeouts = Timeouts::default();
    for (entry, field) in field.map(|f| f.entries()).transpose()?.unwrap_or_default() {
        let stage = entry.key.clone();
        if !field.is_map() {
            timeouts.run.insert(stage, seconds(field)?.ceil() as u64);
            continue;
        }
        let mut fields = field.fields()?;
        if let Some(run) = fields.optional("run") {
            timeouts.run.insert(stage.clone(), seconds(run)?.ceil() as u64);
        }
        let waits = Waits {
            queue_seconds: fields.optional("queue").map(seconds).transpose()?,
            start_seconds: fields.optional("start").map(seconds).transpose()?,
            heartbeat_seconds: fields.optional("heartbeat").map(seconds).transpose()?,
        };
        fields.finish()?;
        timeouts.waits.insert(stage, waits);
    }
    Ok(timeouts)
}

fn seconds(field: Field<'_>) -> Result<f64, YamlError> {
    let seconds = units::duration(field)?;
    if seconds < 1.0 { Err(field.error("a timeout must be at least 1s")) } else { Ok(seconds) }
}
