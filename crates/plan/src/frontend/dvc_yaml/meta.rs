//! `meta: {towpath: {...}}` of a stage: free text to DVC, instructions here.

use towpath_yaml::{Field, YamlError};

use super::datums;
use crate::confinement;
use crate::pipeline::Stage;

/// Everything else of the stage has been read.
pub(super) fn read(meta: Field<'_>, stage: &mut Stage) -> Result<(), YamlError> {
    let Some(ours) = entry(meta, "towpath")? else { return Ok(()) };
    let mut fields = ours.fields()?;
    stage.datums = fields.optional("datum").map(|datum| datums::read(datum, stage)).transpose()?;
    stage.confinement = confinement::read(&mut fields)?;
    fields.finish()
}

fn entry<'a>(map: Field<'a>, key: &str) -> Result<Option<Field<'a>>, YamlError> {
    if !map.is_map() {
        return Ok(None);
    }
    Ok(map.entries()?.into_iter().find(|(entry, _)| entry.key == key).map(|(_, field)| field))
}
