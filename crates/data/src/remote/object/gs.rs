//! Google Cloud Storage. Credentials: `credentialpath`, then what Google's libraries find
//! (`GOOGLE_APPLICATION_CREDENTIALS`, `gcloud`'s own, the machine's account).

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::{Place, client_options, describe, no_retries};
use crate::Error;
use crate::config::RemoteConfig;

pub(super) fn open(config: &RemoteConfig, place: &Place) -> Result<GoogleCloudStorage, Error> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&place.bucket)
        .with_client_options(client_options(config)?)
        .with_retry(no_retries());
    if let Some(path) = config.text("credentialpath") {
        builder = builder.with_application_credentials(path);
    }
    if let Some(url) = config.text("endpointurl") {
        builder = builder.with_base_url(url.trim_end_matches('/'));
    }
    if config.flag("allow_anonymous_login") == Some(true) {
        builder = builder.with_skip_signature(true);
    }
    builder.build().map_err(|error| describe(&config.url, &error))
}
