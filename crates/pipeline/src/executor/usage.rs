//! What the processes of a stage take of the machine: read from `/proc`, for any language.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::processes;

/// Ticks of `/proc/<pid>/stat` in a second: Linux shows 100 to every program.
const TICKS: f64 = 100.0;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Between two looks at first; each further one is 10 % later, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(15);
/// While memory is watched it is looked at this often at least.
const WATCHED: Duration = Duration::from_millis(250);

/// One look at the processes of a stage, named as MLflow names system metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Since the command started.
    pub after: Duration,
    pub metrics: Vec<(&'static str, f64)>,
}

/// Memory of the machine in bytes; 0 when it cannot be read.
pub(super) fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|t| t.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The processes that are looked at.
#[derive(Debug)]
pub(super) enum Members {
    /// Of a process group.
    Group(i32),
    /// Of the PID namespace of a process whose number this file has, once it is there.
    Namespace(PathBuf),
}

impl Members {
    fn pids(&self) -> Vec<i32> {
        match self {
            Self::Group(group) => processes::of_group(*group),
            Self::Namespace(file) => {
                let leader = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
                leader.map(processes::of_namespace).unwrap_or_default()
            }
        }
    }
}

/// Looks at some processes now and then.
#[derive(Debug)]
pub(super) struct Meter {
    members: Members,
    started: Instant,
    next: Instant,
    pause: Duration,
    memory_limit: Option<u64>,
    memory_of_machine: u64,
    cores: f64,
    last: Option<(Instant, Totals)>,
    /// Of processes that have ended: what they had read and written at the last look.
    io: BTreeMap<i32, (u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    ticks: u64,
    resident: u64,
    read: u64,
    written: u64,
}

impl Meter {
    pub(super) fn new(members: Members, memory_limit: Option<u64>) -> Self {
        let now = Instant::now();
        let pause = if memory_limit.is_some() { WATCHED } else { SHORTEST };
        Self {
            members,
            started: now,
            next: now + pause,
            pause,
            memory_limit,
            memory_of_machine: machine_memory(),
            cores: std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
            last: None,
            io: BTreeMap::new(),
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Takes a look; true when they have more memory than it may.
    pub(super) fn look(&mut self, now: Instant) -> (Sample, bool) {
        let totals = self.totals();
        let seconds = |from: Instant| now.saturating_duration_since(from).as_secs_f64().max(0.001);
        let (then, before) = self.last.unwrap_or((self.started, Totals::default()));
        let cpu = totals.ticks.saturating_sub(before.ticks) as f64 / TICKS / seconds(then) / self.cores * 100.0;
        let memory = totals.resident as f64;
        let metrics = vec![
            ("system/cpu_utilization_percentage", cpu.min(100.0)),
            ("system/system_memory_usage_megabytes", memory / 1e6),
            ("system/system_memory_usage_percentage", memory / (self.memory_of_machine.max(1) as f64) * 100.0),
            ("system/disk_read_megabytes", totals.read as f64 / MEBIBYTE),
            ("system/disk_write_megabytes", totals.written as f64 / MEBIBYTE),
        ];
        self.last = Some((now, totals));
        self.pause = if self.memory_limit.is_some() { WATCHED } else { (self.pause * 11 / 10).min(LONGEST) };
        self.next = now + self.pause;
        let beyond = self.memory_limit.is_some_and(|limit| totals.resident > limit);
        (Sample { after: now.saturating_duration_since(self.started), metrics }, beyond)
    }

    fn totals(&mut self) -> Totals {
        let mut totals = Totals::default();
        for pid in self.members.pids() {
            let Some(stat) = processes::Stat::read(pid) else { continue };
            totals.ticks += stat.ticks;
            totals.resident += stat.resident_bytes;
            if let Some(io) = io_of(pid) {
                self.io.insert(pid, io);
            }
        }
        for (read, written) in self.io.values() {
            totals.read += read;
            totals.written += written;
        }
        totals
    }
}

/// Bytes that a process had read from and written to storage.
fn io_of(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some((field("read_bytes:")?, field("write_bytes:")?))
}
