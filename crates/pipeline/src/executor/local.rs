//! Processes on this machine, confined by the sandbox, or containers.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use super::podman::Podman;
use super::supervise::{self, Start, Started};
use super::usage::Members;
use super::{CommandLine, Executor, Finished, Progress, Task, shell};
use crate::{Cancel, Error};
use towpath_observe::Observer;
use towpath_sandbox::Level;

#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Executor for Local {
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error> {
        match &task.container {
            None => supervise::run(task, &mut Processes { task }, progress, cancel),
            Some(container) => match Podman::new(task, container) {
                Ok(mut podman) => supervise::run(task, &mut podman, progress, cancel),
                Err(why) => Ok(Finished::without_running(super::Ending::NotGranted, why)),
            },
        }
    }
}

/// Confined by the task's sandbox.
struct Processes<'t> {
    task: &'t Task,
}

impl Start for Processes<'_> {
    fn start(&mut self, line: &CommandLine) -> Result<Started, Error> {
        match line {
            CommandLine::Program(argv) | CommandLine::Arguments(argv) => spawn(self.task, argv),
            CommandLine::Shell(line) => spawn_line(self.task, line),
        }
    }
}

/// Starts a line of plain words directly, any other by the shell.
fn spawn_line(task: &Task, line: &str) -> Result<Started, Error> {
    let search = task.variables.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    if let Some(direct) = shell::direct(line, &task.directory, search) {
        let mut command = task.sandbox.command(&direct.program);
        // A helper starts the program by its path.
        if command.get_program() == direct.program.as_os_str() {
            command.arg0(direct.words[0]);
        }
        command.args(&direct.words[1..]);
        prepare(task, &mut command);
        // What cannot be started this way, such as a script without `#!`, the shell knows to run.
        if let Ok(started) = start(task, command) {
            return Ok(started);
        }
    }
    spawn(task, &shell::argv(line))
}

fn spawn(task: &Task, argv: &[String]) -> Result<Started, Error> {
    let program = argv.first().map_or("", String::as_str);
    let mut command = task.sandbox.command(program);
    command.args(argv.get(1..).unwrap_or_default());
    prepare(task, &mut command);
    start(task, command).map_err(|source| Error::Spawn { program: program.to_owned(), source })
}

fn start(task: &Task, command: Command) -> io::Result<Started> {
    if !task.observed || task.sandbox.is_off() {
        let (child, level) = task.sandbox.spawn(command)?;
        return Ok(started(task, child, level, None));
    }
    let (observer, observe) = towpath_observe::observer()?;
    let (child, level) = task.sandbox.spawn_after(command, || observe.start())?;
    Ok(started(task, child, level, Some(observer)))
}

fn started(task: &Task, child: Child, level: Level, observer: Option<Observer>) -> Started {
    let memory = task.resources.memory;
    let watched = if memory.is_some() { "; memory watched, no cgroup" } else { "" };
    let members = Members::Group(child.id().cast_signed());
    Started { child, level: format!("{}{watched}", level.0), observer, members, memory }
}

/// As every command of the task is started: in its folder, with its variables, leading a process
/// group of its own.
fn prepare(task: &Task, command: &mut Command) {
    command
        .current_dir(&task.directory)
        .env_clear()
        .envs(task.variables.iter().map(|(name, value)| (name, value)))
        // A shell sets it.
        .env("PWD", &task.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}
