//! Where artifacts lie: a folder, or an S3-compatible bucket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

use crate::StoreError;

/// How long a request to a bucket is tried again before it fails.
const RETRIES_END: Duration = Duration::from_secs(30);

/// [`open_with`] the environment of this process.
pub fn open(uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    open_with(
        uri,
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok())),
    )
}

/// Opens `file:///folder`, a plain folder path, or `s3://bucket/prefix`. A folder is made when missing;
/// a bucket is not, and is not asked for anything yet.
///
/// Credentials, region and endpoint of a bucket come from `variables`, by the names that Amazon's own
/// tools have for them: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`,
/// `AWS_ENDPOINT_URL`. An endpoint of `http://` is spoken to without TLS.
pub fn open_with(
    uri: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let fail = |detail: String| StoreError::ArtifactRoot { uri: uri.to_owned(), detail };
    if let Some(rest) = uri.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(fail("no bucket is named: s3://BUCKET/PREFIX".to_owned()));
        }
        let s3 = bucket_options(variables).with_bucket_name(bucket).build().map_err(|e| fail(e.to_string()))?;
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

/// What the variables say of S3; others are let pass.
fn bucket_options(variables: impl IntoIterator<Item = (String, String)>) -> AmazonS3Builder {
    let retries = RetryConfig { retry_timeout: RETRIES_END, ..RetryConfig::default() };
    let mut options = AmazonS3Builder::new().with_retry(retries);
    for (name, value) in variables {
        let name = name.to_ascii_lowercase();
        if name.starts_with("aws_endpoint_url") && value.starts_with("http://") {
            options = options.with_allow_http(true);
        }
        if let Some(key) = name.starts_with("aws_").then(|| name.parse().ok()).flatten() {
            options = options.with_config(key, value);
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;

    use super::*;

    #[test]
    fn a_bucket_is_configured_by_the_variables_of_amazons_tools() {
        let variables = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"), ("AWS_REGION", "eu-west-1"), ("PATH", "/bin")];
        let options = bucket_options(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let endpoint = options.get_config_value(&AmazonS3ConfigKey::Endpoint);
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(options.get_config_value(&AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn what_is_no_artifact_root_is_refused_with_what_would_be_right() {
        for (uri, expected) in [("s3://", "s3://BUCKET/PREFIX"), ("gs://bucket", "file or s3")] {
            let error = open_with(uri, []).unwrap_err().to_string();
            assert!(error.contains(expected), "{uri}: {error}");
        }
    }
}
