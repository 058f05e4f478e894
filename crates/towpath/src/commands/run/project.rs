//! `towpath run start FOLDER|URL`: a folder with an `MLproject`, run here as `mlflow run` runs it, recorded in
//! the tracking server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use towpath_git::WorkTree;
use towpath_imports::{Credentials, Rest};
use towpath_pipeline::environment::Build;
use towpath_pipeline::executor::{CommandLine, Container, Ending, Executor as _, Progress, Task};
use towpath_pipeline::{Cancel, Local, log};
use towpath_plan::frontend::mlproject::{self, MlProject, Packages, Prepared, ProjectEnvironment};

use super::docker;
use crate::config::{Context, wait};
use crate::error::{Error, Exit};
use crate::signals;

/// Kept of what the command prints.
const LOG_LIMIT: u64 = 1 << 30;

/// What `mlflow run` is told, beside the folder.
pub struct Asked {
    pub uri: String,
    pub entry_point: String,
    /// Text, as it was typed.
    pub params: BTreeMap<String, String>,
    /// Branch, tag or commit of a Git URL.
    pub version: Option<String>,
    pub experiment: Option<String>,
    pub run_name: Option<String>,
    /// Runs in the environment of the caller, whatever the project asks for.
    pub local_environment: bool,
    /// Options of the container of a project that has one.
    pub docker_args: Vec<String>,
}

/// Where the command runs.
enum Place {
    /// With the caller's programs.
    Here,
    /// With those of this folder first.
    Programs(PathBuf),
    /// In a container with these variables.
    Container(Box<Container>, Vec<(String, String)>),
}

/// True for what names a folder or a Git URL; a branch of a project on the server does not look like that.
pub fn is_project(reference: &str) -> bool {
    let is_path = reference == "." || reference == ".." || ["./", "../", "/"].iter().any(|p| reference.starts_with(p));
    is_path || reference.contains("://") || reference.starts_with("git@")
}

/// Runs it to its end.
pub fn run(ctx: &Context, asked: &Asked) -> Result<Exit, Error> {
    let cancel = signals::cancel_on_signal()?;
    let temporary = tempfile::tempdir().map_err(Error::io("make", &std::env::temp_dir()))?;
    let (folder, url) = fetch(asked, temporary.path())?;
    let project = read(&folder)?;
    let absolute = |path: &str| fs::canonicalize(path.strip_prefix("file://").unwrap_or(path)).ok();
    let absolute = |path: &str| absolute(path).map(|path| path.display().to_string());
    let prepared = project
        .entry_point(&asked.entry_point)
        .and_then(|entry_point| entry_point.prepare(&asked.params, absolute))
        .map_err(|error| Error::invalid(error.to_string()))?;
    let tracking = Tracking::of(ctx)?;
    let (experiment, run_id) = wait(tracking.begin(asked, &project, &prepared, &folder, &url))?;
    ctx.ui.note(format!("Run {run_id} of experiment {experiment}: {}", prepared.command));
    let ended = place(ctx, asked, &project, &folder, temporary.path(), &cancel).and_then(|place| {
        if let Place::Container(container, _) = &place {
            wait(tracking.tag(&run_id, "mlflow.docker.image.uri", &container.name))?;
            wait(tracking.tag(&run_id, "mlflow.docker.image.id", &format!("sha256:{}", container.image)))?;
        }
        execute(ctx, &tracking, &prepared, &folder, temporary.path(), place, [&experiment, &run_id], &cancel)
    });
    let status = match &ended {
        Ok(Ending::Exited(0)) => "FINISHED",
        Ok(Ending::Cancelled) => "KILLED",
        _ => "FAILED",
    };
    wait(tracking.end(&run_id, status))?;
    let ending = ended?;
    ctx.ui.show_as(&json!({"run_id": run_id, "experiment_id": experiment, "status": status}), || {
        format!("Run {run_id} {}.", status.to_lowercase())
    })?;
    Ok(if ending == Ending::Exited(0) { Exit::Done } else { Exit::No })
}

