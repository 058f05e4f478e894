//! Files of runs and models in the object store. `mlflow-artifacts:/P` lies at `P`; every path is
//! confined before the store sees it.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Attributes, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt as _};
use tokio::io::AsyncWriteExt as _;
use towpath_core::{Timestamp, names};

use crate::TrackingError;
use crate::uploads::Upload;

/// Files smaller than this are written in one request, larger ones in parts.
const PART: usize = 8 << 20;
/// Entries of one list.
pub const LISTED: usize = 100_000;
/// Where parts of unfinished uploads lie: no client reads or lists it.
const PARTS_OF_UPLOADS: &str = ".uploads";
/// The scheme of what the server itself stores.
const SCHEME: &str = "mlflow-artifacts:";

/// Where artifacts lie. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts(Arc<dyn ObjectStore>);

/// A file or folder in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// Bytes; `None` for a folder.
    pub size: Option<u64>,
}

/// A file below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Below the folder, with `/`; empty for the one file that the path itself names.
    pub path: String,
    pub size: u64,
    /// Changes with the content.
    pub etag: Option<String>,
}

/// A file being read.
pub struct Download {
    pub size: u64,
    /// The bytes of `body`, end exclusive.
    pub range: std::ops::Range<u64>,
    pub etag: Option<String>,
    pub modified: Timestamp,
    pub body: BoxStream<'static, Result<Bytes, TrackingError>>,
}

/// Which bytes of a file: HTTP's `bytes=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From, to (exclusive).
    Bounded(u64, u64),
    From(u64),
    /// The last so many.
    Last(u64),
}

/// The path in the store behind an artifact URI; `None` when it lies somewhere else (`s3://...`), where
/// clients go by themselves.
pub fn path_of_uri(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix(SCHEME)?;
    match rest.strip_prefix("//") {
        // With a host: the path begins at the next slash.
        Some(authority) => Some(authority.split_once('/').map_or("", |(_, path)| path)),
        None => Some(rest.trim_start_matches('/')),
    }
}

