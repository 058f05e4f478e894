//! Where a container component runs: one on an image of Python in an environment here, any other in a container.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use towpath_core::Digest;
use towpath_core::project::{Limits, Network};
use towpath_pipeline::environment::Build;
use towpath_pipeline::executor::container::{fetch, image};
use towpath_pipeline::executor::{Container as Confined, Mount};
use towpath_plan::frontend::kfp::{Container, Executor, Pipeline, preamble, python_of_image};
use towpath_plan::paths::file_name;

use crate::Runner;

/// A container component that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Without the lines that install packages.
    pub(crate) command: Vec<String>,
    pub(crate) place: Place,
    /// The hash of the environment's lock, or the id of the image.
    pub(crate) lock: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Environment(PathBuf),
    Image(Digest),
}

/// Why a component of the pipeline cannot run here, whatever it is given; nothing when all can, as far as can be
/// said before images are fetched. Asks podman, if there is such a component.
pub fn cannot_run(pipeline: &Pipeline) -> Option<String> {
    pipeline.executors.iter().find_map(|(name, executor)| {
        let Executor::Container(container) = executor else { return None };
        let why = match python_of_image(&container.image) {
            Some(_) => preamble(&container.command).err(),
            None => image(&container.image)
                .err()
                .map(|problem| format!("it runs in a container of the image {}, and {problem}", container.image)),
        };
        Some(format!("deploymentSpec.executors.{name}: {}", why?))
    })
}

impl Runner<'_> {
    /// Builds what the component needs, once in a run.
    pub(crate) fn prepare(&self, name: &str, container: &Container) -> Result<Prepared, String> {
        let of_all =
            self.prepared.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone();
        // Iterations of a loop begin together: one of them builds, and what that says is its own log.
        let mut of_it = of_all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = &*of_it {
            return Ok(prepared.clone());
        }
        let prepared = match python_of_image(&container.image) {
            Some(python) => self.python(name, container, &python)?,
            None => self.image(name, container)?,
        };
        Ok(of_it.insert(prepared).clone())
    }

    fn image(&self, name: &str, container: &Container) -> Result<Prepared, String> {
        let log = self.request.dir.join("logs").join(format!("image of {}.log", file_name(name)));
        let id = fetch(&container.image, &log, self.cancel)
            .map_err(|problem| format!("it runs in a container: {problem}"))?;
        let lock = format!("sha256:{id}");
        Ok(Prepared { command: container.command.clone(), place: Place::Image(id), lock })
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
        Ok(Prepared { command, place: Place::Environment(built.path), lock: built.hash.to_string() })
    }
}

/// With its outputs at their places, what other tasks made to read, and a network, as a pod has one.
pub(crate) fn confined(image: &Digest, name: &str, outputs: &[&Path], inputs: &[&Path]) -> Confined {
    let mounts = |paths: &[&Path], writable| -> Vec<Mount> {
        paths.iter().map(|path| Mount { path: (*path).to_owned(), writable }).collect()
    };
    Confined {
        image: image.clone(),
        name: name.to_owned(),
        network: Network::Bridge,
        mounts: [mounts(outputs, true), mounts(inputs, false)].concat(),
        limits: Limits::default(),
        directory: None,
        confined: true,
        options: Vec::new(),
    }
}

/// The folder of programs of an environment before all others.
pub(crate) fn search_path(environment: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    format!("{}:{path}", environment.join("bin").display())
}
