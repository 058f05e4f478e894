//! Which files processes open for reading and where they connect to.
//!
//! A seccomp filter makes the kernel report these calls to a thread of ours before it carries them out
//! (`seccomp_unotify(2)`); the thread notes them and lets them go on. It takes no privileges but
//! `no_new_privs`. This is an observation, not a barrier: a process may change the memory of its path
//! after we read it. `io_uring`, which could open files unseen, is not there for an observed process.

mod filter;
mod notify;
mod process;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::pipe::pipe;
use rustix::time::ClockId;

use crate::notify::{Call, Listener};

/// Files beyond this number are not noted.
const MOST_FILES: usize = 50_000;

/// The clock of files ticks at least a hundred times a second.
const LONGEST_TICK: Duration = Duration::from_millis(20);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Files that were opened for reading and are older than the observation, without those of the system.
    pub files: BTreeMap<PathBuf, Opened>,
    /// How many of the system were opened, whatever they were ([`is_of_the_system`]).
    pub of_the_system: usize,
    /// Peers of TCP and UDP, without name servers.
    pub peers: BTreeMap<SocketAddr, String>,
    /// More files than are noted were opened.
    pub incomplete: bool,
    /// Why nothing could be seen.
    pub failed: Option<String>,
}

/// How a file was opened first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The file itself, when the path is a symbolic link.
    pub target: Option<PathBuf>,
    /// The name of the program (`comm`, 15 bytes at most).
    pub program: String,
}

impl Observation {
    /// Adds what was seen later.
    pub fn extend(&mut self, later: Self) {
        for (path, opened) in later.files {
            self.files.entry(path).or_insert(opened);
        }
        for (peer, program) in later.peers {
            self.peers.entry(peer).or_insert(program);
        }
        self.of_the_system += later.of_the_system;
        self.incomplete |= later.incomplete;
        self.failed = self.failed.take().or(later.failed);
    }
}

/// The thread that notes what is reported.
#[derive(Debug)]
pub struct Observer {
    thread: JoinHandle<Observation>,
    /// Closed when no more is expected.
    until: OwnedFd,
}

/// Lets what the calling thread starts from now on be observed.
#[derive(Debug)]
pub struct Start {
    listener: Sender<io::Result<Listener>>,
}

/// An observer that waits for [`Start::start`]. It must not be called from an observed thread, or the
/// observer would wait for itself.
///
/// # Errors
///
/// Where the system has no thread or pipe to give.
pub fn observer() -> io::Result<(Observer, Start)> {
    let (sender, receiver) = mpsc::channel();
    let (wakes, until) = pipe()?;
    let begun = Begun::now();
    let thread = thread::Builder::new().name("observer".to_owned()).spawn(move || watch(&receiver, &wakes, begun))?;
    Ok((Observer { thread, until }, Start { listener: sender }))
}

impl Start {
    /// Observes this thread and all that it starts, for the rest of their lives: use a thread that ends.
    /// Where that is not possible (an old kernel, or something else has the notifications), the
    /// observation says so.
    pub fn start(self) {
        let listener = filter::program().and_then(|program| notify::listen(&program));
        // The observer waits for this one message.
        drop(self.listener.send(listener));
    }
}

impl Observer {
    /// What was seen, when the processes are gone.
    pub fn finish(self) -> Observation {
        drop(self.until);
        self.thread.join().unwrap_or_default()
    }
}

/// When an observation began. Files get their times from a clock that ticks some hundred times a second, so
/// what was made in the tick of the beginning may be older or not.
#[derive(Clone, Copy)]
struct Begun {
    /// By that clock.
    tick: SystemTime,
    exact: SystemTime,
}

