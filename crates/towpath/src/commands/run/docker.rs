//! `docker_env` of an MLproject: what `mlflow run` tells `docker run`, told to podman.

use std::path::Path;

use towpath_core::project::{Limits, Network};
use towpath_pipeline::Cancel;
use towpath_pipeline::executor::{CommandLine, Container, container};
use towpath_plan::frontend::mlproject::{self, DockerEnvironment};

use crate::error::Error;

/// The container of a project. As with `mlflow run` it has what the image has and the volumes that are named, not
/// the folder of the project.
pub(super) fn container(
    environment: &DockerEnvironment,
    options: &[String],
    temporary: &Path,
    cancel: &Cancel,
) -> Result<Container, Error> {
    let image = container::fetch(&environment.image, &temporary.join("image.log"), cancel)
        .map_err(|problem| Error::invalid(format!("the project runs in a container: {problem}")))?;
    let mut network = Network::Bridge;
    let mut words: Vec<String> = environment.volumes.iter().map(|volume| format!("--volume={volume}")).collect();
    for option in options {
        match option.as_str() {
            "network=host" | "net=host" => network = Network::Host,
            "network=none" | "net=none" => network = Network::None,
            "network=bridge" | "net=bridge" => {}
            option => match option.split_once('=') {
                Some((name, value)) if name.len() == 1 => words.extend([format!("-{name}"), value.to_owned()]),
                None if option.len() == 1 => words.push(format!("-{option}")),
                _ => words.push(format!("--{option}")),
            },
        }
    }
    Ok(Container {
        image,
        name: environment.image.clone(),
        network,
        mounts: Vec::new(),
        limits: Limits::default(),
        directory: None,
        confined: false,
        options: words,
    })
}

/// The variables that the project asks for; those without a value are the caller's.
pub(super) fn variables(environment: &DockerEnvironment) -> Result<Vec<(String, String)>, Error> {
    let variable = |(name, value): &(String, Option<String>)| {
        let value = value.clone().or_else(|| std::env::var(name).ok());
        let missing =
            || Error::invalid(format!("the project expects the environment variable {name}, which is not set"));
        Ok((name.clone(), value.ok_or_else(missing)?))
    };
    environment.variables.iter().map(variable).collect()
}

/// As `docker run IMAGE WORDS`; what `mlflow run` leaves to the shell outside is left to that of the image.
pub(super) fn command(line: &str) -> CommandLine {
    mlproject::words(line).map_or_else(|| CommandLine::Shell(line.to_owned()), CommandLine::Arguments)
}
