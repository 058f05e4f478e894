//! `MLproject`, as `mlflow run` reads it (mlflow 3.18, `mlflow/projects/_project_spec.py`): what to run,
//! with which parameters, in which environment. Keys that MLflow does not know are left alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use towpath_yaml::{Field, Value, YamlError};

/// The name of the file, in any case.
pub const FILE: &str = "MLproject";

#[derive(Clone, Debug, PartialEq)]
pub struct MlProject {
    pub name: Option<String>,
    pub environment: ProjectEnvironment,
    entry_points: BTreeMap<String, EntryPoint>,
}

/// What the file names; paths are relative to its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectEnvironment {
    /// Nothing.
    Unnamed,
    Python(String),
    Conda(String),
    Docker(DockerEnvironment),
}

/// `docker_env`: what `docker run` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerEnvironment {
    pub image: String,
    /// As for `--volume`.
    pub volumes: Vec<String>,
    /// Names, with values of their own or with those of the caller.
    pub variables: Vec<(String, Option<String>)>,
}

/// A command with places for parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryPoint {
    pub name: String,
    /// In the order of the file.
    parameters: Vec<Parameter>,
    command: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Parameter {
    name: String,
    kind: ParameterKind,
    default: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParameterKind {
    /// `string`, `float` and whatever else is written: MLflow does not check them.
    Text,
    /// A file or folder here, given to the command as an absolute path.
    Path,
    Uri,
}

/// A command line, and what is recorded of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub command: String,
    /// Quoted as in the command line, which is how MLflow logs them. Declared ones first.
    pub params: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Yaml(#[from] YamlError),
    #[error("there is no entry point '{name}' (there are: {known}), and it is no script: .py or .sh")]
    NoEntryPoint { name: String, known: String },
    #[error("no value is given for {}", .0.join(", "))]
    Missing(Vec<String>),
    #[error("the command of '{entry_point}' names '{name}', which is not one of its parameters")]
    UnknownName { entry_point: String, name: String },
    #[error("the command of '{entry_point}' has a brace that does not close; write {{{{ for a brace")]
    Brace { entry_point: String },
    #[error("parameter '{name}' must be the address of something, such as s3://bucket/file, found '{value}'")]
    NotAUri { name: String, value: String },
    #[error("parameter '{name}' must be a file or folder here, and there is no '{value}'")]
    NoSuchPath { name: String, value: String },
}

/// Reads the text of the file; `exists` says whether a file stands beside it.
pub fn read(file: &str, text: &str, exists: impl Fn(&str) -> bool) -> Result<MlProject, YamlError> {
    let document = towpath_yaml::parse(file, text)?;
    if document.root().is_null() {
        return Ok(without_file(exists));
    }
    let mut fields = document.field().fields()?;
    let name = fields.optional("name").map(|name| name.as_str().map(str::to_owned)).transpose()?;
    let environment = environment(&mut fields, &exists)?;
    let mut entry_points = BTreeMap::new();
    for (entry, field) in fields.optional("entry_points").map(|f| f.entries()).transpose()?.unwrap_or_default() {
        entry_points.insert(entry.key.clone(), entry_point(&entry.key, field)?);
    }
    Ok(MlProject { name, environment, entry_points })
}

/// A folder that has no such file: its scripts are its entry points.
pub fn without_file(exists: impl Fn(&str) -> bool) -> MlProject {
    MlProject { name: None, environment: usual(&exists), entry_points: BTreeMap::new() }
}

fn environment(
    fields: &mut towpath_yaml::Fields<'_>,
    exists: &impl Fn(&str) -> bool,
) -> Result<ProjectEnvironment, YamlError> {
    let (python, conda, docker) =
        (fields.optional("python_env"), fields.optional("conda_env"), fields.optional("docker_env"));
    let named = [&python, &conda, &docker].into_iter().flatten().count();
    if let (true, Some(second)) = (named > 1, docker.as_ref().or(conda.as_ref())) {
        return Err(second.error("only one of python_env, conda_env and docker_env may be there"));
    }
    let path = |field: Field<'_>| {
        let path = field.as_str()?;
        if exists(path) { Ok(path.to_owned()) } else { Err(field.error(format!("there is no file '{path}'"))) }
    };
    Ok(match (python, conda, docker) {
        (Some(python), ..) => ProjectEnvironment::Python(path(python)?),
        (_, Some(conda), _) => ProjectEnvironment::Conda(path(conda)?),
        (.., Some(docker)) => ProjectEnvironment::Docker(docker_environment(docker)?),
        (None, None, None) => usual(exists),
    })
}

