//! Data versioning against the real `dvc`: what one writes, the other reads.

#![expect(clippy::unwrap_used, reason = "what a test sets up by hand panics where it breaks")]

mod azure_remote;
mod crash;
mod dvc_2;
mod faults;
mod http_remote;
mod import_url;
mod link_types;
mod locks;
mod manifest_bytes;
mod moto;
mod odd_repositories;
mod partial;
mod real_dvc;
mod s3_remote;
mod ssh_remote;
mod support;
mod tracking;
mod version_aware;
mod web_server;
mod webdav_remote;
