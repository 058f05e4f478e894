//! Where a container component runs: one on an image of Python in an environment here. Others are refused.

use std::path::{Path, PathBuf};

use towpath_pipeline::environment::Build;
use towpath_plan::frontend::kfp::{Container, preamble, python_of_image};
use towpath_plan::paths::file_name;

use crate::Runner;

/// A container component that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Without the lines that install packages.
    pub(crate) command: Vec<String>,
    /// The environment, and the hash of its lock.
    pub(crate) environment: PathBuf,
    pub(crate) lock: String,
}

impl Runner<'_> {
    /// Builds what the component needs, once in a run.
    pub(crate) fn prepare(&self, name: &str, container: &Container) -> Result<Prepared, String> {
        if let Some(prepared) = self.prepared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(name) {
            return Ok(prepared.clone());
        }
        let python = python_of_image(&container.image).ok_or_else(|| {
            let image = &container.image;
            format!("it runs in the image {image}: only images of Python, such as python:3.11, can be had here")
        })?;
        let prepared = self.python(name, container, &python)?;
        let mut all = self.prepared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(all.entry(name.to_owned()).or_insert(prepared).clone())
    }

    fn python(&self, name: &str, container: &Container, python: &str) -> Result<Prepared, String> {
        const FILE: &str = "requirements.txt";
        let found = preamble(&container.command)?;
        let requirements = found.as_ref().map(|found| found.requirements.join("\n") + "\n").unwrap_or_default();
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let written = std::fs::write(folder.path().join(FILE), requirements);
        written.map_err(|error| format!("no temporary file: {error}"))?;
        let log = self.request.dir.join("logs").join(format!("environment of {}.log", file_name(name)));
        let build = Build { log: &log, cancel: self.cancel, until: None };
        let environments = &self.request.environments;
        let resolved = if python.is_empty() {
            environments.resolve(folder.path(), FILE, &build)
        } else {
            environments.resolve_for(folder.path(), FILE, python, &build)
        };
        let said = |error: towpath_pipeline::environment::Error| {
            format!("the environment for {} was not built: {error}", container.image)
        };
        let resolved = resolved.map_err(said)?;
        let resolved = resolved.beside(found.as_ref().map_or(&[][..], |found| &found.alone));
        let built = environments.build(&resolved, &build).map_err(said)?;
        let command = found.map_or_else(|| container.command.clone(), |found| found.command);
        Ok(Prepared { command, environment: built.path, lock: built.hash.to_string() })
    }
}

/// The folder of programs of an environment before all others.
pub(crate) fn search_path(environment: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    format!("{}:{path}", environment.join("bin").display())
}
