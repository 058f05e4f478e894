//! From a server into a folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use towpath_core::names;

use super::pieces::{Pieces, Record};
use super::{ArtifactFile, ArtifactRoot, Moved, Plan, Step, Transferred, steps};
use crate::ImportError;
use crate::mlflow::rest::{ATTEMPTS, FIRST_WAIT, Version};

/// Fetches the files at and below a path of the artifacts, each to its path below the folder. A file
/// that is there with the size and the time of change that the server names is kept.
///
/// # Errors
/// What was fetched until then stays: the next download goes on from there.
pub async fn download(
    root: &ArtifactRoot,
    below: &str,
    into: &Path,
    at_once: usize,
    moved: Moved<'_>,
) -> Result<Transferred, ImportError> {
    let files = root.files(below).await?;
    let plans: Vec<Plan<Place, Unfinished>> =
        futures_util::stream::iter(files).map(|file| plan(root, file, into)).buffered(at_once).try_collect().await?;
    let (total, steps) = steps(plans);
    futures_util::stream::iter(steps)
        .map(|step| take(step, root, moved))
        .buffer_unordered(at_once)
        .try_fold(total, |total, done| async move { Ok(total.and(done)) })
        .await
}

/// Where a file comes from and goes to.
#[derive(Debug)]
struct Place {
    /// At the server.
    from: String,
    to: PathBuf,
    size: u64,
}

/// A file of which not all pieces are here.
#[derive(Debug)]
struct Unfinished {
    place: Place,
    version: Version,
    part: PathBuf,
    /// Locked, so that nobody else fetches the same.
    file: File,
    record: Record<Version>,
}

async fn plan(root: &ArtifactRoot, file: ArtifactFile, into: &Path) -> Result<Plan<Place, Unfinished>, ImportError> {
    if names::confined_path(&file.path).is_none() {
        let detail = format!("the server names a file '{}', which would lead elsewhere", file.path);
        return Err(ImportError::content(into, detail));
    }
    let place = Place { from: root.at(&file.path), to: into.join(&file.path), size: file.size };
    let there = fs::metadata(&place.to).ok().filter(|there| there.is_file() && there.len() == file.size);
    let pieces = Pieces::of(file.size);
    if there.is_none() && pieces.is_none() {
        return Ok(Plan::Whole(place));
    }
    let version = root.rest.version(&place.from).await?;
    let same_time = |there: fs::Metadata| same_second(there.modified().ok(), version.modified());
    if there.is_some_and(same_time) {
        return Ok(Plan::Kept);
    }
    match pieces {
        Some(pieces) if version.has_ranges => Unfinished::new(place, version, pieces).map(Unfinished::planned),
        _ => Ok(Plan::Whole(place)),
    }
}

fn same_second(a: Option<SystemTime>, b: Option<SystemTime>) -> bool {
    let second = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    matches!((a.and_then(second), b.and_then(second)), (Some(a), Some(b)) if a == b)
}

async fn take(
    step: Step<Place, Unfinished>,
    root: &ArtifactRoot,
    moved: Moved<'_>,
) -> Result<Transferred, ImportError> {
    let none = Transferred::default();
    match step {
        Step::Whole(place) => {
            place.fetch(root, moved).await?;
            Ok(Transferred { files: 1, bytes: place.size, ..none })
        }
        Step::Piece(unfinished, index) => {
            unfinished.fetch(root, index, moved).await?;
            let bytes = unfinished.record.pieces().length_of(index);
            let files = if unfinished.record.done(index)? { unfinished.end()? } else { 0 };
            Ok(Transferred { files, bytes, ..none })
        }
        Step::End(unfinished) => Ok(Transferred { files: unfinished.end()?, ..none }),
    }
}

impl Place {
    fn folder(&self) -> Result<&Path, ImportError> {
        let folder = self.to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(ImportError::file(folder))?;
        Ok(folder)
    }

