//! Artifacts between a folder and a tracking server: several at a time, large ones in pieces, and what
//! broke off goes on where it was.

mod download;
mod pieces;
mod upload;

use std::sync::Arc;

use serde::Serialize;
use towpath_core::names;
use towpath_tracking::artifacts::path_of_uri;

pub use download::download;
pub use upload::{Uploads, upload};

use crate::ImportError;
use crate::mlflow::rest::Rest;

/// The artifacts of a run or of a logged model, where a tracking server stores them.
#[derive(Clone, Debug)]
pub struct ArtifactRoot {
    rest: Rest,
    /// As the address of a file has it, without a slash at its end.
    path: String,
    /// Whose they are, for people.
    owner: String,
}

/// One file of a run or of a logged model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactFile {
    /// Below the root.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// What came or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Transferred {
    pub files: u64,
    pub bytes: u64,
    /// Files that were there already.
    pub kept: u64,
    /// Bytes that an earlier transfer, which broke off, had moved.
    pub resumed_bytes: u64,
}

impl Transferred {
    fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
            kept: self.kept + other.kept,
            resumed_bytes: self.resumed_bytes + other.resumed_bytes,
        }
    }
}

/// How a file is moved: as it is, by a `W`, or in pieces, by a `U`.
enum Plan<W, U> {
    Kept,
    Whole(W),
    InPieces { unfinished: U, to_do: Vec<u64>, done_bytes: u64 },
}

/// What is done at a time.
enum Step<W, U> {
    Whole(W),
    Piece(Arc<U>, u64),
    /// All pieces are there already.
    End(Arc<U>),
}

/// What is to be done, and what needs not.
fn steps<W, U>(plans: Vec<Plan<W, U>>) -> (Transferred, Vec<Step<W, U>>) {
    let mut total = Transferred::default();
    let mut steps = Vec::new();
    for plan in plans {
        match plan {
            Plan::Kept => total.kept += 1,
            Plan::Whole(whole) => steps.push(Step::Whole(whole)),
            Plan::InPieces { unfinished, to_do, done_bytes } => {
                total.resumed_bytes += done_bytes;
                let unfinished = Arc::new(unfinished);
                if to_do.is_empty() {
                    steps.push(Step::End(unfinished));
                } else {
                    steps.extend(to_do.into_iter().map(|index| Step::Piece(Arc::clone(&unfinished), index)));
                }
            }
        }
    }
    (total, steps)
}

/// Told how many bytes were moved, each time some were.
pub type Moved<'m> = &'m (dyn Fn(u64) + Sync);

impl ArtifactRoot {
    /// `id` is that of a run, or of a logged model (`m-...`).
    ///
    /// # Errors
    /// There is no such thing, or its artifacts lie in a bucket or folder that the server does not stand
    /// before.
    pub async fn of(rest: Rest, id: &str) -> Result<Self, ImportError> {
        let (owner, found) = if id.starts_with("m-") {
            let found = rest.get(&format!("/logged-models/{}", names::encoded(id)), &[]).await?;
            (format!("logged model {id}"), found["model"]["info"]["artifact_uri"].clone())
        } else {
            let found = rest.get("/runs/get", &[("run_id", id)]).await?;
            (format!("run {id}"), found["run"]["info"]["artifact_uri"].clone())
        };
        let uri = found.as_str().unwrap_or_default();
        match path_of_uri(uri) {
            Some(path) => Ok(Self { rest, path: path.trim_end_matches('/').to_owned(), owner }),
            None => Err(ImportError::Elsewhere { owner, uri: uri.to_owned() }),
        }
    }

    /// The files at and below a path, sorted; all of them below an empty one.
    ///
    /// # Errors
    /// Nothing is there, unless everything was asked for.
    pub async fn files(&self, below: &str) -> Result<Vec<ArtifactFile>, ImportError> {
        let below = below.trim_matches('/');
        let mut files: Vec<ArtifactFile> = self
            .rest
            .files(&self.at(below))
            .await?
            .into_iter()
            .map(|file| ArtifactFile { path: joined(below, &file.path), size: file.size })
            .collect();
        if files.is_empty() && !below.is_empty() {
            // A list of a file is empty: it is in the list of its folder.
            let (folder, name) = below.rsplit_once('/').unwrap_or(("", below));
            let beside = self.rest.files(&self.at(folder)).await?;
            let found = beside.into_iter().find(|file| file.path == name);
            let found =
                found.ok_or_else(|| ImportError::NoArtifact { owner: self.owner.clone(), path: below.into() })?;
            files.push(ArtifactFile { path: below.to_owned(), size: found.size });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Where the server has what is at a path below the root.
    fn at(&self, path: &str) -> String {
        joined(&self.path, path)
    }
}

fn joined(folder: &str, path: &str) -> String {
    match (folder, path) {
        ("", path) => path.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}
