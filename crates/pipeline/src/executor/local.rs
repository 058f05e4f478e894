//! Processes on this machine. Each command leads a process group of its own; one loop waits for its
//! output, its end, the deadline and cancellation at once.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, test_kill_process_group};

use super::{CommandLine, Ending, Executor, Finished, ProcessId, Progress, Task, shell};
use crate::log::{Stream, Writer};
use crate::sandbox::Level;
use crate::{Cancel, Error};

/// How long output is awaited from a process that left the group and kept the pipe.
const STRAGGLERS: Duration = Duration::from_secs(2);
const BUFFER: usize = 64 << 10;

#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Executor for Local {
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error> {
        let log_error = |source| Error::Log { path: task.log.clone(), source };
        let started = Instant::now();
        let mut log = Writer::create(&task.log, task.log_limit, task.secrets.clone()).map_err(log_error)?;
        let mut ending = Ending::Exited(0);
        let mut sandbox = "off".to_owned();
        for command in &task.commands {
            if cancel.is_cancelled() {
                ending = Ending::Cancelled;
                break;
            }
            log.note(&format!("$ {}", command.shown())).map_err(log_error)?;
            let mut running = Running::start(task, command, started, cancel)?;
            sandbox = std::mem::take(&mut running.level);
            progress(Progress::Started(running.id));
            ending = running.wait(&mut log, progress)?;
            log.end_lines().map_err(log_error)?;
            if ending != Ending::Exited(0) {
                break;
            }
        }
        let duration = started.elapsed();
        log.note(&describe(ending, duration)).map_err(log_error)?;
        let log_lines = log.finish().map_err(log_error)?;
        progress(Progress::Logged(log_lines));
        Ok(Finished { ending, duration, log_lines, sandbox })
    }
}

fn describe(ending: Ending, duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match ending {
        Ending::Exited(code) => format!("exited with {code} after {seconds:.2} s"),
        Ending::Signalled(signal) => format!("killed by signal {signal} after {seconds:.2} s"),
        Ending::TimedOut => format!("timed out after {seconds:.2} s"),
        Ending::Cancelled => format!("cancelled after {seconds:.2} s"),
    }
}

/// One command's process group.
struct Running<'a> {
    task: &'a Task,
    cancel: &'a Cancel,
    child: Child,
    pid: Pid,
    /// Readable when the leader has ended.
    ended: OwnedFd,
    id: ProcessId,
    level: String,
    deadline: Option<Instant>,
}

/// Why the loop asked the group to end.
#[derive(Clone, Copy)]
enum Stopping {
    No,
    Asked { why: Ending, kill_at: Instant },
    Killed { why: Ending },
}

impl<'a> Running<'a> {
    fn start(task: &'a Task, line: &CommandLine, started: Instant, cancel: &'a Cancel) -> Result<Self, Error> {
        let (child, level) = match line {
            CommandLine::Program(argv) => spawn(task, argv)?,
            CommandLine::Shell(line) => spawn_line(task, line)?,
        };
        let spawn_error = |source| Error::Spawn { program: "pidfd_open".to_owned(), source };
        let pid = Pid::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| spawn_error(e.into()))?;
        let id = ProcessId { pid: pid.as_raw_pid(), start_time: start_time(pid.as_raw_pid()).unwrap_or(0) };
        let deadline = task.timeout.map(|timeout| started + timeout);
        Ok(Self { task, cancel, child, pid, ended, id, level: level.0, deadline })
    }

    fn wait(mut self, log: &mut Writer, progress: &mut dyn FnMut(Progress)) -> Result<Ending, Error> {
        let copied = self.copy_output_until_end(log, progress);
        // Whatever happened, nothing of the group stays behind. The leader is not reaped yet, so the
        // number cannot belong to another group.
        self.signal(Signal::KILL);
        let status = self.child.wait();
        let stopping = copied.map_err(|source| Error::Log { path: self.task.log.clone(), source })?;
        let status = status.map_err(|source| Error::Spawn { program: "wait".to_owned(), source })?;
        Ok(match stopping {
            Stopping::Asked { why, .. } | Stopping::Killed { why } => why,
            Stopping::No => match (status.code(), status.signal()) {
                (Some(code), _) => Ending::Exited(code),
                (None, signal) => Ending::Signalled(signal.unwrap_or(0)),
            },
        })
    }

    /// Fails only when the log cannot be written.
    fn copy_output_until_end(&mut self, log: &mut Writer, progress: &mut dyn FnMut(Progress)) -> io::Result<Stopping> {
        let mut out = self.child.stdout.take();
        let mut err = self.child.stderr.take();
        let mut buffer = vec![0; BUFFER];
        let mut stopping = Stopping::No;
        let mut leader_ended = None;
        while leader_ended.is_none() || out.is_some() || err.is_some() {
            let now = Instant::now();
            stopping = self.stop_if_due(stopping, now);
            if leader_ended.is_some_and(|at: Instant| now >= at + STRAGGLERS) {
                log.note("a process that left the process group still holds the output; it is not waited for")?;
                break;
            }
            let wake_at = match (leader_ended, stopping) {
                (Some(at), _) => Some(at + STRAGGLERS),
                (None, Stopping::No) => self.deadline,
                (None, Stopping::Asked { kill_at, .. }) => Some(kill_at),
                (None, Stopping::Killed { .. }) => None,
            };
            let watch_cancel = matches!(stopping, Stopping::No);
            let ready = wait_for(
                [
                    out.as_ref().map(AsFd::as_fd),
                    err.as_ref().map(AsFd::as_fd),
                    leader_ended.is_none().then(|| self.ended.as_fd()),
                    watch_cancel.then(|| self.cancel.descriptor()),
                ],
                wake_at.map(|at| at.saturating_duration_since(now)),
            )?;
            let lines = log.lines();
            if ready[0] && !copy(&mut out, Stream::Out, &mut buffer, log)? {
                out = None;
            }
            if ready[1] && !copy(&mut err, Stream::Err, &mut buffer, log)? {
                err = None;
            }
            if log.lines() != lines {
                progress(Progress::Logged(log.lines()));
            }
            if ready[2] {
                leader_ended = Some(Instant::now());
                self.signal(Signal::KILL);
            }
        }
        Ok(stopping)
    }

    fn stop_if_due(&self, stopping: Stopping, now: Instant) -> Stopping {
        match stopping {
            Stopping::No => {
                let timed_out = self.deadline.is_some_and(|deadline| now >= deadline);
                let why = match (self.cancel.is_cancelled(), timed_out) {
                    (true, _) => Ending::Cancelled,
                    (false, true) => Ending::TimedOut,
                    (false, false) => return Stopping::No,
                };
                self.signal(Signal::TERM);
                Stopping::Asked { why, kill_at: now + self.task.grace }
            }
            Stopping::Asked { why, kill_at } if now >= kill_at => {
                self.signal(Signal::KILL);
                Stopping::Killed { why }
            }
            unchanged => unchanged,
        }
    }

    /// To the whole group. It fails when nobody is left in it.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.pid, signal);
    }
}

