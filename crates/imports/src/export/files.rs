//! Files on their way to another server: several at a time, each only if it is not there as it is here.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use futures_util::{StreamExt as _, TryStreamExt as _};
use towpath_tracking::artifacts::{Artifacts, path_of_uri};
use walkdir::WalkDir;

use crate::ImportError;
use crate::mlflow::rest::{Rest, body_of};

/// Files that are sent at the same time.
const AT_ONCE: usize = 4;

/// Where the files of what is exported lie.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    /// In the artifact root of a server.
    Stored(Artifacts),
    /// In folders of this machine, which artifact addresses name.
    Disk,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    /// Below its folder.
    pub path: String,
    pub size: u64,
    /// Milliseconds; known of a file on disk. Stored files do not change in place.
    pub changed: Option<i64>,
}

/// Files and bytes that were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub files: u64,
    pub bytes: u64,
}

impl Files {
    /// Those below an address; `None` if it leads to neither.
    pub(super) async fn below(&self, uri: &str) -> Result<Option<Vec<File>>, ImportError> {
        match self {
            Self::Stored(artifacts) => {
                let Some(root) = path_of_uri(uri) else { return Ok(None) };
                let files = artifacts.files(root).await?;
                let file = |file: towpath_tracking::artifacts::StoredFile| File {
                    path: file.path,
                    size: file.size,
                    changed: None,
                };
                Ok(Some(files.into_iter().map(file).collect()))
            }
            Self::Disk if uri.is_empty() => Ok(Some(Vec::new())),
            Self::Disk if uri.contains(":/") => Ok(None),
            Self::Disk => on_disk(Path::new(uri)).map(Some),
        }
    }

    async fn open(&self, uri: &str, path: &str) -> Result<reqwest::Body, ImportError> {
        match self {
            Self::Stored(artifacts) => {
                let root = path_of_uri(uri).unwrap_or_default();
                let download = artifacts.get(&format!("{root}/{path}"), None).await?;
                Ok(reqwest::Body::wrap_stream(download.body.map_err(std::io::Error::other)))
            }
            Self::Disk => body_of(&Path::new(uri).join(path)).await,
        }
    }

    /// Sends those that are not below the path there with their size, or changed since they were sent.
    pub(super) async fn send(
        &self,
        rest: &Rest,
        uri: &str,
        files: &[File],
        to: &str,
        sent_at: Option<i64>,
    ) -> Result<Sent, ImportError> {
        if files.is_empty() {
            return Ok(Sent::default());
        }
        let there: BTreeMap<String, u64> = rest.files(to).await?.into_iter().map(|f| (f.path, f.size)).collect();
        let is_there = |file: &&File| {
            let changed = file.changed.zip(sent_at).is_some_and(|(changed, sent)| changed >= sent);
            there.get(&file.path) == Some(&file.size) && !changed
        };
        let lacking: Vec<&File> = files.iter().filter(|file| !is_there(file)).collect();
        let sending = futures_util::stream::iter(lacking.iter().copied())
            .map(|file| async move {
                rest.upload(&format!("{to}/{}", file.path), || self.open(uri, &file.path)).await?;
                Ok::<_, ImportError>(file.size)
            })
            .buffer_unordered(AT_ONCE);
        let bytes: Vec<u64> = sending.try_collect().await?;
        Ok(Sent { files: bytes.len() as u64, bytes: bytes.iter().sum() })
    }
}

/// The files of a folder that is there, without what symbolic links lead to.
fn on_disk(folder: &Path) -> Result<Vec<File>, ImportError> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|e| ImportError::File { path: folder.to_owned(), source: e.into() })?;
        let Ok(path) = entry.path().strip_prefix(folder) else { continue };
        if entry.file_type().is_file() {
            let about =
                entry.metadata().map_err(|e| ImportError::File { path: folder.to_owned(), source: e.into() })?;
            let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            files.push(File {
                path: path.to_string_lossy().into_owned(),
                size: about.len(),
                changed: changed.map(|at| at.as_millis() as i64),
            });
        }
    }
    Ok(files)
}
