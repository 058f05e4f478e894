//! The lines that the compiler puts before a Python component: they install packages by pip, each time. Its
//! packages are read out of it instead, for an environment that is kept.

/// What a component needs installed, and the command that remains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Lines of a requirements file.
    pub requirements: Vec<String>,
    /// Installed without what they need: the SDK itself.
    pub alone: Vec<String>,
    pub command: Vec<String>,
}

/// The preamble of a command; nothing when it has none.
///
/// # Errors
/// An option of pip that is not known, in one sentence.
pub fn preamble(command: &[String]) -> Result<Option<Preamble>, String> {
    let [shell, option, script, rest @ ..] = command else { return Ok(None) };
    let ends = script.trim_end().ends_with("\"$0\" \"$@\"");
    if shell != "sh" || option != "-c" || !ends || !script.contains("python3 -m pip install") {
        return Ok(None);
    }
    let mut found = Preamble { command: rest.to_vec(), ..Preamble::default() };
    for line in script.split('\n').flat_map(|line| line.split("&&")) {
        let Some((_, arguments)) = line.split_once("python3 -m pip install") else { continue };
        let words = words(arguments);
        let mut alone = false;
        let mut named = Vec::new();
        let mut options = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (option, attached) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
                _ => (word.clone(), None),
            };
            match option.as_str() {
                "--no-deps" => alone = true,
                "--quiet" | "-q" | "--no-warn-script-location" | "--no-cache-dir" | "--upgrade" | "--user" => {}
                "--index-url" | "-i" | "--extra-index-url" | "--find-links" => {
                    let option = if option == "-i" { "--index-url" } else { &option };
                    let value = attached.or_else(|| words.next()).unwrap_or_default();
                    options.push(format!("{option} {value}"));
                }
                // Certificates are checked always.
                "--trusted-host" => drop(attached.or_else(|| words.next())),
                _ if option.starts_with('-') => {
                    return Err(format!(
                        "its packages are installed with the option {word} of pip, which is not known"
                    ));
                }
                _ => named.push(word),
            }
        }
        if alone {
            found.alone.extend(named);
        } else {
            found.requirements.extend(options.into_iter().chain(named));
        }
    }
    Ok(Some(found))
}

/// The version of Python that an image of Python has: `3.11` of `python:3.11-slim`, empty for any. Nothing for
/// another image.
pub fn python_of_image(image: &str) -> Option<String> {
    let name = image.split('@').next().unwrap_or(image);
    let name = ["docker.io/library/", "docker.io/", "library/"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let tag = name.strip_prefix("python")?;
    let tag = match tag.strip_prefix(':') {
        Some(tag) => tag.split('-').next().unwrap_or(tag),
        None if tag.is_empty() => "",
        None => return None,
    };
    let numbers: Vec<&str> = tag.split('.').take(2).collect();
    match numbers[..] {
        [major, minor] if major == "3" && minor.bytes().all(|b| b.is_ascii_digit()) => Some(format!("{major}.{minor}")),
        _ => Some(String::new()),
    }
}

/// Words of a shell's line, quotes taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> Vec<String> {
        ["sh", "-c", script, "sh", "-ec", "run"].map(str::to_owned).to_vec()
    }

    #[test]
    fn packages_are_read_out_of_the_lines_of_the_compiler() {
        let script = "\nif ! [ -x \"$(command -v pip)\" ]; then\n    python3 -m ensurepip\nfi\n\n\
            PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location \
            --index-url https://index.example/simple --trusted-host index.example 'six==1.17.0' 'idna>3'  &&  \
            python3 -m pip install --quiet 'kfp==2.17.3' '--no-deps' 'typing-extensions>=3.7.4,<5; \
            python_version<\"3.9\"' && \"$0\" \"$@\"\n";
        let found = preamble(&command(script)).unwrap().unwrap();
        assert_eq!(found.requirements, ["--index-url https://index.example/simple", "six==1.17.0", "idna>3"]);
        assert_eq!(found.alone, ["kfp==2.17.3", "typing-extensions>=3.7.4,<5; python_version<\"3.9\""]);
        assert_eq!(found.command, ["sh", "-ec", "run"]);
    }

    #[test]
    fn other_commands_have_none() {
        assert_eq!(preamble(&command("echo hello && \"$0\" \"$@\"")), Ok(None));
        assert_eq!(preamble(&["python3".to_owned()]), Ok(None));
        let unknown = preamble(&command("python3 -m pip install --target /x six && \"$0\" \"$@\"")).unwrap_err();
        assert!(unknown.contains("--target"), "{unknown}");
    }

    #[test]
    fn images_of_python_tell_their_version() {
        for (image, version) in [
            ("python:3.11", Some("3.11")),
            ("docker.io/library/python:3.12.4-slim", Some("3.12")),
            ("python", Some("")),
            ("python:3", Some("")),
            ("python:latest", Some("")),
            ("pytorch/pytorch:2", None),
            ("python-tools:1", None),
            ("registry.example/python:3.11", None),
        ] {
            assert_eq!(python_of_image(image).as_deref(), version, "{image}");
        }
    }
}