/// The folder, and how the run's record names it.
fn fetch(asked: &Asked, temporary: &Path) -> Result<(PathBuf, String), Error> {
    let (uri, inside) = asked.uri.split_once('#').unwrap_or((&asked.uri, ""));
    let local = Path::new(uri.strip_prefix("file://").unwrap_or(uri));
    // Without a version a working tree is run as it stands.
    let is_repository = local.join("objects").is_dir() || (asked.version.is_some() && local.join(".git").exists());
    let is_folder = local.is_dir() && !is_repository;
    let root = if is_folder {
        if asked.version.is_some() {
            return Err(Error::invalid("--version belongs to a Git repository")
                .hint(format!("{} is none: leave --version out", local.display())));
        }
        fs::canonicalize(local).map_err(Error::io("find", local))?
    } else {
        let dir = temporary.join("project");
        let clone = WorkTree::clone_from(uri, &dir, None)?;
        if let Some(version) = &asked.version {
            let commit = clone.resolve(version).or_else(|_| clone.resolve(&format!("origin/{version}")))?;
            clone.checkout(&commit)?;
        }
        dir
    };
    let folder = match inside {
        "" => root,
        inside => {
            let confined = towpath_core::names::confined_path(inside)
                .ok_or_else(|| Error::invalid(format!("'{inside}' is not a folder of {uri}")))?;
            root.join(confined)
        }
    };
    if !folder.is_dir() {
        return Err(Error::not_found(format!("there is no folder '{inside}' in {uri}")));
    }
    let name = if is_folder && inside.is_empty() { source_name(&folder) } else { asked.uri.clone() };
    Ok((folder, name))
}

/// As MLflow names a folder here: inside a repository by the repository, with the folder behind `#`.
fn source_name(folder: &Path) -> String {
    let Ok(repository) = WorkTree::discover(folder) else { return folder.display().to_string() };
    let root = repository.root();
    match folder.strip_prefix(root) {
        Ok(inside) if !inside.as_os_str().is_empty() => format!("file://{}#{}", root.display(), inside.display()),
        _ => format!("file://{}", root.display()),
    }
}

/// An address without the user and password that may stand in it.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or(authority))
}

/// `MLproject` in any case, or none.
fn read(folder: &Path) -> Result<MlProject, Error> {
    let exists = |path: &str| folder.join(path).is_file();
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let named = |name: &str| name.eq_ignore_ascii_case(mlproject::FILE);
    let mut names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let Some(name) = names.find(|name| named(name)) else { return Ok(mlproject::without_file(exists)) };
    let path = folder.join(&name);
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(mlproject::read(&name, &text, exists)?)
}

/// Makes the environment that the project names.
fn place(
    ctx: &Context,
    asked: &Asked,
    project: &MlProject,
    folder: &Path,
    temporary: &Path,
    cancel: &Cancel,
) -> Result<Place, Error> {
    if asked.local_environment {
        return Ok(Place::Here);
    }
    let read = |file: &str| fs::read_to_string(folder.join(file)).map_err(Error::io("read", &folder.join(file)));
    let packages = match &project.environment {
        ProjectEnvironment::Unnamed => return Ok(Place::Here),
        ProjectEnvironment::Python(file) => mlproject::python_env(file, &read(file)?)?,
        ProjectEnvironment::Conda(file) => mlproject::conda_env(file, &read(file)?)?,
        ProjectEnvironment::Docker(_) if project.name.is_none() => {
            return Err(Error::invalid("a project with docker_env must have a name, as for `mlflow run`"));
        }
        ProjectEnvironment::Docker(environment) => {
            let variables = docker::variables(environment)?;
            let container = docker::container(environment, &asked.docker_args, temporary, cancel)?;
            return Ok(Place::Container(Box::new(container), variables));
        }
    };
    let file = requirements(folder, temporary, &packages)?;
    let log = temporary.join("environment.log");
    let build = Build { log: &log, cancel, until: None };
    let environments = ctx.environments();
    let resolved = environments.resolve(temporary, &file, &build)?;
    if let Some(wanted) = packages.python.filter(|wanted| !is_release(resolved.python(), wanted)) {
        return Err(Error::invalid(format!("the project asks for Python {wanted}, here is {}", resolved.python()))
            .hint("put that Python first on the PATH, or run with --env-manager local"));
    }
    let built = environments.build(&resolved, &build)?;
    Ok(Place::Programs(built.path.join("bin")))
}

