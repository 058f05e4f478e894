//! The commands of a task as processes of this machine. Each leads a process group of its own; one loop waits
//! for its output, its end, the deadline and cancellation at once.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::processes::{self, Stat};
use super::usage::{Members, Meter};
use super::{CommandLine, Ending, Finished, ProcessId, Progress, Task};
use crate::log::{Stream, Writer};
use crate::{Cancel, Error};
use towpath_observe::{Observation, Observer};

/// How long output is awaited from a process that left the group and kept the pipe.
const STRAGGLERS: Duration = Duration::from_secs(2);
const BUFFER: usize = 64 << 10;

/// How the commands of a task become processes of this machine.
pub(super) trait Start {
    fn start(&mut self, line: &CommandLine) -> Result<Started, Error>;

    /// Clears up after a command that has ended; how it ended in the eyes of whoever asked for it.
    fn clear(&mut self, ended: Ended) -> Ended {
        ended
    }
}

/// The leader of a process group of its own, its output in pipes.
pub(super) struct Started {
    pub(super) child: Child,
    /// How it is confined.
    pub(super) level: String,
    pub(super) observer: Option<Observer>,
    /// Whose use of the machine is measured.
    pub(super) members: Members,
    /// Beyond so much memory it is ended.
    pub(super) memory: Option<u64>,
}

/// How a command ended.
pub(super) struct Ended {
    pub(super) ending: Ending,
    /// Of [`Ending::NotGranted`].
    pub(super) denied: String,
    /// Lines of its log so far.
    pub(super) log_lines: u64,
}

/// Runs the commands of a task one after the other until one fails.
pub(super) fn run(
    task: &Task,
    start: &mut dyn Start,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Finished, Error> {
    let log_error = |source| Error::Log { path: task.log.clone(), source };
    let started = Instant::now();
    let mut log = Writer::create(&task.log, task.log_limit, &task.secrets).map_err(log_error)?;
    let mut ended = Ended { ending: Ending::Exited(0), denied: String::new(), log_lines: 0 };
    let mut sandbox = "off".to_owned();
    let mut observation = None;
    for command in &task.commands {
        if cancel.is_cancelled() {
            ended.ending = Ending::Cancelled;
            break;
        }
        log.note(&format!("$ {}", command.shown())).map_err(log_error)?;
        let mut running = Running::new(task, start.start(command)?, started, cancel)?;
        sandbox = std::mem::take(&mut running.level);
        progress(Progress::Started(running.id));
        let observer = running.observer.take();
        let ending = running.wait(&mut log, progress);
        if let Some(observer) = observer {
            observation.get_or_insert_with(Observation::default).extend(observer.finish());
        }
        let tidied = log.end_lines().map_err(log_error);
        let known = ending.as_ref().copied().unwrap_or(Ending::Cancelled);
        ended = start.clear(Ended { ending: known, denied: String::new(), log_lines: log.lines() });
        ending.and(tidied)?;
        if ended.ending != Ending::Exited(0) {
            break;
        }
    }
    let Ended { ending, denied, .. } = ended;
    let duration = started.elapsed();
    log.note(&describe(ending, duration)).map_err(log_error)?;
    let log_lines = log.finish().map_err(log_error)?;
    progress(Progress::Logged(log_lines));
    Ok(Finished { ending, duration, log_lines, sandbox, denied, observation })
}

pub(super) fn describe(ending: Ending, duration: Duration) -> String {
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
    fn new(task: &'a Task, command: Started, started: Instant, cancel: &'a Cancel) -> Result<Self, Error> {
        let Started { child, level, observer, members, memory } = command;
        let spawn_error = |source| Error::Spawn { program: "pidfd_open".to_owned(), source };
        let pid = Pid::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| spawn_error(e.into()))?;
        let number = pid.as_raw_pid();
        let id = ProcessId { pid: number, start_time: Stat::read(number).map_or(0, |stat| stat.start_time) };
        Ok(Self {
            task,
            cancel,
            child,
            pid,
            ended,
            id,
            level,
            observer,
            started: Instant::now(),
            deadline: task.timeout.map(|timeout| started + timeout),
            heartbeat: task.heartbeat.map(|longest| Instant::now() + longest),
            meter: (task.measured || memory.is_some()).then(|| Meter::new(members, memory)),
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
