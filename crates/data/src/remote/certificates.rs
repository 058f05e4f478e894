//! Which servers a remote believes, and the certificate that it shows them.

use std::fs;
use std::path::Path;

use reqwest::blocking::ClientBuilder;
use reqwest::{Certificate, Identity};

use crate::Error;
use crate::config::{RemoteConfig, SslVerify};

/// By the options `ssl_verify`, `cert_path` and `key_path`.
pub(super) fn apply(mut builder: ClientBuilder, config: &RemoteConfig) -> Result<ClientBuilder, Error> {
    let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
    match config.ssl_verify() {
        SslVerify::AsUsual => {}
        SslVerify::Nothing => builder = builder.tls_danger_accept_invalid_certs(true),
        SslVerify::Against(path) => {
            let found = Certificate::from_pem_bundle(&read(&path)?);
            let found = found.map_err(|error| config.bad(format!("ssl_verify {}: {error}", path.display())))?;
            builder = builder.tls_certs_merge(found);
        }
    }
    if let Some(path) = config.path("cert_path") {
        let mut pem = read(&path)?;
        if let Some(key) = config.path("key_path") {
            pem.extend(read(&key)?);
        }
        let identity = Identity::from_pem(&pem);
        builder =
            builder.identity(identity.map_err(|error| config.bad(format!("cert_path {}: {error}", path.display())))?);
    }
    Ok(builder)
}
