//! What the real tools wrote is taken over, on SQLite and on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod logged;
mod mlflow;
mod neptune;
mod running;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use towpath_core::{Actor, SystemClock};
use towpath_imports::{Report, Source, take};
use towpath_store::Store;

/// A server's database and artifact root, and a folder for what tools write.
struct Place {
    store: Store,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new(postgres: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = if postgres {
            towpath_testkit::postgres::schema().await.unwrap()
        } else {
            folder.path().join("towpath.db").display().to_string()
        };
        Self { store: Store::open(&url, Arc::new(SystemClock)).await.unwrap(), folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `scripts/<name>.py` in the folder; what it prints.
    fn python(&self, name: &str) -> String {
        self.python_with(name, "")
    }

    /// The same with a tracking server.
    fn python_with(&self, name: &str, tracking_uri: &str) -> String {
        let script = format!("{}/tests/scripts/{name}.py", env!("CARGO_MANIFEST_DIR"));
        let python = towpath_testkit::python::program("python").unwrap();
        let output = Command::new(python)
            .arg(script)
            .current_dir(self.folder.path())
            .env("MLFLOW_TRACKING_URI", tracking_uri)
            .env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}.py: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn take(&self, source: &Source, served: Option<&Path>) -> Report {
        let root = self.path("ours").display().to_string();
        take(source, &self.store, &root, served, &Actor::user("alice")).await.unwrap()
    }
}