/// `3.11` is a release of `3.11.2`.
fn is_release(found: &str, wanted: &str) -> bool {
    // Only the first two numbers decide what packages there are.
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    minor(found) == minor(wanted)
}

/// A requirements file of the packages; files that they include are named by where they are.
fn requirements(folder: &Path, temporary: &Path, packages: &Packages) -> Result<String, Error> {
    let line = |requirement: &String| match requirement.trim().strip_prefix("-r") {
        Some(file) => format!("-r {}\n", folder.join(file.trim()).display()),
        None => format!("{requirement}\n"),
    };
    let text: String = packages.requirements.iter().map(line).collect();
    let file = "requirements.txt";
    let path = temporary.join(file);
    fs::write(&path, text).map_err(Error::io("write", &path))?;
    Ok(file.to_owned())
}

#[expect(clippy::too_many_arguments, reason = "what a command is run with, each once")]
fn execute(
    ctx: &Context,
    tracking: &Tracking,
    prepared: &Prepared,
    folder: &Path,
    temporary: &Path,
    place: Place,
    [experiment, run_id]: [&str; 2],
    cancel: &Cancel,
) -> Result<Ending, Error> {
    let mut variables = BTreeMap::new();
    let mut container = None;
    let mut command = CommandLine::Program(["bash", "-c", &prepared.command].map(str::to_owned).to_vec());
    match place {
        Place::Here => variables.extend(std::env::vars()),
        Place::Programs(bin) => {
            variables.extend(std::env::vars());
            let path = variables.remove("PATH").unwrap_or_default();
            variables.insert("PATH".into(), format!("{}:{path}", bin.display()));
            variables.insert("VIRTUAL_ENV".into(), bin.parent().unwrap_or(&bin).display().to_string());
        }
        Place::Container(image, asked) => {
            variables.extend(asked);
            command = docker::command(&prepared.command);
            container = Some(*image);
        }
    }
    variables.insert("MLFLOW_RUN_ID".into(), run_id.to_owned());
    variables.insert("MLFLOW_EXPERIMENT_ID".into(), experiment.to_owned());
    variables.insert("MLFLOW_TRACKING_URI".into(), tracking.uri.clone());
    if container.is_none() {
        variables.insert("PYTHONUNBUFFERED".into(), "1".into());
    }
    let mut secrets = Vec::new();
    if let Credentials::Token(token) = &tracking.credentials {
        secrets.push(token.clone());
        variables.insert("MLFLOW_TRACKING_TOKEN".into(), token.clone());
    }
    let log_path = temporary.join("run.log");
    let task = Task {
        variables: variables.into_iter().collect(),
        secrets,
        log_limit: LOG_LIMIT,
        container,
        ..Task::new(vec![command], folder.to_owned(), log_path.clone())
    };
    let mut shown = None;
    let mut show = |progress: Progress| {
        if let Progress::Logged(_) = progress {
            let reader = shown.get_or_insert_with(|| log::Reader::open(&log_path));
            while let Ok(reader) = reader
                && let Ok(lines) = reader.read(1000)
                && !lines.is_empty()
            {
                lines.iter().filter(|l| l.stream != log::Stream::Towpath).for_each(|l| ctx.ui.note(&l.text));
            }
        }
    };
    let finished = Local.run(&task, &mut show, cancel)?;
    if finished.ending == Ending::NotGranted {
        return Err(Error::invalid(format!("the project {}", finished.denied)));
    }
    Ok(finished.ending)
}

/// The tracking server of the run.
pub(super) struct Tracking {
    uri: String,
    credentials: Credentials,
    pub(super) rest: Rest,
}

