//! Uploads in parts, with a note of what was sent: a process that was killed, or that gave up,
//! leaves the note, and the next upload of the same file sends only what is missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path as FilePath, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::multipart::PartId;
use object_store::path::Path;
use serde_json::{Value, json};
use towpath_core::Digest;

use super::{ObjectRemote, stat_of_put};
use crate::remote::Stat;
use crate::{Error, files};

const PART_BYTES: u64 = 8 << 20;

/// Stores allow 10,000; then parts become larger.
const MOST_PARTS: u64 = 9_000;

/// Of one file at a time.
const PARTS_AT_A_TIME: usize = 4;

/// An upload that was begun.
struct Upload {
    /// Where this is noted, if anywhere.
    note: Option<PathBuf>,
    id: String,
    part_bytes: u64,
    /// What the store calls the parts that it has, by their number from 0.
    sent: BTreeMap<u64, String>,
}

/// Sends the file, or what is missing of it from an earlier attempt.
pub(super) async fn upload(remote: &ObjectRemote, key: &str, path: &Path, from: &FilePath) -> Result<Stat, Error> {
    let mut upload = match Upload::noted(remote, key, from)? {
        Some(noted) => noted,
        None => Upload::begin(remote, key, path, from).await?,
    };
    match upload.finish(remote, key, path, from).await {
        // The store forgot the upload.
        Err(Error::RemoteAnswer { status: 404, .. }) => {
            upload = Upload::begin(remote, key, path, from).await?;
            upload.finish(remote, key, path, from).await
        }
        other => other,
    }
}

/// The note stands for this file, as it is, going to this place.
fn note_of(remote: &ObjectRemote, key: &str, from: &FilePath) -> Result<Option<PathBuf>, Error> {
    let Some(uploads) = &remote.uploads else { return Ok(None) };
    let metadata = from.metadata().map_err(Error::io("read", from))?;
    let (size, seconds, nanos) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    let name = Digest::of(format!("{}\n{key}\n{size}\n{seconds}\n{nanos}", remote.url).as_bytes());
    Ok(Some(uploads.join(name.as_str())))
}

impl Upload {
    /// A note that cannot be read is as none.
    fn noted(remote: &ObjectRemote, key: &str, from: &FilePath) -> Result<Option<Self>, Error> {
        let Some(note) = note_of(remote, key, from)? else { return Ok(None) };
        let Some(text) = files::read_text(&note)? else { return Ok(None) };
        let read = || {
            let value: Value = serde_json::from_str(&text).ok()?;
            let mut sent = BTreeMap::new();
            for (number, part) in value.get("sent")?.as_object()? {
                sent.insert(number.parse().ok()?, part.as_str()?.to_owned());
            }
            let part_bytes = value.get("part_bytes")?.as_u64().filter(|bytes| *bytes >= PART_BYTES)?;
            Some((value.get("id")?.as_str()?.to_owned(), part_bytes, sent))
        };
        Ok(read().map(|(id, part_bytes, sent)| Self { note: Some(note), id, part_bytes, sent }))
    }

    async fn begin(remote: &ObjectRemote, key: &str, path: &Path, from: &FilePath) -> Result<Self, Error> {
        let size = from.metadata().map_err(Error::io("read", from))?.len();
        let part_bytes = PART_BYTES.max(size.div_ceil(MOST_PARTS).next_multiple_of(1 << 20));
        let id = remote.store.create_multipart(path).await.map_err(remote.failed(key))?;
        let upload = Self { note: note_of(remote, key, from)?, id, part_bytes, sent: BTreeMap::new() };
        upload.save()?;
        Ok(upload)
    }

    fn save(&self) -> Result<(), Error> {
        let Some(path) = &self.note else { return Ok(()) };
        let sent: serde_json::Map<String, Value> =
            self.sent.iter().map(|(number, part)| (number.to_string(), json!(part))).collect();
        let note = json!({ "id": self.id, "part_bytes": self.part_bytes, "sent": sent });
        files::write_unsynced(path, note.to_string().as_bytes())
    }

    async fn finish(&mut self, remote: &ObjectRemote, key: &str, path: &Path, from: &FilePath) -> Result<Stat, Error> {
        let file = File::open(from).map_err(Error::io("read", from))?;
        let size = file.metadata().map_err(Error::io("read", from))?.len();
        let missing: Vec<u64> =
            (0..size.div_ceil(self.part_bytes)).filter(|number| !self.sent.contains_key(number)).collect();
        let (file, id, part_bytes) = (&file, self.id.clone(), self.part_bytes);
        let send = |number: u64| {
            let id = &id;
            async move {
                let start = number * part_bytes;
                let length = part_bytes.min(size - start);
                let _room = remote.memory.acquire_many(u32::try_from(length).unwrap_or(super::MEMORY_BYTES)).await;
                let mut bytes = vec![0; length as usize];
                file.read_exact_at(&mut bytes, start).map_err(Error::io("read", from))?;
                let part = remote.store.put_part(path, id, number as usize, bytes.into()).await;
                Ok::<_, Error>((number, part.map_err(remote.failed(key))?.content_id))
            }
        };
        let mut parts = stream::iter(missing).map(send).buffer_unordered(PARTS_AT_A_TIME);
        while let Some((number, part)) = parts.try_next().await? {
            self.sent.insert(number, part);
            self.save()?;
        }
        let parts = self.sent.values().map(|part| PartId { content_id: part.clone() }).collect();
        let put = remote.store.complete_multipart(path, &self.id, parts).await.map_err(remote.failed(key));
        if let Some(note) = &self.note
            && matches!(put, Ok(_) | Err(Error::RemoteAnswer { status: 400 | 404, .. }))
        {
            // Done, or refused for good: the note is of no use any more.
            let _ = std::fs::remove_file(note);
        }
        Ok(stat_of_put(put?, size))
    }
}
