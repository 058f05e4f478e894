//! The environment with the real `dvc`, `mlflow` and friends that `make setup` builds.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Names the environment's folder; `.venv` of the workspace by default.
pub const VARIABLE: &str = "TOWPATH_TEST_PYENV";

/// The environment with the `kserve` client, which does not go together with the newest pandas.
pub fn kserve() -> Result<PathBuf> {
    program("../kserve/bin/python")
}

/// The environment with the client of MLflow 3.1.
pub fn mlflow_3_1() -> Result<PathBuf> {
    program("../mlflow-3.1/bin/python")
}

/// The path of `name` (`python`, `dvc`, `mlflow`) in the test environment.
pub fn program(name: &str) -> Result<PathBuf> {
    let root = match std::env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv"),
    };
    let path = root.join("bin").join(name);
    ensure!(path.exists(), "{} is missing: run `make setup`, or set {VARIABLE}", path.display());
    path.canonicalize().map(|_| path.clone()).with_context(|| path.display().to_string())
}

/// The interpreter that has the SDK of Kubeflow Pipelines.
pub fn kfp() -> Result<PathBuf> {
    program("../kfp/bin/python")
}