impl Begun {
    fn now() -> Self {
        let by = |clock| {
            let time = rustix::time::clock_gettime(clock);
            SystemTime::UNIX_EPOCH + Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        Self { tick: by(ClockId::RealtimeCoarse), exact: by(ClockId::Realtime) }
    }
}

fn watch(receiver: &Receiver<io::Result<Listener>>, until: &OwnedFd, begun: Begun) -> Observation {
    let mut notes = Notes {
        begun,
        started: Instant::now(),
        seen: HashSet::new(),
        system_folders: HashSet::new(),
        made: HashSet::new(),
        observation: Observation::default(),
    };
    let listener = match receiver.recv() {
        Ok(Ok(listener)) => listener,
        Ok(Err(error)) => return Observation { failed: Some(error.to_string()), ..Observation::default() },
        // Nothing was started.
        Err(_) => return notes.observation,
    };
    while let Some(call) = listener.next(until) {
        notes.note(&listener, &call);
        listener.go_on(&call);
    }
    notes.observation
}

struct Notes {
    begun: Begun,
    started: Instant,
    /// Absolute paths that were looked at, so that each costs once.
    seen: HashSet<PathBuf>,
    /// Folders that are of the system, links followed. Most of what a process opens lies there, and it costs no
    /// second look.
    system_folders: HashSet<PathBuf>,
    /// What the processes made in the tick of the beginning.
    made: HashSet<PathBuf>,
    observation: Observation,
}

impl Notes {
    fn note(&mut self, listener: &Listener, call: &Call) {
        match *call {
            Call::Open { thread, folder, path, flags, .. } => {
                let reads = flags & libc::O_ACCMODE != libc::O_WRONLY;
                let may_make = flags & libc::O_CREAT != 0 && self.started.elapsed() < LONGEST_TICK;
                if !reads && !may_make {
                    return;
                }
                let Some(path) = process::path(thread, folder, path) else { return };
                if !listener.is_current(call) {
                    return;
                }
                if may_make && !path.exists() {
                    self.made.extend(place(&path));
                } else if reads && !self.seen.contains(&path) {
                    self.opened(thread, path);
                }
            }
            Call::Connect { thread, address, length, .. } => {
                let Some(peer) = process::peer(thread, address, length) else { return };
                if listener.is_current(call) && ![0, 53].contains(&peer.port()) {
                    self.observation.peers.entry(peer).or_insert_with(|| process::program(thread));
                }
            }
            Call::Other { .. } => {}
        }
    }

    fn opened(&mut self, thread: u32, path: PathBuf) {
        if self.observation.files.len() >= MOST_FILES {
            self.observation.incomplete = true;
            return;
        }
        if path.parent().is_some_and(|folder| self.system_folders.contains(folder)) {
            self.observation.of_the_system += 1;
            self.seen.insert(path);
            return;
        }
        let Some((place, target)) = resolved(&path) else { return };
        if is_of_the_system(&place) && !path.starts_with("/proc") {
            self.observation.of_the_system += 1;
            self.system_folders.extend(path.parent().map(Path::to_owned));
            self.seen.insert(path);
            return;
        }
        let Ok(metadata) = fs::metadata(&target) else { return };
        // What came into being while the processes ran is theirs.
        let older = metadata
            .created()
            .or_else(|_| metadata.modified())
            .is_ok_and(|at| at < self.begun.tick || at <= self.begun.exact && !self.made.contains(&place));
        if metadata.is_file() && older {
            let target = (target != place).then_some(target);
            let opened = Opened { target, program: process::program(thread) };
            self.observation.files.entry(place).or_insert(opened);
        }
        // The number of a descriptor is another file's next time.
        if !path.starts_with("/proc") {
            self.seen.insert(path);
        }
    }
}

/// Where a path is, with links of folders followed, and the file that it names in the end.
fn resolved(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let target = fs::canonicalize(path).ok()?;
    // A descriptor: the file has a place of its own.
    let place = if path.starts_with("/proc") { target.clone() } else { place(path)? };
    Some((place, target))
}

/// Where a path is, with links of folders followed; the file need not be there.
fn place(path: &Path) -> Option<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Some(fs::canonicalize(folder).ok()?.join(name)),
        _ => fs::canonicalize(path).ok(),
    }
}

/// The folders and files of the system and of installed packages: what a stage reads there is not
/// its data.
pub fn is_of_the_system(path: &Path) -> bool {
    const FOLDERS: [&str; 15] = [
        "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev", "/run",
        "/var", "/opt", "/nix",
    ];
    const PACKAGES: [&str; 3] = ["site-packages", "dist-packages", "node_modules"];
    FOLDERS.iter().any(|folder| path.starts_with(folder))
        || path.components().any(|part| PACKAGES.iter().any(|name| part.as_os_str() == *name))
}