fn docker_environment(field: Field<'_>) -> Result<DockerEnvironment, YamlError> {
    let mut fields = field.fields()?;
    let image = fields.required("image")?;
    // Names reach the command line of podman: none may look like an option.
    if image.as_str()?.is_empty() || image.as_str()?.starts_with('-') {
        return Err(image.expected("the name of an image"));
    }
    let mut volumes = Vec::new();
    for volume in fields.optional("volumes").map(|f| f.items()).transpose()?.unwrap_or_default() {
        volumes.push(volume.as_str()?.to_owned());
    }
    let mut variables = Vec::new();
    for variable in fields.optional("environment").map(|f| f.items()).transpose()?.unwrap_or_default() {
        if !variable.is_seq() {
            variables.push((variable.as_str()?.to_owned(), None));
            continue;
        }
        let wrong = || variable.expected("a name, or [name, value]");
        let [name, value] = variable.items()?.try_into().map_err(|_| wrong())?;
        variables.push((name.as_str()?.to_owned(), Some(written(&value.to_value()).ok_or_else(wrong)?)));
    }
    Ok(DockerEnvironment { image: image.as_str()?.to_owned(), volumes, variables })
}

fn usual(exists: &impl Fn(&str) -> bool) -> ProjectEnvironment {
    if exists("python_env.yaml") {
        ProjectEnvironment::Python("python_env.yaml".into())
    } else if exists("conda.yaml") {
        ProjectEnvironment::Conda("conda.yaml".into())
    } else {
        ProjectEnvironment::Unnamed
    }
}

fn entry_point(name: &str, field: Field<'_>) -> Result<EntryPoint, YamlError> {
    let mut fields = field.fields()?;
    let command = fields.required("command")?.as_str()?.to_owned();
    let mut parameters = Vec::new();
    for (entry, field) in fields.optional("parameters").map(|f| f.entries()).transpose()?.unwrap_or_default() {
        let (kind, default) = if field.is_map() {
            let mut fields = field.fields()?;
            let kind = fields.optional("type").map(|kind| kind.as_str()).transpose()?.unwrap_or("string");
            (kind, fields.optional("default").and_then(|default| written(&default.to_value())))
        } else {
            (field.as_str()?, None)
        };
        let kind = match kind {
            "path" => ParameterKind::Path,
            "uri" => ParameterKind::Uri,
            _ => ParameterKind::Text,
        };
        parameters.push(Parameter { name: entry.key.clone(), kind, default });
    }
    Ok(EntryPoint { name: name.to_owned(), parameters, command })
}

/// As Python's `str` writes it; nothing for null, which is no default.
fn written(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => towpath_yaml::python_float(*number),
        Value::String(text) => text.clone(),
        other => other.to_json().to_string(),
    })
}

impl MlProject {
    /// The entry point of that name, or the script.
    pub fn entry_point(&self, name: &str) -> Result<EntryPoint, Error> {
        if let Some(found) = self.entry_points.get(name) {
            return Ok(found.clone());
        }
        let program = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("py") => "python".to_owned(),
            Some("sh") => std::env::var("SHELL").unwrap_or_else(|_| "bash".to_owned()),
            _ => {
                let known: Vec<&str> = self.entry_points.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Error::NoEntryPoint { name: name.to_owned(), known });
            }
        };
        let command = format!("{program} {}", quoted(name).replace('{', "{{").replace('}', "}}"));
        Ok(EntryPoint { name: name.to_owned(), parameters: Vec::new(), command })
    }
}

impl EntryPoint {
    /// The command with the values in it; parameters that it does not declare follow as `--name value`.
    /// `absolute` is where a path here is, if it is there.
    pub fn prepare(
        &self,
        given: &BTreeMap<String, String>,
        absolute: impl Fn(&str) -> Option<String>,
    ) -> Result<Prepared, Error> {
        let value = |parameter: &Parameter| given.get(&parameter.name).or(parameter.default.as_ref()).cloned();
        let missing: Vec<String> =
            self.parameters.iter().filter(|p| value(p).is_none()).map(|p| format!("'{}'", p.name)).collect();
        if !missing.is_empty() {
            return Err(Error::Missing(missing));
        }
        let mut values = BTreeMap::new();
        let mut params = Vec::new();
        for parameter in &self.parameters {
            let Some(text) = value(parameter) else { continue };
            let name = parameter.name.clone();
            let used = match parameter.kind {
                ParameterKind::Text => text.clone(),
                ParameterKind::Uri if text.contains("://") => text.clone(),
                ParameterKind::Uri => return Err(Error::NotAUri { name, value: text }),
                ParameterKind::Path => match absolute(&text) {
                    Some(path) => path,
                    None => return Err(Error::NoSuchPath { name, value: text }),
                },
            };
            params.push((name.clone(), quoted(&text)));
            values.insert(name, quoted(&used));
        }
        let mut command = self.filled(&values)?;
        for (name, value) in given.iter().filter(|(name, _)| !values.contains_key(*name)) {
            let (name, value) = (quoted(name), quoted(value));
            let _ = write!(command, " --{name} {value}");
            params.push((name, value));
        }
        Ok(Prepared { command, params })
    }