/// Starts a line of plain words directly, any other by the shell.
fn spawn_line(task: &Task, line: &str) -> Result<(Child, Level), Error> {
    let search = task.variables.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    if let Some(direct) = shell::direct(line, &task.directory, search) {
        let mut command = Command::new(&direct.program);
        command.arg0(direct.words[0]).args(&direct.words[1..]);
        prepare(task, &mut command);
        // What cannot be started this way, such as a script without `#!`, the shell knows to run.
        if let Ok(started) = task.sandbox.spawn(command) {
            return Ok(started);
        }
    }
    spawn(task, &shell::argv(line))
}

fn spawn(task: &Task, argv: &[String]) -> Result<(Child, Level), Error> {
    let program = argv.first().map_or("", String::as_str);
    let mut command = Command::new(program);
    command.args(argv.get(1..).unwrap_or_default());
    prepare(task, &mut command);
    task.sandbox.spawn(command).map_err(|source| Error::Spawn { program: program.to_owned(), source })
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

/// One read. False at the end of the pipe.
fn copy(pipe: &mut Option<impl Read>, stream: Stream, buffer: &mut [u8], log: &mut Writer) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    match pipe.read(buffer) {
        Ok(0) => Ok(false),
        Ok(read) => log.take(stream, &buffer[..read]).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        // A pipe that cannot be read has nothing more to say.
        Err(_) => Ok(false),
    }
}

/// Which descriptors have something (or have been closed) after at most `timeout`.
fn wait_for<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut fds: Vec<PollFd<'_>> =
        descriptors.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    // Rounded up, so that the deadline has passed on return.
    let timeout = timeout.map(|t| {
        let t = t + Duration::from_millis(1);
        Timespec { tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX), tv_nsec: t.subsec_nanos().into() }
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(descriptors.map(|d| d.is_some() && events.next().unwrap_or(false)))
}

/// The start time of a process that exists: field 22 of `/proc/<pid>/stat`.
fn start_time(pid: i32) -> Option<u64> {
    stat(pid)?.start_time
}

struct Stat {
    group: Option<i32>,
    start_time: Option<u64>,
}

/// `pid (name) state ppid pgrp ...`: the name may hold blanks and parentheses.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok());
    Some(Stat { group: number(2).and_then(|g| i32::try_from(g).ok()), start_time: number(19) })
}

/// Ends the process group that a server which crashed left behind: of the leader if it still runs,
/// of its children otherwise. True when there was something to kill; false when the process is gone
/// or the number belongs to another one by now. Waits at most two seconds for the group to vanish.
pub fn kill_orphan(process: ProcessId) -> bool {
    let Some(group) = Pid::from_raw(process.pid) else { return false };
    let ours = match stat(process.pid) {
        Some(leader) => leader.start_time == Some(process.start_time),
        None => has_stage_members(process),
    };
    if !ours || kill_process_group(group, Signal::KILL).is_err() {
        return false;
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// True when the group lives on without its leader: members that started after it and carry the
/// variable of a stage.
fn has_stage_members(process: ProcessId) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).any(|pid| {
        let member = stat(pid);
        let in_group = member.is_some_and(|s| s.group == Some(process.pid) && s.start_time >= Some(process.start_time));
        in_group && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.windows(10).any(|w| w == b"DVC_STAGE="))
    })
}