impl Tracking {
    /// `MLFLOW_TRACKING_URI`, or else this program's server.
    pub(super) fn of(ctx: &Context) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let token = |token: Option<String>| token.map_or(Credentials::None, Credentials::Token);
        let (uri, credentials) = if let Some(uri) = variable("MLFLOW_TRACKING_URI") {
            (uri, token(variable("MLFLOW_TRACKING_TOKEN")))
        } else {
            let client = ctx.client()?;
            (client.base().to_owned(), token(client.token().map(str::to_owned)))
        };
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(Error::invalid(format!("MLFLOW_TRACKING_URI must be the address of a server, found '{uri}'"))
                .hint("towpath server is one: unset it, or name http://HOST:PORT"));
        }
        let rest = Rest::new(&uri, credentials.clone())?;
        Ok(Self { uri, credentials, rest })
    }

    /// Makes the run with what MLflow records of a project; the ids of the experiment and of the run.
    async fn begin(
        &self,
        asked: &Asked,
        project: &MlProject,
        prepared: &Prepared,
        folder: &Path,
        url: &str,
    ) -> Result<(String, String), Error> {
        let experiment = self.experiment(asked.experiment.as_ref()).await?;
        let user = std::env::var("USER").unwrap_or_else(|_| "unknown".into());
        let environment = match &project.environment {
            _ if asked.local_environment => None,
            ProjectEnvironment::Unnamed => None,
            ProjectEnvironment::Docker(_) => Some("docker"),
            ProjectEnvironment::Python(_) | ProjectEnvironment::Conda(_) => Some("uv"),
        };
        let mut tags = vec![
            ("mlflow.user", user.clone()),
            ("mlflow.source.name", url.to_owned()),
            ("mlflow.source.type", "PROJECT".to_owned()),
            ("mlflow.project.entryPoint", asked.entry_point.clone()),
            ("mlflow.project.backend", "local".to_owned()),
        ];
        tags.extend(environment.map(|environment| ("mlflow.project.env", environment.to_owned())));
        if let Ok(repository) = WorkTree::discover(folder) {
            if let Some(commit) = repository.head()? {
                tags.push(("mlflow.source.git.commit", commit.as_str().to_owned()));
            }
            if let Some(remote) = repository.remote_url("origin")? {
                tags.push(("mlflow.source.git.repoURL", without_credentials(&remote)));
            }
        }
        let tags: Vec<Value> = tags.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        let mut new = json!({"experiment_id": experiment, "user_id": user, "start_time": now(), "tags": tags});
        if let Some(name) = &asked.run_name {
            new["run_name"] = json!(name);
        }
        let made = self.rest.post("/runs/create", &new).await?;
        let run_id = made["run"]["info"]["run_id"].as_str().unwrap_or_default().to_owned();
        let params: Vec<Value> =
            prepared.params.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        if !params.is_empty() {
            let batch = json!({"run_id": run_id, "params": params});
            self.rest.post("/runs/log-batch", &batch).await?;
        }
        Ok((experiment, run_id))
    }

    async fn tag(&self, run_id: &str, key: &str, value: &str) -> Result<(), Error> {
        self.rest.post("/runs/set-tag", &json!({"run_id": run_id, "key": key, "value": value})).await?;
        Ok(())
    }

    /// By name, made when it is not there; by id of the environment; or the default one.
    pub(super) async fn experiment(&self, named: Option<&String>) -> Result<String, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(name) = named.cloned().or_else(|| variable("MLFLOW_EXPERIMENT_NAME")) else {
            return Ok(variable("MLFLOW_EXPERIMENT_ID").unwrap_or_else(|| "0".into()));
        };
        let search = json!({"filter": format!("name = '{}'", name.replace('\'', "''")), "max_results": 1});
        let found = self.rest.post("/experiments/search", &search).await?;
        let id = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(known) = id(&found["experiments"][0]["experiment_id"]) {
            return Ok(known);
        }
        let made = self.rest.post("/experiments/create", &json!({"name": name})).await?;
        id(&made["experiment_id"]).ok_or_else(|| Error::invalid("the tracking server made no experiment"))
    }

    pub(super) async fn end(&self, run_id: &str, status: &str) -> Result<(), Error> {
        let update = json!({"run_id": run_id, "status": status, "end_time": now()});
        self.rest.post("/runs/update", &update).await?;
        Ok(())
    }
}

/// Milliseconds.
pub(super) fn now() -> i64 {
    use towpath_core::Clock as _;
    towpath_core::SystemClock.now().millis()
}
