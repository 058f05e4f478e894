//! Containers, by podman: what one is made of, its image, and removing those whose engine is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use towpath_core::Digest;
use towpath_core::project::{Limits, Network};

use super::{CommandLine, Ending, Executor as _, Local, Task, processes};
use crate::{Cancel, log};

const PROGRAM: &str = "podman";

/// The label of our containers: the log of the task that they run.
const LABEL: &str = "towpath.log";

/// Podman answers in a tenth of a second, unless something is wrong with it.
const ANSWERS: Duration = Duration::from_mins(1);

/// How long an image may take to arrive.
const FETCH: Duration = Duration::from_hours(2);

/// Where a task runs, instead of among the processes of the machine.
#[derive(Clone, Debug)]
pub struct Container {
    /// The id of the image, as [`image`] says it.
    pub image: Digest,
    /// As it was asked for.
    pub name: String,
    pub network: Network,
    /// What of the machine is there, at its own path. What does not exist is left out.
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    /// Where the commands start; `None` is where the image says.
    pub directory: Option<PathBuf>,
    /// As the user of this process, without capabilities; otherwise as the image and podman have it.
    pub confined: bool,
    /// More words for `podman run`.
    pub options: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub path: PathBuf,
    pub writable: bool,
}

/// Why podman gave no answer; for people.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("podman is not installed: install it (Debian: apt-get install podman), or leave the container out")]
    NotInstalled,
    #[error("podman does not work: {0}")]
    Failed(String),
    #[error("there is no image {name} here, and podman could not fetch it ({said}): build it, or `podman pull` it")]
    NoImage { name: String, said: String },
}

/// The id of an image that is here; `None` when it is not.
pub fn image(name: &str) -> Result<Option<Digest>, Problem> {
    match ask(&["image", "inspect", "--format", "{{.Id}}", name]) {
        Ok(id) => match id.trim().trim_start_matches("sha256:").parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(Problem::Failed(format!("it calls the image {name} '{}'", id.trim()))),
        },
        Err(Problem::Failed(said)) if said.contains("no such image") || said.contains("not known") => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The id of an image, which is fetched when it is not here. What podman says of that goes to `log`.
pub fn fetch(name: &str, log: &Path, cancel: &Cancel) -> Result<Digest, Problem> {
    if let Some(id) = image(name)? {
        return Ok(id);
    }
    let words = [PROGRAM, "pull", name].map(str::to_owned).to_vec();
    let task = Task {
        variables: std::env::vars().collect(),
        timeout: Some(FETCH),
        ..Task::new(vec![CommandLine::Program(words)], std::env::temp_dir(), log.to_owned())
    };
    let failed = |said: String| Problem::NoImage { name: name.to_owned(), said };
    let finished = Local.run(&task, &mut |_| {}, cancel).map_err(|error| failed(error.to_string()))?;
    if finished.ending != Ending::Exited(0) {
        return Err(failed(last_words(log, finished.log_lines)));
    }
    image(name)?.ok_or_else(|| failed("it is not there afterwards".into()))
}

/// Ends and removes the containers whose logs lie below `folder`. How many there were. None where there is no
/// podman.
pub fn remove_containers_below(folder: &Path) -> Result<usize, Problem> {
    let listed = match ask(&["ps", "--all", "--filter", &format!("label={LABEL}"), "--format", "json"]) {
        Err(Problem::NotInstalled) => return Ok(0),
        listed => listed?,
    };
    let listed: Value = serde_json::from_str(&listed).map_err(|error| Problem::Failed(error.to_string()))?;
    let is_below =
        |container: &&Value| container["Labels"][LABEL].as_str().is_some_and(|log| Path::new(log).starts_with(folder));
    let ours = listed.as_array().into_iter().flatten().filter(is_below);
    let ids: Vec<&str> = ours.filter_map(|container| container["Id"].as_str()).collect();
    for id in &ids {
        remove(id)?;
    }
    Ok(ids.len())
}

/// Ends and removes a container, if there is one of that name.
pub(super) fn remove(name: &str) -> Result<(), Problem> {
    ask(&["rm", "--force", "--ignore", "--time", "0", name]).map(drop)
}

/// The name of the container of a task, the same in each attempt; and its label.
pub(super) fn name_and_label(log: &Path) -> (String, String) {
    let log = log.display().to_string();
    (format!("towpath-{:.20}", Digest::of(log.as_bytes()).as_str()), format!("{LABEL}={log}"))
}

/// The controllers of resources that containers may use.
pub(super) fn controllers() -> Result<Vec<String>, Problem> {
    let said = ask(&["info", "--format", "{{range .Host.CgroupControllers}}{{.}} {{end}}"])?;
    Ok(said.split_whitespace().map(str::to_owned).collect())
}

pub(super) fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    // Of a service manager, for whoever started this process.
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID").stdin(Stdio::null());
    command
}

/// What was last printed by a process, not by us.
pub(super) fn last_words(log: &Path, lines: u64) -> String {
    let page = log::read(log, lines.saturating_sub(20), 20).unwrap_or_default();
    let said = page.lines.into_iter().rev().filter(|line| line.stream != log::Stream::Towpath);
    let mut texts = said.map(|line| line.text.trim().trim_start_matches("Error: ").to_owned());
    texts.find(|text| !text.is_empty()).unwrap_or_else(|| "it does not say why".to_owned())
}

fn ask(arguments: &[&str]) -> Result<String, Problem> {
    let mut podman = command();
    podman.args(arguments);
    let output = match processes::answer(podman, ANSWERS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Problem::NotInstalled),
        Err(error) => return Err(Problem::Failed(error.to_string())),
        Ok(output) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    Err(Problem::Failed(last.trim_start_matches("Error: ").to_owned()))
}
