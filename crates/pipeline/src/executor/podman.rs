//! The commands of a task in containers. Each is one `podman run` that stays attached, so what waits for a
//! process waits for a container: its output is that of podman, signals are passed on, exit codes come through.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Resource, getrlimit};
use towpath_core::project::Network;

use super::container::{self, Container, Problem};
use super::supervise::{Ended, Start, Started};
use super::usage::Members;
use super::{CommandLine, Ending, Task};
use crate::Error;

/// The program that podman puts before the command so that it can be asked to end: the first process of a
/// container is not ended by a signal that it does not handle.
const INIT: &str = "/usr/libexec/podman/catatonit";

/// Variables that podman and what it starts listen to themselves, and those by which processes of a stage are
/// found. They are given on the command line, the others are not to be seen there.
const OF_PODMAN: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "DBUS_SESSION_BUS_ADDRESS", "REGISTRY_AUTH_FILE"];
const BEGINS_OF_PODMAN: [&str; 10] =
    ["CONTAINER", "DVC_", "GO", "LD_", "LISTEN_", "NOTIFY_", "PODMAN_", "SSL_", "STORAGE_", "XDG_"];

pub(super) struct Podman<'t> {
    task: &'t Task,
    container: &'t Container,
    name: String,
    label: String,
    /// Gets the number of the first process once the container is there.
    pid_file: PathBuf,
    controllers: Vec<String>,
}

impl<'t> Podman<'t> {
    /// The error, for people, says why the task cannot run.
    pub(super) fn new(task: &'t Task, container: &'t Container) -> Result<Self, String> {
        let (name, label) = container::name_and_label(&task.log);
        let said = |problem: Problem| problem.to_string();
        if task.resources.gpu > 0 {
            return Err("asks for a GPU, and containers are not given any here".to_owned());
        }
        let of_podman = |(name, value): &&(String, String)| is_of_podman(name) && task.secrets.contains(value);
        if let Some((name, _)) = task.variables.iter().find(of_podman) {
            return Err(format!(
                "has a secret as {name}, to which podman listens itself: give the variable another name"
            ));
        }
        // What an engine that was killed left of the same task.
        container::remove(&name).map_err(said)?;
        let limited =
            task.resources.memory.is_some() || task.resources.cpu > 0.0 || container.limits.processes.is_some();
        let controllers = if limited { container::controllers().map_err(said)? } else { Vec::new() };
        let pid_file = task.log.with_extension("pid");
        Ok(Self { task, container, name, label, pid_file, controllers })
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|has| has == controller)
    }

    fn memory(&self) -> Option<u64> {
        self.task.resources.memory.filter(|_| self.has("memory"))
    }

    /// Everything before the image.
    fn options(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: &str| words.push(format!("--{option}={value}").into());
        add("rm", "true");
        add("name", &self.name);
        add("label", &self.label);
        add("pidfile", &self.pid_file.display().to_string());
        // What the commands print is in our log, without its secrets.
        add("log-driver", "none");
        add("pull", "never");
        add("network", network(self.container.network));
        add("http-proxy", "false");
        // SELinux would not let it use the checkout otherwise.
        add("security-opt", "label=disable");
        if Path::new(INIT).exists() {
            add("init", "true");
        }
        if self.container.confined {
            add("user", "0:0");
            add("cap-drop", "all");
            add("security-opt", "no-new-privileges");
        }
        if let Some(directory) = &self.container.directory {
            add("workdir", &directory.display().to_string());
        }
        for mount in self.container.mounts.iter().filter(|mount| mount.path.exists()) {
            add("mount", &bind(&mount.path, mount.writable));
        }
        for (option, value) in self.limits() {
            add(option, &value);
        }
        for (name, value) in &self.task.variables {
            if is_of_podman(name) {
                add("env", &format!("{name}={value}"));
            } else {
                add("env", name);
            }
        }
        words.extend(self.container.options.iter().map(OsString::from));
        words
    }

    fn limits(&self) -> Vec<(&'static str, String)> {
        let limits = &self.container.limits;
        let mut words = Vec::new();
        // What nobody limits is as it is for this process: podman's own defaults may be beyond that.
        let files =
            limits.open_files.map_or_else(|| own(Resource::Nofile, "/proc/sys/fs/nr_open"), |files| files.to_string());
        words.push(("ulimit", format!("nofile={files}:{files}")));
        let processes = limits.processes.filter(|_| !self.has("pids"));
        let processes = processes
            .map_or_else(|| own(Resource::Nproc, "/proc/sys/kernel/pid_max"), |processes| processes.to_string());
        words.push(("ulimit", format!("nproc={processes}:{processes}")));
        words.extend(limits.file_size.map(|bytes| ("ulimit", format!("fsize={bytes}:{bytes}"))));
        words.extend(limits.cpu_seconds.map(|seconds| ("ulimit", format!("cpu={seconds}:{}", seconds + 1))));
        if let Some(processes) = limits.processes.filter(|_| self.has("pids")) {
            words.push(("pids-limit", processes.to_string()));
        }
        words.extend(self.memory().map(|bytes| ("memory", format!("{bytes}b"))));
        if self.task.resources.cpu > 0.0 && self.has("cpu") {
            words.push(("cpus", self.task.resources.cpu.to_string()));
        }
        words
    }

    fn level(&self) -> String {
        let network = match self.container.network {
            Network::None => "no network",
            Network::Bridge => "network by an address of its own",
            Network::Host => "network of the machine",
        };
        let memory = match (self.task.resources.memory, self.memory()) {
            (None, _) => "",
            (_, Some(_)) => "; memory limited",
            (Some(_), None) => "; memory watched, no cgroup",
        };
        format!("container of {} (image sha256:{}); {network}{memory}", self.container.name, self.container.image)
    }
}

