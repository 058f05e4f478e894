use serde_json::json;
use towpath_api::backfills::Backfill;

use super::{One, counts};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Pauses, resumes or cancels a backfill.
pub async fn change(ctx: &Context, one: One, verb: &str) -> Result<Exit, Error> {
    let path = one.path(ctx)?;
    let backfill: Backfill = ctx.client()?.post(&format!("{path}/{verb}"), &json!({})).await?;
    ctx.ui.show_as(&backfill, || {
        format!("Backfill {} is {}: {}.", backfill.number, backfill.status.as_str(), counts(&backfill))
    })?;
    Ok(Exit::Done)
}
