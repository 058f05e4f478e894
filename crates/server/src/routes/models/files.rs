//! The files of a version: what they are, what they say about the model, and their bytes.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use towpath_api::models::{ModelFile, Unknown};
use towpath_core::{Digest, Kind};
use towpath_store::Durability;
use towpath_tracking::TrackingError;
use towpath_tracking::artifacts::{StoredFile, path_of_uri};
use towpath_tracking::registry::signature::{self, Signature};
use towpath_tracking::registry::{digests, versions};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Bytes that one question may read to learn digests; the next one goes on.
const HASHED_AT_ONCE: u64 = 2 << 30;
/// Bytes of a text that describes a model.
const DESCRIPTION: u64 = 4 << 20;
/// Bytes of a graph that is looked into.
const GRAPH: u64 = 256 << 20;

/// What the files of a version tell.
#[derive(Default)]
pub(super) struct Stored {
    /// `None` when they are not on this server.
    pub(super) files: Option<Vec<ModelFile>>,
    pub(super) flavors: Vec<String>,
    pub(super) signature: Option<Signature>,
    pub(super) requirements: Option<String>,
    pub(super) problems: Vec<Unknown>,
}

impl Stored {
    fn does_not_know(&mut self, what: &str, why: impl Into<String>) {
        self.problems.push(Unknown { what: what.into(), why: why.into() });
    }
}

pub(super) async fn of(app: &App, location: &str) -> Result<Stored, ApiError> {
    let mut stored = Stored::default();
    let Some(root) = path_of_uri(location) else {
        for what in ["files", "signature"] {
            stored.does_not_know(what, format!("its files are at {location}, not on this server"));
        }
        return Ok(stored);
    };
    let files = app.artifacts.files(root).await?;
    if files.is_empty() {
        stored.does_not_know("files", "it has none");
        stored.does_not_know("signature", "it has no files");
        stored.files = Some(Vec::new());
        return Ok(stored);
    }
    describe(app, root, &files, &mut stored).await?;
    let digests = digests_of(app, root, &files).await?;
    if digests.iter().any(Option::is_none) {
        stored.does_not_know("sha256", "large files are still to be read: ask again");
    }
    let shown = files.iter().zip(digests).map(|(file, sha256)| ModelFile {
        path: named(root, file),
        size: file.size,
        sha256: sha256.map(|digest| digest.to_string()),
    });
    stored.files = Some(shown.collect());
    Ok(stored)
}

/// A file that is the whole model has the name that it is stored under.
fn named(root: &str, file: &StoredFile) -> String {
    let name = if file.path.is_empty() { root.rsplit('/').next().unwrap_or(root) } else { &file.path };
    name.to_owned()
}

/// Looks into `MLmodel`, an ONNX graph and the requirements.
async fn describe(app: &App, root: &str, files: &[StoredFile], stored: &mut Stored) -> Result<(), ApiError> {
    let at = |file: &StoredFile| format!("{root}/{}", file.path).trim_end_matches('/').to_owned();
    let find = |name: &str| files.iter().find(|file| file.path == name && file.size <= DESCRIPTION);
    if let Some(file) = find("requirements.txt") {
        let bytes = app.artifacts.read(&at(file), DESCRIPTION).await?;
        stored.requirements = Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    if let Some(file) = find("MLmodel") {
        let bytes = app.artifacts.read(&at(file), DESCRIPTION).await?;
        match signature::of_mlmodel(&String::from_utf8_lossy(&bytes)) {
            Some(found) => (stored.flavors, stored.signature) = (found.flavors, found.signature),
            None => stored.does_not_know("flavors", "its MLmodel is no YAML"),
        }
    }
    if stored.signature.is_some() {
        return Ok(());
    }
    let graph = files.iter().find(|file| named(root, file).ends_with(".onnx"));
    match graph {
        Some(file) if file.size <= GRAPH => {
            let bytes = app.artifacts.read(&at(file), GRAPH).await?;
            stored.signature = signature::of_onnx(&bytes);
            if stored.signature.is_none() {
                stored.does_not_know("signature", format!("{} has no graph", named(root, file)));
            }
        }
        Some(file) => stored.does_not_know("signature", format!("{} is too large to look into", named(root, file))),
        None if stored.flavors.is_empty() => {
            stored.does_not_know("signature", "it has neither an MLmodel nor an ONNX graph");
        }
        None => stored.does_not_know("signature", "it was logged without one"),
    }
    Ok(())
}

/// Those that are known, and those that are read now, as far as that is not too much.
async fn digests_of(app: &App, root: &str, files: &[StoredFile]) -> Result<Vec<Option<Digest>>, ApiError> {
    let (place, listed) = (root.to_owned(), files.to_owned());
    let read = move |tx: &mut towpath_store::Tx<'_>| {
        listed.iter().map(|file| digests::known(tx, &place, file)).collect::<Result<Vec<_>, TrackingError>>()
    };
    let mut found = app.store.read(read).await?;
    let mut left = HASHED_AT_ONCE;
    let mut learned = Vec::new();
    for (file, digest) in files.iter().zip(&mut found).filter(|(_, digest)| digest.is_none()) {
        let Some(rest) = left.checked_sub(file.size) else { continue };
        left = rest;
        let read = hash(app, root, file).await?;
        learned.push((file.clone(), read.clone()));
        *digest = Some(read);
    }
    if !learned.is_empty() {
        let place = root.to_owned();
        let keep = move |tx: &mut towpath_store::Tx<'_>| {
            learned.iter().try_for_each(|(file, digest)| digests::keep(tx, &place, file, digest))
        };
        app.store.write(Durability::Relaxed, keep).await?;
    }
    Ok(found)
}

async fn hash(app: &App, root: &str, file: &StoredFile) -> Result<Digest, ApiError> {
    let path = format!("{root}/{}", file.path);
    let mut body = app.artifacts.get(path.trim_end_matches('/'), None).await?.body;
    let mut hasher = Sha256::new();
    while let Some(chunk) = body.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// A file of a version: `/models/{model}/versions/{version}/files/{path}`.
pub(super) async fn download(
    State(app): State<App>,
    _: Caller,
    Path((model, version, path)): Path<(String, i64, String)>,
) -> Result<Response, ApiError> {
    let found = app.store.read(move |tx| versions::get(tx, &model, version)).await?;
    let location = found.storage_location;
    let Some(root) = path_of_uri(&location) else {
        return Err(ApiError::new(Kind::NotFound, format!("its files are at {location}, not on this server")));
    };
    let whole = root.rsplit('/').next() == Some(path.as_str());
    let files = app.artifacts.files(root).await?;
    let file = files.iter().find(|file| file.path == path || (whole && file.path.is_empty()));
    let file = file.ok_or_else(|| ApiError::not_found(format!("file '{path}' of this version")))?;
    let place = format!("{root}/{}", file.path);
    let download = app.artifacts.get(place.trim_end_matches('/'), None).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, download.size.to_string()),
    ];
    Ok((headers, Body::from_stream(download.body)).into_response())
}
