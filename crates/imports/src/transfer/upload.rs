//! From folders and files to a server.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use towpath_core::{Digest, names};
use walkdir::WalkDir;

use super::pieces::{self, Pieces, Record};
use super::{ArtifactRoot, Moved, Plan, Step, Transferred, joined, steps};
use crate::ImportError;
use crate::mlflow::rest::{body_of, encoded_path};

/// The folder where records of unfinished uploads are kept.
#[derive(Clone, Copy, Debug)]
pub struct Uploads<'u>(pub &'u Path);

/// Sends files, and what is in folders, below the path `to` of the artifacts. A file that is there with
/// its size, and was stored after it was last changed here, is not sent again.
///
/// # Errors
/// What was sent until then stays: the next upload goes on from there.
pub async fn upload(
    root: &ArtifactRoot,
    from: &[PathBuf],
    to: &str,
    at_once: usize,
    uploads: Uploads<'_>,
    moved: Moved<'_>,
) -> Result<Transferred, ImportError> {
    let files = files(from)?;
    let to = to.trim_matches('/');
    let there = root.rest.files(&root.at(to)).await?;
    let there: BTreeMap<String, u64> = there.into_iter().map(|file| (file.path, file.size)).collect();
    let place = |local: Local| {
        let known = there.get(&local.path).copied();
        Sending { to: root.at(&joined(to, &local.path)), local, known }
    };
    let plans: Vec<Plan<Sending, Unfinished>> = futures_util::stream::iter(files.into_iter().map(place))
        .map(|sending| plan(root, sending, uploads))
        .buffered(at_once)
        .try_collect()
        .await?;
    let (total, steps) = steps(plans);
    futures_util::stream::iter(steps)
        .map(|step| take(step, root, moved))
        .buffer_unordered(at_once)
        .try_fold(total, |total, done| async move { Ok(total.and(done)) })
        .await
}

/// A file of this machine.
#[derive(Clone, Debug)]
struct Local {
    /// Below what was named, with slashes.
    path: String,
    file: PathBuf,
    size: u64,
    changed: SystemTime,
}

fn files(from: &[PathBuf]) -> Result<Vec<Local>, ImportError> {
    let mut files = BTreeMap::new();
    for named in from {
        let about = fs::metadata(named).map_err(ImportError::file(named))?;
        if about.is_file() {
            let name = PathBuf::from(named.file_name().unwrap_or_default());
            add(&mut files, &name, named, &about)?;
            continue;
        }
        for entry in WalkDir::new(named).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| ImportError::File { path: named.clone(), source: error.into() })?;
            let about = entry.metadata();
            let about = about.map_err(|error| ImportError::File { path: named.clone(), source: error.into() })?;
            if about.is_file() {
                let below = entry.path().strip_prefix(named).unwrap_or(entry.path());
                add(&mut files, below, entry.path(), &about)?;
            }
        }
    }
    Ok(files.into_values().collect())
}

fn add(files: &mut BTreeMap<String, Local>, path: &Path, file: &Path, about: &fs::Metadata) -> Result<(), ImportError> {
    let shown = path.to_str().filter(|path| names::confined_path(path).is_some());
    let path = shown.ok_or_else(|| ImportError::content(file, "its name cannot be that of an artifact"))?.to_owned();
    let changed = about.modified().map_err(ImportError::file(file))?;
    let local = Local { path: path.clone(), file: file.to_owned(), size: about.len(), changed };
    match files.insert(path, local) {
        Some(other) if other.file != file => {
            let detail =
                format!("it would have the same path as {}: send them one after the other", other.file.display());
            Err(ImportError::content(file, detail))
        }
        _ => Ok(()),
    }
}

/// A file and where it goes.
#[derive(Debug)]
struct Sending {
    /// At the server.
    to: String,
    local: Local,
    /// The size of the file that is there.
    known: Option<u64>,
}

/// An upload that the server has begun.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    upload_id: String,
    /// Where each piece is sent to.
    urls: Vec<String>,
}

#[derive(Debug)]
struct Unfinished {
    sending: Sending,
    file: File,
    record: Record<Begun>,
}

async fn plan(
    root: &ArtifactRoot,
    sending: Sending,
    uploads: Uploads<'_>,
) -> Result<Plan<Sending, Unfinished>, ImportError> {
    let local = &sending.local;
    let Some(pieces) = Pieces::of(local.size) else {
        return Ok(if is_there(root, &sending).await? { Plan::Kept } else { Plan::Whole(sending) });
    };
    let record = uploads.0.join(format!("{}.json", name_of_record(root, &sending)));
    if is_there(root, &sending).await? {
        pieces::remove(&record);
        return Ok(Plan::Kept);
    }
    fs::create_dir_all(uploads.0).map_err(ImportError::file(uploads.0))?;
    let file = File::open(&local.file).map_err(ImportError::file(&local.file))?;
    let fits = |begun: &Begun| begun.urls.len() as u64 == pieces.count();
    if let Some(record) = Record::read(&record, pieces, fits) {
        return Ok(Unfinished { sending, file, record }.planned());
    }
    match begin(root, &sending.to, pieces).await {
        Ok(begun) => {
            let record = Record::begin(&record, pieces, begun)?;
            Ok(Unfinished { sending, file, record }.planned())
        }
        // An MLflow server that stores files in a folder takes none in pieces.
        Err(ImportError::Refused { status: 404 | 405 | 501, .. }) => Ok(Plan::Whole(sending)),
        Err(error) => Err(error),
    }
}

