//! What clients ask before they do anything.

use axum::Json;
use serde_json::{Value, json};

use crate::MLFLOW_VERSION;

pub(crate) async fn health() -> &'static str {
    "OK"
}

/// The client parses it as a version.
pub(crate) async fn version() -> &'static str {
    MLFLOW_VERSION
}

pub(crate) async fn server_info() -> Json<Value> {
    Json(json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "multipart_uploads_enabled": true,
        "multipart_downloads_enabled": false,
        // Which server this is, for `towpath sync` and `towpath export`.
        "towpath": env!("CARGO_PKG_VERSION"),
    }))
}
