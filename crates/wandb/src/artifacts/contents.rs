//! Files of artifacts, by content: `<experiment>/wandb/contents/ab/cdef...`, named by their MD5, which is
//! looked at while they come in. A content is stored once in an experiment. Beside them lie the manifests,
//! the lists of the files of each version.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use towpath_core::names;
use towpath_store::Tx;
use towpath_tracking::artifacts::{Artifacts, path_of_uri};
use towpath_tracking::{TrackingError, experiments};

use super::Artifact;
use crate::ApiError;

/// Bytes of a list of files.
const MANIFEST: u64 = 512 << 20;
/// Files that are looked at together.
const AT_ONCE: usize = 16;

/// Where an experiment has the files of its artifacts.
#[derive(Clone, Debug)]
pub(super) struct Place(String);

/// The list of the files of a version.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub contents: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// The MD5 in base64; of a reference whatever its store says.
    pub digest: String,
    /// Somewhere else: an address that is kept as it is.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    #[serde(default)]
    pub size: Option<i64>,
}

impl Place {
    pub(super) fn of(tx: &mut Tx<'_>, experiment: i64) -> Result<Self, ApiError> {
        let uri = experiments::get(tx, experiment)?.artifact_location;
        let root = path_of_uri(&uri)
            .ok_or_else(|| ApiError::invalid(format!("the files of this project are at {uri}, not on this server")))?;
        Ok(Self(format!("{root}/wandb")))
    }

    pub(super) fn manifest(&self, artifact: &Artifact) -> String {
        format!("{}/manifests/{}.json", self.0, artifact.id)
    }

    /// By the MD5 as the client writes it.
    pub(super) fn content(&self, md5: &str) -> Result<String, ApiError> {
        let bytes = STANDARD.decode(md5).ok().filter(|bytes| bytes.len() == 16);
        let bytes = bytes.ok_or_else(|| {
            ApiError::invalid(format!("'{}' is no MD5 in base64", md5.chars().take(64).collect::<String>()))
        })?;
        let hex = hex::encode(bytes);
        Ok(format!("{}/contents/{}/{}", self.0, &hex[..2], &hex[2..]))
    }

    /// Reads what was uploaded as the list of an artifact's files.
    pub(super) async fn read_manifest(&self, files: &Artifacts, artifact: &Artifact) -> Result<Manifest, ApiError> {
        let path = self.manifest(artifact);
        let bytes = match files.read(&path, MANIFEST).await {
            Err(TrackingError::NoArtifact(_)) => {
                return Err(ApiError::invalid(format!(
                    "the list of the files of artifact '{}' was not uploaded",
                    artifact.collection.name
                )));
            }
            read => read?,
        };
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|e| ApiError::invalid(format!("this is no list of an artifact's files: {e}")))?;
        for path in manifest.contents.keys() {
            check_path(path)?;
        }
        Ok(manifest)
    }

    /// The size of each of these contents; `None` for what is not there.
    pub(super) async fn sizes(&self, files: &Artifacts, digests: Vec<&str>) -> Result<Vec<Option<i64>>, ApiError> {
        let paths = digests.into_iter().map(|digest| self.content(digest)).collect::<Result<Vec<_>, _>>()?;
        futures_util::stream::iter(paths)
            .map(|path| async move {
                match files.size(&path).await {
                    Ok(size) => Ok(Some(size as i64)),
                    Err(TrackingError::NoArtifact(_)) => Ok(None),
                    Err(error) => Err(error.into()),
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Copies all files of a version below a folder, under their own names.
    pub(super) async fn copy(&self, files: &Artifacts, manifest: &Manifest, to: &str) -> Result<(), ApiError> {
        let here = manifest.contents.iter().filter(|(_, entry)| entry.reference.is_none());
        let copies = here
            .map(|(path, entry)| Ok((self.content(&entry.digest)?, format!("{to}/{path}"))))
            .collect::<Result<Vec<_>, ApiError>>()?;
        futures_util::stream::iter(copies)
            .map(|(from, to)| async move { Ok(files.copy(&from, &to).await?) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

pub(super) fn check_path(path: &str) -> Result<(), ApiError> {
    if names::confined_path(path).is_none() || path.contains('#') {
        return Err(TrackingError::ArtifactPath(path.chars().take(200).collect()).into());
    }
    Ok(())
}