async fn is_there(root: &ArtifactRoot, sending: &Sending) -> Result<bool, ImportError> {
    if sending.known != Some(sending.local.size) {
        return Ok(false);
    }
    let stored = root.rest.version(&sending.to).await?.modified();
    // Times of HTTP are whole seconds: one that is stored in the second of the change counts as before.
    Ok(stored.is_some_and(|stored| stored > sending.local.changed))
}

/// One for each file at each place; a file that changed is another.
fn name_of_record(root: &ArtifactRoot, sending: &Sending) -> String {
    let local = &sending.local;
    let file = fs::canonicalize(&local.file).unwrap_or_else(|_| local.file.clone());
    let changed = local.changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let all = format!("{}\n{}\n{}\n{}\n{changed}", root.rest.base(), sending.to, file.display(), local.size);
    Digest::of(all.as_bytes()).to_string()
}

/// The address for what is done to an upload, and the name of its file.
fn address<'p>(verb: &str, path: &'p str) -> (String, &'p str) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    (format!("-artifacts/mpu/{verb}/{}", encoded_path(folder)), name)
}

async fn begin(root: &ArtifactRoot, path: &str, pieces: Pieces) -> Result<Begun, ImportError> {
    let (url, name) = address("create", path);
    let answer = root.rest.call(Method::POST, &url, &json!({"path": name, "num_parts": pieces.count()})).await?;
    let urls = answer["credentials"].as_array().into_iter().flatten();
    let urls: Option<Vec<String>> = urls.map(|one| Some(one["url"].as_str()?.to_owned())).collect();
    let upload_id = answer["upload_id"].as_str().map(str::to_owned);
    match (upload_id, urls) {
        (Some(upload_id), Some(urls)) if urls.len() as u64 == pieces.count() => Ok(Begun { upload_id, urls }),
        _ => Err(ImportError::NoServer { url }),
    }
}

async fn take(
    step: Step<Sending, Unfinished>,
    root: &ArtifactRoot,
    moved: Moved<'_>,
) -> Result<Transferred, ImportError> {
    let none = Transferred::default();
    match step {
        Step::Whole(sending) => {
            let local = &sending.local;
            root.rest.upload(&sending.to, || body_of(&local.file)).await?;
            moved(local.size);
            Ok(Transferred { files: 1, bytes: local.size, ..none })
        }
        Step::Piece(unfinished, index) => {
            let bytes = unfinished.send(root, index).await?;
            moved(bytes);
            let files = if unfinished.record.done(index)? { unfinished.end(root).await? } else { 0 };
            Ok(Transferred { files, bytes, ..none })
        }
        Step::End(unfinished) => Ok(Transferred { files: unfinished.end(root).await?, ..none }),
    }
}

impl Unfinished {
    fn planned(self) -> Plan<Sending, Self> {
        Plan::InPieces { to_do: self.record.to_do(), done_bytes: self.record.done_bytes(), unfinished: self }
    }

    /// Sends a piece; its bytes.
    async fn send(&self, root: &ArtifactRoot, index: u64) -> Result<u64, ImportError> {
        let range = self.record.pieces().range(index);
        let url = self.record.of(|begun| begun.urls[index as usize].clone());
        let mut piece = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut piece, range.start).map_err(ImportError::file(&self.sending.local.file))?;
        let bytes = piece.len() as u64;
        self.known(root.rest.put_part(&url, Bytes::from(piece)).await)?;
        Ok(bytes)
    }

    /// Puts the pieces together; how many files that makes.
    async fn end(&self, root: &ArtifactRoot) -> Result<u64, ImportError> {
        let local = &self.sending.local;
        let about = fs::metadata(&local.file).map_err(ImportError::file(&local.file))?;
        let upload_id = self.record.of(|begun| begun.upload_id.clone());
        if about.len() != local.size || about.modified().ok() != Some(local.changed) {
            self.record.forget();
            let (url, name) = address("abort", &self.sending.to);
            root.rest.call(Method::POST, &url, &json!({"path": name, "upload_id": upload_id})).await?;
            return Err(ImportError::content(&local.file, "it changed while it was uploaded: upload it again"));
        }
        let parts: Vec<Value> = (1..=self.record.pieces().count()).map(|n| json!({"part_number": n})).collect();
        let (url, name) = address("complete", &self.sending.to);
        let body = json!({"path": name, "upload_id": upload_id, "parts": parts});
        self.known(root.rest.call(Method::POST, &url, &body).await)?;
        self.record.forget();
        Ok(1)
    }

    /// A server that does not know the upload any more gets all of it anew the next time.
    fn known<T>(&self, answer: Result<T, ImportError>) -> Result<T, ImportError> {
        if matches!(&answer, Err(ImportError::Refused { status: 404, .. })) {
            self.record.forget();
            let detail = "the server has dropped the upload that broke off: upload it again";
            return Err(ImportError::content(&self.sending.local.file, detail));
        }
        answer
    }
}