impl Start for Podman<'_> {
    fn start(&mut self, line: &CommandLine) -> Result<Started, Error> {
        let mut command = container::command();
        command.arg("run").args(self.options());
        let image = self.container.image.as_str();
        let entry_point = |words: &[&str]| format!("--entrypoint={}", serde_json::json!(words));
        match line {
            CommandLine::Shell(line) => command.arg(entry_point(&["sh", "-c"])).args([image, line]),
            CommandLine::Program(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                command.arg(entry_point(&words)).arg(image)
            }
            CommandLine::Arguments(words) => command.arg(image).args(words),
        };
        let visible = self.task.variables.iter().filter(|(name, _)| !is_of_podman(name));
        command
            .envs(visible.map(|(name, value)| (name, value)))
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| Error::Spawn { program: "podman".to_owned(), source })?;
        let memory = self.task.resources.memory.filter(|_| self.memory().is_none());
        let members = Members::Namespace(self.pid_file.clone());
        Ok(Started { child, level: self.level(), observer: None, members, memory })
    }

    fn clear(&mut self, mut ended: Ended) -> Ended {
        let was_there = fs::remove_file(&self.pid_file).is_ok();
        let by_itself = matches!(ended.ending, Ending::Exited(_)) && was_there;
        // One that ended by itself is removed by podman.
        if !by_itself && let Err(problem) = container::remove(&self.name) {
            ended.denied = problem.to_string();
        }
        match ended.ending {
            Ending::Exited(125..=127) if !was_there => {
                let said = container::last_words(&self.task.log, ended.log_lines);
                ended.denied = format!("podman could not start its container: {said}");
                ended.ending = Ending::NotGranted;
            }
            // Nothing but the kernel ends a process in there this way.
            Ending::Exited(137) if self.memory().is_some() => ended.ending = Ending::OutOfMemory,
            _ => {}
        }
        ended
    }
}

fn network(network: Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::Bridge => "bridge",
        Network::Host => "host",
    }
}

fn is_of_podman(name: &str) -> bool {
    OF_PODMAN.contains(&name) || BEGINS_OF_PODMAN.iter().any(|begin| name.starts_with(begin))
}

/// The most that this process may have itself, and no more than the kernel has for anybody: podman lowers its own
/// limits to that, and cannot give more than it has.
fn own(resource: Resource, of_kernel: &str) -> String {
    let most = fs::read_to_string(of_kernel).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let own = getrlimit(resource).maximum;
    own.into_iter().chain(most).min().map_or_else(|| "-1".to_owned(), |most| most.to_string())
}

/// A value of `--mount`: podman reads it as a line of CSV.
fn bind(path: &Path, writable: bool) -> String {
    let path = path.display().to_string();
    let field = |name: &str| match format!("{name}={path}") {
        field if field.contains([',', '"', '\n']) => format!("\"{}\"", field.replace('"', "\"\"")),
        field => field,
    };
    let read_only = if writable { "" } else { ",ro=true" };
    format!("type=bind,{},{}{read_only}", field("source"), field("destination"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_mounted_whatever_its_name() {
        assert_eq!(bind(Path::new("/a b"), true), "type=bind,source=/a b,destination=/a b");
        assert_eq!(
            bind(Path::new("/a,\"b\""), false),
            "type=bind,\"source=/a,\"\"b\"\"\",\"destination=/a,\"\"b\"\"\",ro=true"
        );
    }
}
