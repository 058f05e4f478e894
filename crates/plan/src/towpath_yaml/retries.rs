//! `retries`: how often a stage that failed is tried again.

use std::collections::BTreeMap;

use towpath_core::project::Retries;
use towpath_yaml::{Field, YamlError};

use super::{defaults, units};

/// More attempts than this are a mistake.
const MOST: u64 = 100;

pub(super) fn read(field: Option<Field<'_>>) -> Result<BTreeMap<String, Retries>, YamlError> {
    let mut retries = BTreeMap::new();
    for (entry, field) in field.map(|f| f.entries()).transpose()?.unwrap_or_default() {
        retries.insert(entry.key.clone(), of_stage(field)?);
    }
    Ok(retries)
}

/// A number, or a mapping.
fn of_stage(field: Field<'_>) -> Result<Retries, YamlError> {
    if !field.is_map() {
        return Ok(Retries { count: count(field)?, ..defaults::retries() });
    }
    let mut fields = field.fields()?;
    let mut retries = Retries { count: count(fields.required("count")?)?, ..defaults::retries() };
    if let Some(delay) = fields.optional("delay") {
        retries.delay_seconds = units::duration(delay)?;
    }
    if let Some(longest) = fields.optional("max_delay") {
        retries.max_delay_seconds = units::duration(longest)?;
        if retries.max_delay_seconds < retries.delay_seconds {
            return Err(longest.error("'max_delay' must not be shorter than 'delay'"));
        }
    }
    if let Some(codes) = fields.optional("exit_codes") {
        for code in codes.items()? {
            match code.as_i64() {
                Ok(number @ 1..=255) => retries.exit_codes.push(number as i32),
                _ => return Err(code.expected("an exit code from 1 to 255")),
            }
        }
    }
    fields.finish()?;
    Ok(retries)
}

fn count(field: Field<'_>) -> Result<u32, YamlError> {
    match field.as_u64() {
        Ok(count @ 0..=MOST) => Ok(count as u32),
        _ => Err(field.expected("how many attempts follow the first (0 to 100)")),
    }
}
