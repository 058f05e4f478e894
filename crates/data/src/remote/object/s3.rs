//! S3 and what speaks like it, with DVC's options (dvc-s3, `__init__.py`).

use std::env;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, resolve_bucket_region};
use tokio::runtime::Runtime;

use super::aws_profile::{Credentials, Profile};
use super::{Place, client_options, describe, no_retries};
use crate::Error;
use crate::config::RemoteConfig;

/// Options of DVC that the client has no way to send.
const UNSUPPORTED: [&str; 5] = ["acl", "grant_read", "grant_read_acp", "grant_write_acp", "grant_full_control"];

pub(super) fn open(config: &RemoteConfig, place: &Place, runtime: &Runtime) -> Result<AmazonS3, Error> {
    if let Some(option) = UNSUPPORTED.iter().find(|option| config.text(option).is_some()) {
        return Err(config.bad(format!("'{option}' is not supported; give the bucket a policy, or push with dvc")));
    }
    let profile = Profile::of(config)?;
    let options = client_options(config)?;
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = config.text("endpointurl").map(str::to_owned);
    let endpoint = endpoint
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| variable("AWS_ENDPOINT_URL"))
        .or_else(|| profile.setting("endpoint_url"));
    let region = config.text("region").map(str::to_owned);
    let region = region
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .or_else(|| profile.setting("region"));
    // Whoever names no region has it looked up, as s3fs does with `cache_regions`.
    let region = match (region, &endpoint) {
        (Some(region), _) => region,
        (None, Some(_)) => "us-east-1".to_owned(),
        (None, None) => runtime
            .block_on(resolve_bucket_region(&place.bucket, &options))
            .map_err(|error| describe(&config.url, &error))?,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&place.bucket)
        .with_region(&region)
        .with_client_options(options)
        .with_retry(no_retries())
        // A bucket with a dot has no certificate of its own.
        .with_virtual_hosted_style_request(endpoint.is_none() && !place.bucket.contains('.'));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(with_scheme(&endpoint, config.flag("use_ssl") != Some(false)));
    }
    builder = match profile.credentials(config)? {
        Credentials::Anonymous => builder.with_skip_signature(true),
        Credentials::Keys { id, secret, token } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = token { builder.with_token(token) } else { builder }
        }
        Credentials::WebIdentity { role, token_file } => builder
            .with_config(AmazonS3ConfigKey::RoleArn, role)
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file),
        Credentials::OfTheMachine => of_the_machine(builder),
    };
    encrypted(builder, config)?.build().map_err(|error| describe(&config.url, &error))
}

/// A container's account, or else the machine's.
fn of_the_machine(mut builder: AmazonS3Builder) -> AmazonS3Builder {
    for (name, key) in [
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
    ] {
        if let Ok(value) = env::var(name) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

fn encrypted(builder: AmazonS3Builder, config: &RemoteConfig) -> Result<AmazonS3Builder, Error> {
    let (kms_key, own_key) = (config.text("sse_kms_key_id"), config.text("sse_customer_key"));
    match (config.text("sse"), kms_key, own_key) {
        (None, None, None) => Ok(builder),
        (_, Some(_), Some(_)) => Err(config.bad("sse_kms_key_id and sse_customer_key exclude each other")),
        (None, None, Some(key)) => match config.text("sse_customer_algorithm") {
            None | Some("AES256") => Ok(builder.with_ssec_encryption(key)),
            Some(other) => Err(config.bad(format!("sse_customer_algorithm must be 'AES256', found '{other}'"))),
        },
        (Some("aws:kms") | None, Some(key), None) => Ok(builder.with_sse_kms_encryption(key)),
        (Some(kind @ ("AES256" | "aws:kms")), None, None) => {
            let key = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
            Ok(builder.with_config(key.map_err(|error| describe(&config.url, &error))?, kind))
        }
        (Some(other), ..) => {
            Err(config.bad(format!("sse must be 'AES256' or 'aws:kms', alone or with its key, found '{other}'")))
        }
    }
}

fn with_scheme(endpoint: &str, ssl: bool) -> String {
    if endpoint.contains("://") {
        endpoint.to_owned()
    } else if ssl {
        format!("https://{endpoint}")
    } else {
        format!("http://{endpoint}")
    }
}
