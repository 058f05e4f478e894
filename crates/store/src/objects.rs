//! Where artifacts lie: a folder, or an S3-compatible bucket.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use crate::StoreError;

/// Opens `file:///folder`, a plain folder path, or `s3://bucket/prefix` (credentials and endpoint from
/// the usual `AWS_*` variables). A folder is made when missing.
pub fn open(uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let fail = |detail: String| StoreError::ArtifactRoot { uri: uri.to_owned(), detail };
    if let Some(rest) = uri.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(|e| fail(e.to_string()))?;
        return Ok(if prefix.is_empty() { Arc::new(s3) } else { Arc::new(PrefixStore::new(s3, prefix)) });
    }
    let folder = match uri.split_once("://") {
        None => uri,
        Some(("file", path)) => path,
        Some((scheme, _)) => {
            return Err(fail(format!("scheme '{scheme}' is not known: file or s3")));
        }
    };
    std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
    let local = LocalFileSystem::new_with_prefix(Path::new(folder)).map_err(|e| fail(e.to_string()))?;
    Ok(Arc::new(local.with_automatic_cleanup(true)))
}
