//! Azure Blob Storage. Credentials, in DVC's order (dvc-azure, `__init__.py`): a connection string, an
//! account key, a SAS token, a service principal, else what the machine or `az` has. What the remote
//! does not say is taken from `AZURE_STORAGE_*`.

use std::env;

use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::{Place, client_options, describe, no_retries};
use crate::Error;
use crate::config::RemoteConfig;

pub(super) fn open(config: &RemoteConfig, place: &Place) -> Result<MicrosoftAzure, Error> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&place.bucket)
        .with_client_options(client_options(config)?)
        .with_retry(no_retries());
    let from_env = || env::var("AZURE_STORAGE_CONNECTION_STRING").ok();
    if let Some(text) = config.text("connection_string").map(str::to_owned).or_else(from_env) {
        for (key, value) in connection_string(&text) {
            builder = builder.with_config(key, value);
        }
    }
    for (option, key) in [
        ("account_name", AzureConfigKey::AccountName),
        ("account_key", AzureConfigKey::AccessKey),
        ("sas_token", AzureConfigKey::SasKey),
        ("tenant_id", AzureConfigKey::AuthorityId),
        ("client_id", AzureConfigKey::ClientId),
        ("client_secret", AzureConfigKey::ClientSecret),
    ] {
        if let Some(value) = config.text(option) {
            builder = builder.with_config(key, value);
        }
    }
    if config.flag("allow_anonymous_login") == Some(true) {
        builder = builder.with_skip_signature(true);
    }
    builder.build().map_err(|error| describe(&config.url, &error))
}

/// `AccountName=...;AccountKey=...;BlobEndpoint=...`.
fn connection_string(text: &str) -> Vec<(AzureConfigKey, String)> {
    let mut settings = Vec::new();
    let mut host = None;
    let (mut protocol, mut suffix) = ("https", "core.windows.net");
    for (name, value) in text.split(';').filter_map(|setting| setting.split_once('=')) {
        match name.trim() {
            "AccountName" => {
                host = Some(value);
                settings.push((AzureConfigKey::AccountName, value.to_owned()));
            }
            "AccountKey" => settings.push((AzureConfigKey::AccessKey, value.to_owned())),
            "SharedAccessSignature" => settings.push((AzureConfigKey::SasKey, value.to_owned())),
            "BlobEndpoint" => settings.push((AzureConfigKey::Endpoint, value.trim_end_matches('/').to_owned())),
            "DefaultEndpointsProtocol" => protocol = value,
            "EndpointSuffix" => suffix = value,
            _ => {}
        }
    }
    let named = settings.iter().any(|(key, _)| *key == AzureConfigKey::Endpoint);
    if let Some(account) = host.filter(|_| !named) {
        settings.push((AzureConfigKey::Endpoint, format!("{protocol}://{account}.blob.{suffix}")));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_names_account_key_and_endpoint() {
        let own = connection_string("AccountName=a;AccountKey=k==;EndpointSuffix=core.chinacloudapi.cn");
        assert!(own.contains(&(AzureConfigKey::AccessKey, "k==".into())));
        assert!(own.contains(&(AzureConfigKey::Endpoint, "https://a.blob.core.chinacloudapi.cn".into())));
        let emulator = connection_string("AccountName=a;BlobEndpoint=http://127.0.0.1:10000/a;");
        assert!(emulator.contains(&(AzureConfigKey::Endpoint, "http://127.0.0.1:10000/a".into())));
        assert_eq!(emulator.len(), 2);
    }
}