/// Refuses what could leave the root, or what would mean something else to a client.
fn confined(path: &str) -> Result<Path, TrackingError> {
    let refused = || TrackingError::ArtifactPath(path.chars().take(200).collect());
    let drive = path.as_bytes().get(1) == Some(&b':');
    if !stays_inside(path) {
        return Err(refused());
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let ours = trimmed.split('/').next() == Some(PARTS_OF_UPLOADS);
    let path = names::confined_path(trimmed).filter(|p| !p.contains('#') && !drive && !ours).ok_or_else(refused)?;
    Path::parse(path).map_err(|_| refused())
}

fn part_of(upload: &Upload, number: i64) -> Path {
    Path::from_iter([PARTS_OF_UPLOADS, &upload.upload_id, &number.to_string()])
}

/// False where a path that is decoded once more, by somebody on the way, would lead elsewhere.
fn stays_inside(path: &str) -> bool {
    let mut path = path.to_owned();
    for _ in 0..4 {
        if path.starts_with('/') || path.contains(['\\', '\0']) || path.split('/').any(|part| part == "..") {
            return false;
        }
        let decoded = percent_decoded(&path);
        if decoded == path {
            return true;
        }
        path = decoded;
    }
    // Nobody encodes a name five times.
    false
}

/// `%2e` is `.`; what is no such triple, or no text, stays.
fn percent_decoded(text: &str) -> String {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let (from, mut to) = (text.as_bytes(), Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < from.len() {
        match (from[at], digit(from.get(at + 1)), digit(from.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                to.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                to.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(to).unwrap_or_else(|_| text.to_owned())
}

fn failed(path: &str, error: object_store::Error) -> TrackingError {
    match error {
        object_store::Error::NotFound { .. } => TrackingError::NoArtifact(path.to_owned()),
        error => {
            let text = error.to_string();
            if is_full(&error) { TrackingError::ArtifactStoreFull(text) } else { TrackingError::ArtifactStore(text) }
        }
    }
}

/// Looks for "no space left" below what the store says.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|e| matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        source = error.source();
    }
    false
}

impl Artifacts {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }

    /// Writes a file from a stream; nothing is visible until all of it is there. The number of bytes.
    pub async fn put<S, E>(&self, path: &str, body: S) -> Result<u64, TrackingError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        self.write(path, confined(path)?, body).await
    }

    async fn write<S, E>(&self, path: &str, to: Path, mut body: S) -> Result<u64, TrackingError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let io = |error: std::io::Error| {
            if is_full(&error) {
                TrackingError::ArtifactStoreFull(error.to_string())
            } else {
                TrackingError::ArtifactStore(error.to_string())
            }
        };
        let mut writer = BufWriter::with_capacity(Arc::clone(&self.0), to, PART).with_attributes(Attributes::new());
        let mut size = 0;
        while let Some(chunk) = body.next().await {
            let written = match chunk {
                Ok(chunk) => {
                    size += chunk.len() as u64;
                    writer.write_all(&chunk).await.map_err(io)
                }
                Err(error) => Err(TrackingError::Upload(format!("the upload of '{path}' broke off: {error}"))),
            };
            if let Err(error) = written {
                // Best effort: the parts of an upload that failed are of no use.
                let _ = writer.abort().await;
                return Err(error);
            }
        }
        writer.shutdown().await.map_err(io)?;
        Ok(size)
    }

    /// Writes all files of a folder (or one file) below `path`, following no symbolic link. The number
    /// of files and bytes.
    pub async fn put_folder(&self, path: &str, from: &FilePath) -> Result<(u64, u64), TrackingError> {
        let root = from.to_owned();
        let files = tokio::task::spawn_blocking(move || files_below(&root))
            .await
            .map_err(|e| TrackingError::ArtifactStore(e.to_string()))??;
        let mut bytes = 0;
        let count = files.len() as u64;
        for (relative, file) in files {
            let to = if relative.is_empty() { path.to_owned() } else { format!("{path}/{relative}") };
            let reader = tokio::fs::File::open(&file).await?;
            let chunks = futures_util::stream::try_unfold(reader, |mut reader| async move {
                use tokio::io::AsyncReadExt as _;
                let mut buffer = bytes::BytesMut::with_capacity(1 << 20);
                let read = reader.read_buf(&mut buffer).await?;
                Ok::<_, std::io::Error>((read > 0).then(|| (buffer.freeze(), reader)))
            });
            bytes += self.put(&to, Box::pin(chunks)).await?;
        }
        Ok((count, bytes))
    }

    /// Opens a file, or a part of it.
    pub async fn get(&self, path: &str, range: Option<ByteRange>) -> Result<Download, TrackingError> {
        let from = confined(path)?;
        let range = range.map(|r| match r {
            ByteRange::Bounded(start, end) => GetRange::Bounded(start..end),
            ByteRange::From(start) => GetRange::Offset(start),
            ByteRange::Last(count) => GetRange::Suffix(count),
        });
        let options = GetOptions { range, ..GetOptions::default() };
        let result: GetResult = self.0.get_opts(&from, options).await.map_err(|e| failed(path, e))?;
        let shown = path.to_owned();
        Ok(Download {
            size: result.meta.size,
            range: result.range.clone(),
            etag: result.meta.e_tag.clone(),
            modified: Timestamp(result.meta.last_modified.timestamp_millis()),
            body: result.into_stream().map_err(move |e| failed(&shown, e)).boxed(),
        })
    }

    /// The size of a file, in bytes.
    pub async fn size(&self, path: &str) -> Result<u64, TrackingError> {
        Ok(self.0.head(&confined(path)?).await.map_err(|e| failed(path, e))?.size)
    }

    /// Copies a file, in the store itself.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), TrackingError> {
        self.0.copy(&confined(from)?, &confined(to)?).await.map_err(|e| failed(from, e))
    }

    /// A whole file of at most `limit` bytes.
    pub async fn read(&self, path: &str, limit: u64) -> Result<Bytes, TrackingError> {
        let from = confined(path)?;
        let size = self.size(path).await?;
        if size > limit {
            return Err(TrackingError::Upload(format!("'{path}' has {size} bytes, more than {limit}")));
        }
        let result = self.0.get(&from).await.map_err(|e| failed(path, e))?;
        result.bytes().await.map_err(|e| failed(path, e))
    }

    /// Files and folders directly below a folder, by name. Nothing there, or a file: the empty list.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, TrackingError> {
        let below = if path.is_empty() { None } else { Some(confined(path)?) };
        let listed = self.0.list_with_delimiter(below.as_ref()).await.map_err(|e| failed(path, e))?;
        let folders = listed
            .common_prefixes
            .iter()
            .filter_map(|p| p.filename())
            .filter(|name| below.is_some() || *name != PARTS_OF_UPLOADS)
            .map(|name| Entry { name: name.to_owned(), size: None });
        let files = listed
            .objects
            .iter()
            .filter(|o| below.as_ref() != Some(&o.location))
            .filter_map(|o| Some(Entry { name: o.location.filename()?.to_owned(), size: Some(o.size) }));
        let mut entries: Vec<Entry> = folders.chain(files).take(LISTED).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// All files below a folder, or the file itself, by path. Stops after [`LISTED`].
    pub async fn files(&self, path: &str) -> Result<Vec<StoredFile>, TrackingError> {
        let root = confined(path)?;
        let below = |location: &Path| {
            let parts: Vec<String> = location.prefix_match(&root)?.map(|part| part.as_ref().to_owned()).collect();
            Some(parts.join("/"))
        };
        let found: Vec<object_store::ObjectMeta> =
            self.0.list(Some(&root)).take(LISTED).try_collect().await.map_err(|e| failed(path, e))?;
        let mut files: Vec<StoredFile> = found
            .into_iter()
            .filter_map(|meta| Some(StoredFile { path: below(&meta.location)?, size: meta.size, etag: meta.e_tag }))
            .filter(|file| !file.path.is_empty())
            .collect();
        if files.is_empty()
            && let Ok(meta) = self.0.head(&root).await
        {
            files.push(StoredFile { path: String::new(), size: meta.size, etag: meta.e_tag });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Writes one part of an upload; again, when it is sent again.
    pub async fn put_part<S, E>(&self, upload: &Upload, number: i64, body: S) -> Result<u64, TrackingError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        self.write(&upload.path, part_of(upload, number), body).await
    }

    /// Writes the file from its parts; the number of bytes. All parts must be there.
    pub async fn assemble(&self, upload: &Upload) -> Result<u64, TrackingError> {
        let to = confined(&upload.path)?;
        for number in 1..=upload.parts {
            self.0.head(&part_of(upload, number)).await.map_err(|error| match error {
                object_store::Error::NotFound { .. } => {
                    TrackingError::Upload(format!("part {number} of '{}' was not sent", upload.path))
                }
                error => failed(&upload.path, error),
            })?;
        }
        let paths: Vec<Path> = (1..=upload.parts).map(|number| part_of(upload, number)).collect();
        let store = Arc::clone(&self.0);
        let parts: BoxStream<'static, object_store::Result<Bytes>> = futures_util::stream::iter(paths)
            .then(move |path| {
                let store = Arc::clone(&store);
                Box::pin(async move { store.get(&path).await.map(GetResult::into_stream) })
                    as BoxFuture<'static, object_store::Result<BoxStream<'static, object_store::Result<Bytes>>>>
            })
            .try_flatten()
            .boxed();
        self.write(&upload.path, to, parts).await
    }

    /// Drops the parts of an upload.
    pub async fn drop_parts(&self, upload: &Upload) -> Result<(), TrackingError> {
        self.delete_below(&upload.path, Path::from_iter([PARTS_OF_UPLOADS, &upload.upload_id])).await
    }

    /// Deletes a file, or everything below a folder. What is not there is no error.
    pub async fn delete(&self, path: &str) -> Result<(), TrackingError> {
        self.delete_below(path, confined(path)?).await
    }

    async fn delete_below(&self, path: &str, target: Path) -> Result<(), TrackingError> {
        let mut below: Vec<Path> =
            self.0.list(Some(&target)).map_ok(|meta| meta.location).try_collect().await.map_err(|e| failed(path, e))?;
        below.push(target);
        for location in below {
            match self.0.delete(&location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(path, error)),
            }
        }
        Ok(())
    }
}