    /// `{name}` is the value, `{{` and `}}` are braces.
    fn filled(&self, values: &BTreeMap<String, String>) -> Result<String, Error> {
        let brace = || Error::Brace { entry_point: self.name.clone() };
        let mut filled = String::new();
        let mut rest = self.command.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            filled.push_str(&rest[..at]);
            let from = &rest[at..];
            if let Some(after) = from.strip_prefix("{{") {
                filled.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                filled.push('}');
                rest = after;
            } else {
                let (name, after) = from.strip_prefix('{').and_then(|f| f.split_once('}')).ok_or_else(brace)?;
                let unknown = || Error::UnknownName { entry_point: self.name.clone(), name: name.to_owned() };
                filled.push_str(values.get(name).ok_or_else(unknown)?);
                rest = after;
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The words of a command line, without their quotes; `None` when it needs a shell.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let (inside, after) = rest.as_str().split_once('\'')?;
                word.get_or_insert_default().push_str(inside);
                rest = after.chars();
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '"' => break,
                        '$' | '`' => return None,
                        '\\' => match rest.next()? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next()?),
            '~' | '#' if word.is_some() => word.get_or_insert_default().push(c),
            _ if "|&;<>()$`*?[]{}~#!\n".contains(c) => return None,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// One word of a shell, as Python's `shlex.quote` writes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// The Python packages that an environment file of MLflow or conda names, and the Python that it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// `3.11`, `3.11.2`.
    pub python: Option<String>,
    /// Lines of a requirements file; `-r` leads to files beside the environment file.
    pub requirements: Vec<String>,
}

/// `python_env.yaml`.
pub fn python_env(file: &str, text: &str) -> Result<Packages, YamlError> {
    let document = towpath_yaml::parse(file, text)?;
    let mut fields = document.field().fields()?;
    let python = fields.optional("python").map(|field| text_of(field)).transpose()?;
    let requirements = fields.optional("dependencies").map_or(Ok(Vec::new()), |list| list.strings())?;
    Ok(Packages { python, requirements })
}

/// `conda.yaml`: Python and what its `pip` list names. Other packages of conda are an error: they are not
/// on the Python index.
pub fn conda_env(file: &str, text: &str) -> Result<Packages, YamlError> {
    let document = towpath_yaml::parse(file, text)?;
    let mut fields = document.field().fields()?;
    let mut packages = Packages::default();
    for item in fields.required("dependencies")?.items()? {
        if item.is_map() {
            packages.requirements.extend(item.fields()?.required("pip")?.strings()?);
            continue;
        }
        let text = item.as_str()?;
        let (name, version) = text.split_at(text.find(['=', '<', '>', ' ']).unwrap_or(text.len()));
        match name {
            "python" => packages.python = Some(version.trim_matches(['=', ' ']).to_owned()).filter(|v| !v.is_empty()),
            "pip" => {}
            _ => {
                let message =
                    format!("'{name}' is a package of conda: only python, pip and a 'pip' list can be had here");
                return Err(item.error(message).help("name it under 'pip', or run with --env-manager local"));
            }
        }
    }
    Ok(packages)
}

fn text_of(field: Field<'_>) -> Result<String, YamlError> {
    written(&field.to_value()).ok_or_else(|| field.expected("a version such as 3.11"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "\
name: Wine
python_env: python_env.yaml
entry_points:
  main:
    parameters:
      data: {type: path, default: data.csv}
      alpha: {type: float, default: 0.5}
      title: string
      deep: {default: true}
    command: \"python train.py {data} --alpha {alpha} --title {title} --deep {deep} --map '{{}}'\"
";

    fn given(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn here(path: &str) -> Option<String> {
        path.ends_with(".csv").then(|| format!("/project/{path}"))
    }

    #[test]
    fn values_are_quoted_into_the_command_and_others_follow_as_options() {
        let project = read(FILE, PROJECT, |_| true).unwrap();
        assert_eq!(project.environment, ProjectEnvironment::Python("python_env.yaml".into()));
        let main = project.entry_point("main").unwrap();
        let prepared = main.prepare(&given(&[("title", "it's; rm -rf /"), ("seed", "1 2")]), here).unwrap();
        assert_eq!(
            prepared.command,
            "python train.py /project/data.csv --alpha 0.5 --title 'it'\"'\"'s; rm -rf /' --deep True --map '{}' \
             --seed '1 2'"
        );
        assert_eq!(prepared.params[0], ("data".into(), "data.csv".into()), "as it was given");
        assert_eq!(prepared.params.last().unwrap(), &("seed".into(), "'1 2'".into()));
    }

    #[test]
    fn a_docker_environment_says_what_the_container_gets() {
        let read = |text: &str| read(FILE, text, |_| true).map(|project| project.environment);
        let text = "docker_env:\n  image: repo/wine:1\n  volumes: ['/data:/data']\n  environment: [[SEED, 7], HOST]\n";
        let environment = DockerEnvironment {
            image: "repo/wine:1".into(),
            volumes: vec!["/data:/data".into()],
            variables: vec![("SEED".into(), Some("7".into())), ("HOST".into(), None)],
        };
        assert_eq!(read(text).unwrap(), ProjectEnvironment::Docker(environment));
        for (text, problem) in [
            ("docker_env: {volumes: [x]}", "'image' is missing"),
            ("docker_env: {image: --privileged}", "the name of an image"),
            ("docker_env: {image: x, environment: [[A]]}", "a name, or [name, value]"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn a_plain_command_has_words_and_any_other_needs_a_shell() {
        let split = |line: &str| words(line).map(|words| words.join("|"));
        assert_eq!(
            split("python train.py --title 'it'\"'\"'s' a\\ b x~").unwrap(),
            "python|train.py|--title|it's|a b|x~"
        );
        assert_eq!(split("sh -c \"env > \\\"/out\\\"\" ''").unwrap(), "sh|-c|env > \"/out\"|");
        for line in ["a && b", "a > b", "echo $HOME", "echo \"$HOME\"", "a 'b", "ls *.py", "~/x", "x\\"] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let project = read(FILE, PROJECT, |_| true).unwrap();
        let main = project.entry_point("main").unwrap();
        let error = |values: &[(&str, &str)]| main.prepare(&given(values), here).unwrap_err().to_string();
        assert_eq!(error(&[]), "no value is given for 'title'");
        assert_eq!(
            error(&[("title", "x"), ("data", "away")]),
            "parameter 'data' must be a file or folder here, and there is no 'away'"
        );
        assert_eq!(
            project.entry_point("deploy").unwrap_err().to_string(),
            "there is no entry point 'deploy' (there are: main), and it is no script: .py or .sh"
        );
        let bad = read(FILE, "entry_points: {main: {command: 'x {y}'}}", |_| true).unwrap();
        assert_eq!(
            bad.entry_point("main").unwrap().prepare(&given(&[]), here).unwrap_err().to_string(),
            "the command of 'main' names 'y', which is not one of its parameters"
        );
        let both = read(FILE, "conda_env: a\npython_env: b\n", |_| true).unwrap_err();
        assert!(both.to_string().contains("only one of python_env, conda_env and docker_env"), "{both}");
    }

    #[test]
    fn a_folder_without_the_file_runs_its_scripts() {
        let project = without_file(|name| name == "conda.yaml");
        assert_eq!(project.environment, ProjectEnvironment::Conda("conda.yaml".into()));
        let script = project.entry_point("my {script}.py").unwrap();
        let prepared = script.prepare(&given(&[("lr", "0.1")]), here).unwrap();
        assert_eq!(prepared.command, "python 'my {script}.py' --lr 0.1");
    }

    #[test]
    fn environments_are_lists_for_pip() {
        let python = python_env("e", "python: 3.11\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n");
        let expected = Packages { python: Some("3.11".into()), requirements: vec!["-r requirements.txt".into()] };
        assert_eq!(python.unwrap(), expected);
        let conda = conda_env("e", "dependencies:\n- python=3.11.2\n- pip\n- pip: [mlflow, scikit-learn==1.5]\n");
        assert_eq!(conda.unwrap().requirements, ["mlflow", "scikit-learn==1.5"]);
        let error = conda_env("e", "dependencies: [python=3.9, gdal]\n").unwrap_err();
        assert!(error.to_string().contains("'gdal' is a package of conda"), "{error}");
    }
}
