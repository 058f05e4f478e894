//! What `/proc` says of processes: who is in a group, and who left it and still belongs to a stage.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open, test_kill_process_group};

use super::ProcessId;

/// How long those who are killed may take to vanish.
const VANISH: Duration = Duration::from_secs(2);

/// Fields of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) group: i32,
    /// Of its own and of children that it has waited for, in user and system mode.
    pub(super) ticks: u64,
    pub(super) start_time: u64,
    pub(super) resident_bytes: u64,
    ended: bool,
}

impl Stat {
    /// `pid (name) state ppid pgrp ...`: the name may hold blanks and parentheses.
    pub(super) fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            group: i32::try_from(number(2)?).ok()?,
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            start_time: number(19)?,
            resident_bytes: number(21)? * rustix::param::page_size() as u64,
            ended: matches!(fields.first(), Some(&("Z" | "X"))),
        })
    }
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes of a group.
pub(super) fn of_group(group: i32) -> Vec<i32> {
    all().filter(|pid| Stat::read(*pid).is_some_and(|stat| stat.group == group)).collect()
}

/// The processes in the PID namespace of this one. None where that cannot be told, or is our own.
pub(super) fn of_namespace(leader: i32) -> Vec<i32> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    match namespace(&leader.to_string()) {
        Some(wanted) if namespace("self").is_some_and(|own| own != wanted) => {
            all().filter(|pid| namespace(&pid.to_string()).is_some_and(|of| of == wanted)).collect()
        }
        _ => Vec::new(),
    }
}

/// What a program says that has little to say and should say it soon.
pub(super) fn answer(mut command: Command, limit: Duration) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
    if poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&limit)) == Ok(0) {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
    }
    child.wait_with_output()
}

/// After so long, numbers of processes may have begun anew.
const NUMBERS_LAST: Duration = Duration::from_mins(1);

/// Ends what a stage started and what then left its group, as a daemon does: such a process carries
/// the stage's variables still. Its number is higher than the leader's, unless the leader ran for long
/// or numbers have begun anew meanwhile; so a short stage costs no look at every process. How many
/// there were.
pub(super) fn kill_strays(leader: ProcessId, ran: Duration, variables: &[(String, String)]) -> usize {
    let value = |wanted: &str| variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (Some(root), Some(stage)) = (value("DVC_ROOT"), value("DVC_STAGE")) else { return 0 };
    let marks = [format!("DVC_ROOT={root}"), format!("DVC_STAGE={stage}")];
    let any_number = ran > NUMBERS_LAST || last_number().is_none_or(|last| last < leader.pid);
    let belongs = |pid: i32| {
        (any_number || pid > leader.pid)
            && Stat::read(pid).is_some_and(|s| !s.ended && s.start_time >= leader.start_time)
            && has_variables(pid, &marks)
    };
    kill_all_that(belongs)
}

/// Ends whatever runs for stages whose root is `folder` or lies below it: items of a stage have roots of their
/// own beside the checkout. How many processes there were.
pub fn kill_below(folder: &Path) -> usize {
    let mark = format!("DVC_ROOT={}", folder.display());
    let is_below = |variable: &[u8]| {
        variable.strip_prefix(mark.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    kill_all_that(|pid| {
        Stat::read(pid).is_some_and(|stat| !stat.ended)
            && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.split(|byte| *byte == 0).any(is_below))
    })
}

fn kill_all_that(belongs: impl Fn(i32) -> bool) -> usize {
    let deadline = Instant::now() + VANISH;
    let mut killed = 0;
    // One that forks while it is killed leaves another behind.
    loop {
        let strays: Vec<Pid> = all().filter(|pid| belongs(*pid)).filter_map(Pid::from_raw).collect();
        if strays.is_empty() || Instant::now() >= deadline {
            return killed;
        }
        killed = killed.max(strays.len());
        for stray in strays {
            // It may have ended by itself.
            let _ = kill_process(stray, Signal::KILL);
        }
        std::thread::yield_now();
    }
}

/// The number that the newest process of the machine got.
fn last_number() -> Option<i32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().last()?.parse().ok()
}

fn has_variables(pid: i32, marks: &[String]) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    marks.iter().all(|mark| environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
}

/// Ends what a server that crashed left behind of a stage: its process group, and what left that and
/// carries its variables. True when there was something to kill; false when the process is gone or the
/// number belongs to another one by now. Waits at most two seconds for the group to vanish.
pub fn kill_orphan(process: ProcessId, variables: &[(String, String)]) -> bool {
    let strays = kill_strays(process, Duration::MAX, variables);
    let Some(group) = Pid::from_raw(process.pid) else { return strays > 0 };
    let ours = match Stat::read(process.pid) {
        Some(leader) => leader.start_time == process.start_time,
        None => has_stage_members(process),
    };
    if !ours || kill_process_group(group, Signal::KILL).is_err() {
        return strays > 0;
    }
    let deadline = Instant::now() + VANISH;
    while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// True when the group lives on without its leader: members that started after it and carry the
/// variable of a stage.
fn has_stage_members(process: ProcessId) -> bool {
    of_group(process.pid).into_iter().any(|pid| {
        Stat::read(pid).is_some_and(|s| s.start_time >= process.start_time)
            && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.windows(10).any(|w| w == b"DVC_STAGE="))
    })
}