    async fn fetch(&self, root: &ArtifactRoot, moved: Moved<'_>) -> Result<(), ImportError> {
        let folder = self.folder()?;
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let unfinished = tempfile::NamedTempFile::new_in(folder).map_err(ImportError::file(folder))?;
            let mut file = tokio::fs::File::from_std(unfinished.reopen().map_err(ImportError::file(&self.to))?);
            let response = root.rest.fetch(&self.from, None).await?;
            let modified = Version::of(&response).modified();
            match write(response, &mut file, &self.to, self.size, moved).await {
                Err(ImportError::Unreachable { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    set_time(unfinished.as_file(), modified);
                    unfinished.persist(&self.to).map_err(|error| ImportError::file(&self.to)(error.error))?;
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Unfinished {
    fn new(place: Place, version: Version, pieces: Pieces) -> Result<Self, ImportError> {
        let name = place.to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = place.folder()?;
        let part = folder.join(format!(".{name}.towpath-part"));
        let record = folder.join(format!(".{name}.towpath-part.json"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&part);
        let file = file.map_err(ImportError::file(&part))?;
        // A file system without locks gives another error, which is none.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let busy = std::io::Error::other("another download of this file is under way: wait for it");
            return Err(ImportError::File { path: part, source: busy });
        }
        let same = |known: &Version| known.tag.is_some() && *known == version;
        let record = match Record::read(&record, pieces, same) {
            Some(known) if file.metadata().is_ok_and(|about| about.len() == place.size) => known,
            _ => {
                file.set_len(0).and_then(|()| file.set_len(place.size)).map_err(ImportError::file(&part))?;
                Record::begin(&record, pieces, version.clone())?
            }
        };
        Ok(Self { place, version, part, file, record })
    }

    fn planned(self) -> Plan<Place, Self> {
        Plan::InPieces { to_do: self.record.to_do(), done_bytes: self.record.done_bytes(), unfinished: self }
    }

    async fn fetch(&self, root: &ArtifactRoot, index: u64, moved: Moved<'_>) -> Result<(), ImportError> {
        let range = self.record.pieces().range(index);
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let response = root.rest.fetch(&self.place.from, Some(range.clone())).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT || Version::of(&response).tag != self.version.tag {
                self.record.forget();
                let detail = "it changed at the server while it was downloaded: download it again";
                return Err(ImportError::content(&self.place.to, detail));
            }
            let opened = OpenOptions::new().write(true).open(&self.part).map_err(ImportError::file(&self.part))?;
            let mut file = tokio::fs::File::from_std(opened);
            file.seek(SeekFrom::Start(range.start)).await.map_err(ImportError::file(&self.part))?;
            match write(response, &mut file, &self.place.to, range.end - range.start, moved).await {
                Err(ImportError::Unreachable { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(error),
                // What the record says is done has to be there after a power loss, too.
                Ok(()) => return file.sync_data().await.map_err(ImportError::file(&self.part)),
            }
        }
        Ok(())
    }

    /// Gives the file its name; how many files that makes.
    fn end(&self) -> Result<u64, ImportError> {
        set_time(&self.file, self.version.modified());
        fs::rename(&self.part, &self.place.to).map_err(ImportError::file(&self.place.to))?;
        self.record.forget();
        Ok(1)
    }
}

/// The time is what tells a later download that the file is there; without it, it is fetched again.
fn set_time(file: &File, modified: Option<SystemTime>) {
    if let Some(modified) = modified {
        let _ = file.set_modified(modified);
    }
}

/// Writes a body that has to have so many bytes.
async fn write(
    response: reqwest::Response,
    file: &mut tokio::fs::File,
    path: &Path,
    size: u64,
    moved: Moved<'_>,
) -> Result<(), ImportError> {
    let url = response.url().to_string();
    let mut body = response.bytes_stream();
    let mut written = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|source| ImportError::unreachable(&url, &source))?;
        written += chunk.len() as u64;
        if written > size {
            break;
        }
        file.write_all(&chunk).await.map_err(ImportError::file(path))?;
        moved(chunk.len() as u64);
    }
    file.flush().await.map_err(ImportError::file(path))?;
    if written == size {
        Ok(())
    } else {
        let detail = format!("{size} bytes were announced, and {written} came");
        Err(ImportError::Unreachable { url, detail })
    }
}