/// Path below `root` with `/`, and the file; sorted.
fn files_below(root: &FilePath) -> Result<Vec<(String, PathBuf)>, TrackingError> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(std::io::Error::from)?;
        if !entry.file_type().is_file() {
            continue;
        }
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
        let parts = parts.ok_or_else(|| TrackingError::ArtifactPath(relative.display().to_string()))?;
        files.push((parts.join("/"), entry.path().to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_memory() -> Artifacts {
        Artifacts::new(Arc::new(object_store::memory::InMemory::new()))
    }

    fn chunks(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
        let parts: Vec<_> = parts.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
        futures_util::stream::iter(parts)
    }

    async fn text(artifacts: &Artifacts, path: &str, range: Option<ByteRange>) -> String {
        let download = artifacts.get(path, range).await.unwrap();
        let parts: Vec<Bytes> = download.body.try_collect().await.unwrap();
        String::from_utf8(parts.concat()).unwrap()
    }

    #[test]
    fn a_uri_of_ours_has_a_path() {
        assert_eq!(path_of_uri("mlflow-artifacts:/1/abc/artifacts"), Some("1/abc/artifacts"));
        assert_eq!(path_of_uri("mlflow-artifacts://host:5000/1/a"), Some("1/a"));
        assert_eq!(path_of_uri("s3://bucket/1"), None);
    }

    #[tokio::test]
    async fn a_file_comes_back_whole_or_in_part() {
        let artifacts = in_memory();
        let size = artifacts.put("1/r/artifacts/a b.txt", chunks(&["hello ", "world"])).await.unwrap();
        assert_eq!(size, 11);
        assert_eq!(text(&artifacts, "1/r/artifacts/a b.txt", None).await, "hello world");
        assert_eq!(text(&artifacts, "1/r/artifacts/a b.txt", Some(ByteRange::Bounded(6, 8))).await, "wo");
        assert_eq!(text(&artifacts, "1/r/artifacts/a b.txt", Some(ByteRange::Last(3))).await, "rld");
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_leaves_nothing() {
        let artifacts = in_memory();
        let broken = futures_util::stream::iter(vec![
            Ok(Bytes::from_static(b"half")),
            Err(std::io::Error::other("the client went away")),
        ]);
        assert!(artifacts.put("1/x", broken).await.is_err());
        assert!(artifacts.get("1/x", None).await.is_err());
    }

    #[tokio::test]
    async fn a_folder_is_stored_and_listed_and_deleted() {
        let artifacts = in_memory();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("model.onnx"), "abc").unwrap();
        std::fs::write(folder.path().join("sub/x"), "").unwrap();
        assert_eq!(artifacts.put_folder("1/m", folder.path()).await.unwrap(), (2, 3));
        let entries = artifacts.list("1/m").await.unwrap();
        assert_eq!(
            entries,
            [Entry { name: "model.onnx".into(), size: Some(3) }, Entry { name: "sub".into(), size: None }]
        );
        assert_eq!(artifacts.list("1/m/model.onnx").await.unwrap(), []);
        let files = artifacts.files("1/m").await.unwrap();
        assert_eq!(
            files.iter().map(|f| (f.path.as_str(), f.size)).collect::<Vec<_>>(),
            [("model.onnx", 3), ("sub/x", 0)]
        );
        assert_eq!(artifacts.files("1/m/model.onnx").await.unwrap()[0].path, "");
        assert_eq!(artifacts.files("1/gone").await.unwrap(), []);
        assert_eq!(artifacts.read("1/m/model.onnx", 10).await.unwrap(), "abc");
        assert!(artifacts.read("1/m/model.onnx", 2).await.is_err());
        artifacts.delete("1/m").await.unwrap();
        assert_eq!(artifacts.list("1/m").await.unwrap(), []);
        artifacts.delete("1/m").await.unwrap();
    }

    #[tokio::test]
    async fn paths_that_leave_the_root_are_refused() {
        let artifacts = in_memory();
        for bad in [
            "../x",
            "a/../../x",
            "/etc/passwd",
            "%2e%2e/x",
            "%252e%252e%252fx",
            "a/..%2fx",
            "%2fetc",
            "a%5cb",
            "a\\b",
            "a#b",
            "C:/x",
            "",
            "a//b",
        ] {
            let refused = artifacts.put(bad, chunks(&["x"])).await.unwrap_err();
            assert!(matches!(refused, TrackingError::ArtifactPath(_)), "{bad:?}");
            assert!(artifacts.get(bad, None).await.is_err(), "{bad:?}");
            assert!(artifacts.delete(bad).await.is_err(), "{bad:?}");
        }
    }
}
