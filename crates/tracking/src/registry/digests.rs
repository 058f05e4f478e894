//! SHA-256 of stored files, kept as long as the store says that a file is the same.

use towpath_core::Digest;
use towpath_store::Tx;

use crate::TrackingError;
use crate::artifacts::StoredFile;

/// The digest of a file below `root`, when it is known.
pub fn known(tx: &mut Tx<'_>, root: &str, file: &StoredFile) -> Result<Option<Digest>, TrackingError> {
    let Some(etag) = &file.etag else { return Ok(None) };
    let sql = "select sha256 from artifact_digests where path = $1 and etag = $2 and size = $3";
    let row = tx.opt(sql, &[&place(root, file), etag, &size(file)])?;
    Ok(row.map(|row| row.text("sha256")).transpose()?.and_then(|text| text.parse().ok()))
}

/// Keeps what was read of it.
pub fn keep(tx: &mut Tx<'_>, root: &str, file: &StoredFile, sha256: &Digest) -> Result<(), TrackingError> {
    let Some(etag) = &file.etag else { return Ok(()) };
    tx.run(
        "insert into artifact_digests (path, etag, size, sha256) values ($1, $2, $3, $4) \
         on conflict (path) do update set etag = excluded.etag, size = excluded.size, sha256 = excluded.sha256",
        &[&place(root, file), etag, &size(file), &sha256.as_str()],
    )?;
    Ok(())
}

fn place(root: &str, file: &StoredFile) -> String {
    format!("{root}/{}", file.path).trim_end_matches('/').to_owned()
}

fn size(file: &StoredFile) -> i64 {
    i64::try_from(file.size).unwrap_or(i64::MAX)
}
