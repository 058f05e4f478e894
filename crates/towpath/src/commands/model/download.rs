use std::io::Read as _;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use towpath_api::client::{Client, encoded};
use towpath_api::models::{Facts, ModelFile, ModelVersion};
use towpath_core::{Digest, Kind, names};

use super::{path_of, version};
use crate::config::{Context, models_dir};
use crate::error::{Error, Exit};
use crate::ui;

/// Files that are fetched at the same time.
const AT_ONCE: usize = 4;

/// Download the files of a version, each checked by its hash
///
/// Files that are there already and have the right hash are not fetched again.
#[derive(clap::Args, Debug)]
pub struct Download {
    /// MODEL/VERSION or MODEL@ALIAS
    version: String,
    /// Into this folder instead of MODEL-VERSION
    #[arg(long, short, value_name = "PATH")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Downloaded {
    version: String,
    path: PathBuf,
    files: usize,
    bytes: u64,
    /// Those that were there.
    kept: usize,
}

impl Download {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let version = version(ctx, &self.version).await?;
        let into = self.out.unwrap_or_else(|| PathBuf::from(format!("{}-{}", version.model, version.version)));
        let done = fetch_version(ctx, &version, |_| into).await?;
        ctx.ui.show_as(&done, || {
            let files = ui::count(done.files as u64, "file");
            let kept = if done.kept > 0 { format!(", {} of them there already", done.kept) } else { String::new() };
            format!("{files} ({}) in {}{kept}", ui::bytes(done.bytes), done.path.display())
        })?;
        Ok(Exit::Done)
    }
}

/// Fetches the files of a version into a folder of the cache that has the name of their content.
pub async fn into_cache(ctx: &Context, version: &ModelVersion) -> Result<PathBuf, Error> {
    let folder = |files: &[ModelFile]| {
        let mut named: Vec<String> = files
            .iter()
            .map(|file| format!("{} {} {}\n", file.sha256.as_deref().unwrap_or("-"), file.size, file.path))
            .collect();
        named.sort();
        models_dir().join(Digest::from_bytes(Sha256::digest(named.concat()).into()).to_string())
    };
    Ok(fetch_version(ctx, version, folder).await?.path)
}

/// Fetches the files of a version that are not in the folder yet.
async fn fetch_version(
    ctx: &Context,
    version: &ModelVersion,
    into: impl FnOnce(&[ModelFile]) -> PathBuf,
) -> Result<Downloaded, Error> {
    let path = path_of(&version.model, version.version);
    let client = ctx.client()?;
    let facts: Facts = client.get(&format!("{path}/facts")).await?;
    if facts.files.is_empty() {
        let why = facts.unknown.iter().find(|unknown| unknown.what == "files").map(|unknown| unknown.why.clone());
        let why = why.unwrap_or_else(|| "it has no files".into());
        return Err(Error::new(Kind::NotFound, format!("{} v{}: {why}", version.model, version.version)));
    }
    let into = into(&facts.files);
    let waiting = ctx.ui.waiting(&format!("Downloading {}", ui::count(facts.files.len() as u64, "file")));
    let fetched: Vec<bool> = futures_util::stream::iter(&facts.files)
        .map(|file| fetch(&client, &path, file, &into))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    drop(waiting);
    Ok(Downloaded {
        version: format!("{}/{}", version.model, version.version),
        path: into,
        files: facts.files.len(),
        bytes: facts.files.iter().map(|file| file.size).sum(),
        kept: fetched.iter().filter(|fetched| !**fetched).count(),
    })
}

/// False when the file was there already.
async fn fetch(client: &Client, version: &str, file: &ModelFile, into: &Path) -> Result<bool, Error> {
    if names::confined_path(&file.path).is_none() {
        return Err(Error::invalid(format!("the server names a file '{}', which would lead elsewhere", file.path)));
    }
    let to = into.join(&file.path);
    if file.sha256.is_some() && hash_of(&to)? == file.sha256 {
        return Ok(false);
    }
    let folder = to.parent().unwrap_or(into);
    tokio::fs::create_dir_all(folder).await.map_err(Error::io("make", folder))?;
    let unfinished = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("make a file in", folder))?;
    let place: Vec<String> = file.path.split('/').map(encoded).collect();
    let mut body = client.bytes(&format!("{version}/files/{}", place.join("/"))).await?;
    let mut written = tokio::fs::File::from_std(unfinished.reopen().map_err(Error::io("open", unfinished.path()))?);
    let mut hasher = Sha256::new();
    while let Some(chunk) = body.try_next().await? {
        hasher.update(&chunk);
        written.write_all(&chunk).await.map_err(Error::io("write", &to))?;
    }
    written.flush().await.map_err(Error::io("write", &to))?;
    let found = Digest::from_bytes(hasher.finalize().into()).to_string();
    if file.sha256.as_ref().is_some_and(|expected| *expected != found) {
        let detail = format!("'{}' came with the hash {found}, which is not the one that the server names", file.path);
        return Err(Error::new(Kind::Unavailable, detail));
    }
    unfinished.persist(&to).map_err(|error| Error::io("write", &to)(error.error))?;
    Ok(true)
}

/// Nothing where there is no file.
fn hash_of(path: &Path) -> Result<Option<String>, Error> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(Some(Digest::from_bytes(hasher.finalize().into()).to_string()))
}
