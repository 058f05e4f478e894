//! What lies where in the data directory.

use std::path::{Path, PathBuf};

/// The data directory of one server.
#[derive(Clone, Debug)]
pub struct Paths(PathBuf);

impl Paths {
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.to_owned())
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn database(&self) -> PathBuf {
        self.0.join("towpath.db")
    }

    /// `{"pid","url"}` of the running server.
    pub fn server_file(&self) -> PathBuf {
        self.0.join("server.json")
    }

    /// The secret that proves ownership of this folder.
    pub fn owner_token(&self) -> PathBuf {
        self.0.join("owner.token")
    }

    /// Encrypts the secrets of stages.
    pub fn secrets_key(&self) -> PathBuf {
        self.0.join("secrets.key")
    }

    pub fn repositories(&self) -> PathBuf {
        self.0.join("repositories")
    }

    pub fn repository(&self, project: &str) -> PathBuf {
        self.repositories().join(format!("{project}.git"))
    }

    /// What a push to a project that is not there yet is shown.
    pub fn empty_repository(&self) -> PathBuf {
        self.repositories().join(".empty.git")
    }

    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Checkouts and logs of pipeline runs: `<project>/<n>`.
    pub fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    pub fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    /// The files of model versions, by content.
    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }
}
