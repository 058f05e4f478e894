//! Uploads of one file in parts. Whoever knows the id of an upload may send its parts: the client
//! sends them without its token, as it would to a bucket.

use towpath_core::Timestamp;
use towpath_store::{Row, Tx};

use crate::TrackingError;

/// Parts of one upload.
pub const PARTS: i64 = 10_000;
/// What is not completed in a week is dropped when another upload begins.
const KEPT: i64 = 7 * 24 * 3_600_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// 32 random hex digits.
    pub upload_id: String,
    /// Where the file will be.
    pub path: String,
    /// How many parts it has; they are numbered from 1.
    pub parts: i64,
}

fn from_row(row: &Row) -> Result<Upload, TrackingError> {
    Ok(Upload { upload_id: row.text("upload_id")?, path: row.text("path")?, parts: row.int("parts")? })
}

pub fn begin(tx: &mut Tx<'_>, now: Timestamp, path: &str, parts: i64) -> Result<Upload, TrackingError> {
    if !(1..=PARTS).contains(&parts) {
        return Err(TrackingError::Conflicting(format!("an upload has from 1 to {PARTS} parts, not {parts}")));
    }
    let upload = Upload { upload_id: random_id()?, path: path.to_owned(), parts };
    tx.run(
        "insert into artifact_uploads (upload_id, path, parts, created_at) values ($1, $2, $3, $4)",
        &[&upload.upload_id, &path, &parts, &now],
    )?;
    Ok(upload)
}

fn random_id() -> Result<String, TrackingError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| TrackingError::Random(e.to_string()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

pub fn get(tx: &mut Tx<'_>, upload_id: &str) -> Result<Upload, TrackingError> {
    tx.opt("select * from artifact_uploads where upload_id = $1", &[&upload_id])?
        .map(|row| from_row(&row))
        .transpose()?
        .ok_or_else(|| TrackingError::NoUpload(upload_id.chars().take(64).collect()))
}

/// It is complete, or was given up.
pub fn end(tx: &mut Tx<'_>, upload_id: &str) -> Result<(), TrackingError> {
    tx.run("delete from artifact_uploads where upload_id = $1", &[&upload_id])?;
    Ok(())
}

/// Those that nobody will complete.
pub fn abandoned(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<Upload>, TrackingError> {
    tx.list(
        "select * from artifact_uploads where created_at < $1 order by created_at limit 100",
        &[&Timestamp(now.millis() - KEPT)],
        from_row,
    )
}
