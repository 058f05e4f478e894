//! `sandbox`, `image` and `network` of a stage: in `towpath.yaml`, or in the `meta` of `dvc.yaml`.

use towpath_core::project::{Confinement, Image, Network};
use towpath_yaml::{Field, Fields, YamlError};

/// What the fields of a stage say; `None` when they do not speak of it.
pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Option<Confinement>, YamlError> {
    let (sandbox, image, network) = (fields.optional("sandbox"), fields.optional("image"), fields.optional("network"));
    let confinement = match sandbox.map(|field| Ok((field, field.as_str()?))).transpose()? {
        None => None,
        Some((_, "default")) => Some(Confinement::Default),
        Some((_, "strict")) => Some(Confinement::Strict),
        Some((field, "container")) => {
            let help = "add image: NAME, as podman takes it: docker.io/library/python:3.11";
            let image = image.ok_or_else(|| field.error("a container needs an image").help(help))?;
            let network = network.map(self::network).transpose()?.unwrap_or_default();
            return Ok(Some(Confinement::Container(Image { name: image_name(image)?, network })));
        }
        Some((field, _)) => return Err(field.expected("default, strict or container")),
    };
    match image.or(network) {
        Some(field) => Err(field.error("only a container has it").help("add sandbox: container")),
        None => Ok(confinement),
    }
}

/// Names reach the command line of podman: none may look like an option.
fn image_name(field: Field<'_>) -> Result<String, YamlError> {
    let name = field.as_str()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 500 && name.chars().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err(field.expected("the name of an image, such as docker.io/library/python:3.11"))
    }
}

fn network(field: Field<'_>) -> Result<Network, YamlError> {
    match field.as_str()? {
        "none" => Ok(Network::None),
        "bridge" => Ok(Network::Bridge),
        "host" => Ok(Network::Host),
        _ => Err(field.expected("none, bridge or host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let document = towpath_yaml::parse("dvc.yaml", text).unwrap();
        let mut fields = document.field().fields().unwrap();
        match read(&mut fields) {
            Ok(confinement) => format!("{confinement:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_container_has_an_image_and_no_network_unless_it_is_given_one() {
        assert_eq!(said("desc: x"), "None");
        assert_eq!(said("sandbox: strict"), "Some(Strict)");
        let container = |network| format!("Some(Container(Image {{ name: \"python:3.11\", network: {network} }}))");
        assert_eq!(said("sandbox: container\nimage: python:3.11"), container("None"));
        assert_eq!(said("sandbox: container\nimage: python:3.11\nnetwork: host"), container("Host"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (text, problem) in [
            ("sandbox: container", "needs an image"),
            ("image: python:3.11", "only a container has it"),
            ("sandbox: strict\nnetwork: host", "only a container has it"),
            ("sandbox: container\nimage: --privileged", "the name of an image"),
            ("sandbox: container\nimage: x\nnetwork: all", "none, bridge or host"),
            ("sandbox: loose", "default, strict or container"),
        ] {
            let said = said(text);
            assert!(said.contains(problem), "{text}: {said}");
        }
    }
}
