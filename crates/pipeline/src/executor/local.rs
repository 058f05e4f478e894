//! Processes on this machine. Each command leads a process group of its own; one loop waits for its
//! output, its end, the deadline and cancellation at once.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::processes::{self, Stat};
use super::usage::Meter;
use super::{CommandLine, Ending, Executor, Finished, ProcessId, Progress, Task, shell};
use crate::log::{Stream, Writer};
use crate::{Cancel, Error};
use towpath_observe::{Observation, Observer};
use towpath_sandbox::Level;

/// How long output is awaited from a process that left the group and kept the pipe.
const STRAGGLERS: Duration = Duration::from_secs(2);
const BUFFER: usize = 64 << 10;

#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Executor for Local {
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error> {
        let log_error = |source| Error::Log { path: task.log.clone(), source };
        let started = Instant::now();
        let mut log = Writer::create(&task.log, task.log_limit, &task.secrets).map_err(log_error)?;
        let mut ending = Ending::Exited(0);
        let mut sandbox = "off".to_owned();
        let mut observation = None;
        for command in &task.commands {
            if cancel.is_cancelled() {
                ending = Ending::Cancelled;
                break;
            }
            log.note(&format!("$ {}", command.shown())).map_err(log_error)?;
            let mut running = Running::start(task, command, started, cancel)?;
            sandbox = std::mem::take(&mut running.level);
            if task.resources.memory.is_some() {
                sandbox.push_str("; memory watched, no cgroup");
            }
            progress(Progress::Started(running.id));
            let observer = running.observer.take();
            ending = running.wait(&mut log, progress)?;
            if let Some(observer) = observer {
                observation.get_or_insert_with(Observation::default).extend(observer.finish());
            }
            log.end_lines().map_err(log_error)?;
            if ending != Ending::Exited(0) {
                break;
            }
        }
        let duration = started.elapsed();
        log.note(&describe(ending, duration)).map_err(log_error)?;
        let log_lines = log.finish().map_err(log_error)?;
        progress(Progress::Logged(log_lines));
        Ok(Finished { ending, duration, log_lines, sandbox, denied: String::new(), observation })
    }
}

fn describe(ending: Ending, duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match ending {
        Ending::Exited(code) => format!("exited with {code} after {seconds:.2} s"),
        Ending::Signalled(signal) => format!("killed by signal {signal} after {seconds:.2} s"),
        Ending::TimedOut => format!("timed out after {seconds:.2} s"),
        Ending::Silent => format!("ended after {seconds:.2} s: it printed nothing for too long"),
        Ending::OutOfMemory => format!("ended after {seconds:.2} s: it took more memory than it asked for"),
        Ending::QueuedTooLong | Ending::NotGranted => format!("not started, after {seconds:.2} s"),
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
    observer: Option<Observer>,
    started: Instant,
    deadline: Option<Instant>,
    /// When it must have printed something again.
    heartbeat: Option<Instant>,
    meter: Option<Meter>,
    too_large: bool,
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
        let Started { child, level, observer } = match line {
            CommandLine::Program(argv) => spawn(task, argv)?,
            CommandLine::Shell(line) => spawn_line(task, line)?,
        };
        let spawn_error = |source| Error::Spawn { program: "pidfd_open".to_owned(), source };
        let pid = Pid::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| spawn_error(e.into()))?;
        let number = pid.as_raw_pid();
        let id = ProcessId { pid: number, start_time: Stat::read(number).map_or(0, |stat| stat.start_time) };
        let memory = task.resources.memory;
        Ok(Self {
            task,
            cancel,
            child,
            pid,
            ended,
            id,
            level: level.0,
            observer,
            started: Instant::now(),
            deadline: task.timeout.map(|timeout| started + timeout),
            heartbeat: task.heartbeat.map(|longest| Instant::now() + longest),
            meter: (task.measured || memory.is_some()).then(|| Meter::new(number, memory)),
            too_large: false,
        })
    }

    fn wait(mut self, log: &mut Writer, progress: &mut dyn FnMut(Progress)) -> Result<Ending, Error> {
        let copied = self.copy_output_until_end(log, progress);
        // Whatever happened, nothing of the group stays behind. The leader is not reaped yet, so the
        // number cannot belong to another group.
        self.signal(Signal::KILL);
        let status = self.child.wait();
        processes::kill_strays(self.id, self.started.elapsed(), &self.task.variables);
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
            if let Some(meter) = self.meter.as_mut().filter(|meter| leader_ended.is_none() && now >= meter.next()) {
                let (sample, too_large) = meter.look(now);
                self.too_large = too_large;
                progress(Progress::Used(sample));
                continue;
            }
            if leader_ended.is_some_and(|at: Instant| now >= at + STRAGGLERS) {
                log.note("a process that left the process group still holds the output; it is not waited for")?;
                break;
            }
            let wake_at = match (leader_ended, stopping) {
                (Some(at), _) => Some(at + STRAGGLERS),
                (None, Stopping::No) => {
                    let look = self.meter.as_ref().map(Meter::next);
                    [self.deadline, self.heartbeat, look].into_iter().flatten().min()
                }
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
            if ready[0] || ready[1] {
                self.heartbeat = self.task.heartbeat.map(|longest| Instant::now() + longest);
            }
            if log.lines() != lines {
                progress(Progress::Logged(log.lines()));
            }
            if ready[2] {
                leader_ended = Some(Instant::now());
                self.signal(Signal::KILL);
                // One that left the group would keep the pipe open.
                processes::kill_strays(self.id, self.started.elapsed(), &self.task.variables);
            }
        }
        Ok(stopping)
    }

    fn stop_if_due(&self, stopping: Stopping, now: Instant) -> Stopping {
        match stopping {
            Stopping::No => {
                let passed = |limit: Option<Instant>| limit.is_some_and(|limit| now >= limit);
                let why = if self.cancel.is_cancelled() {
                    Ending::Cancelled
                } else if self.too_large {
                    // It has no time to give the memory back.
                    self.signal(Signal::KILL);
                    return Stopping::Killed { why: Ending::OutOfMemory };
                } else if passed(self.deadline) {
                    Ending::TimedOut
                } else if passed(self.heartbeat) {
                    Ending::Silent
                } else {
                    return Stopping::No;
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
/// A process, how it is confined, and who sees what it reads.
struct Started {
    child: Child,
    level: Level,
    observer: Option<Observer>,
}

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
        return Ok(Started { child, level, observer: None });
    }
    let (observer, observe) = towpath_observe::observer()?;
    let (child, level) = task.sandbox.spawn_after(command, || observe.start())?;
    Ok(Started { child, level, observer: Some(observer) })
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
