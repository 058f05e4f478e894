//! The strict level: namespaces of its own for a process, no network, fewer system calls, no capabilities; and
//! limits of resources for any process.
//!
//! A process with several threads cannot enter a user namespace, and limits belong to a process. So the program
//! starts itself once more, as a helper that has one thread, prepares itself and starts the command:
//!
//! ```text
//! towpath confined SPEC PROGRAM ARGUMENT...        the helper: user, mount, network, IPC and PID namespace
//!   towpath confined-init SPEC PROGRAM ...         the first process of the PID namespace: reaps, and ends last
//!     PROGRAM ARGUMENT...                          no capabilities, Landlock, seccomp, limits
//! ```
//!
//! When the helper or the first process ends, the kernel ends everything in the namespace.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};
use rustix::process::{Resource, Rlimit, Signal, WaitOptions, getgid, getuid, setrlimit, wait};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, unshare_unsafe};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::{Deserialize, Serialize};
use towpath_core::project::Limits;

use crate::{Sandbox, confine_thread};

const HELPER: &str = "confined";
const INIT: &str = "confined-init";

/// What the helper answers when it cannot confine: as a shell for a command that cannot be run.
const CANNOT: u8 = 126;

/// Folders of a home with credentials.
const CREDENTIALS: [&str; 9] =
    [".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".config/gcloud", ".config/gh", ".local/share/keyrings"];

/// Where everybody may write: empty, and gone afterwards.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What the helper is told.
#[derive(Serialize, Deserialize)]
struct Spec {
    strict: bool,
    writable: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    limits: Limits,
}

/// The command that starts `command` by the helper. What it inherits is up to the caller.
pub(crate) fn helped(sandbox: &Sandbox, helper: &Path, program: &std::ffi::OsStr) -> Command {
    let spec = Spec {
        strict: sandbox.strict,
        writable: sandbox.writable.clone(),
        hidden: sandbox.hidden.clone(),
        readable: sandbox.readable.clone(),
        limits: sandbox.limits.clone(),
    };
    let mut command = Command::new(helper);
    command.arg(HELPER).arg(serde_json::to_string(&spec).unwrap_or_default()).arg(program);
    command
}

/// Acts as the helper when the arguments of this process say so; `None` when they do not. To be called before
/// the process has a second thread.
pub fn help() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next().filter(|role| role == HELPER || role == INIT)?;
    let spec = arguments.next().and_then(|spec| serde_json::from_str::<Spec>(spec.to_str()?).ok())?;
    let command: Vec<OsString> = arguments.collect();
    if command.is_empty() {
        return None;
    }
    let done = if role == INIT { init(&spec, &command) } else { outer(&spec, &command) };
    Some(done.unwrap_or_else(|problem| {
        let _ = writeln!(io::stderr(), "towpath: the sandbox cannot be made: {problem}");
        ExitCode::from(CANNOT)
    }))
}

/// Adds to an error what was tried.
fn of(what: &'static str) -> impl Fn(rustix::io::Errno) -> io::Error {
    move |error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}

fn outer(spec: &Spec, command: &[OsString]) -> io::Result<ExitCode> {
    if !spec.strict {
        limit(&spec.limits)?;
        return Err(execute(command).exec());
    }
    // The command is asked to end, not the one that waits for it.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let apart = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    #[expect(unsafe_code, reason = "only sharing of descriptors can be unsafe, and that is kept")]
    unsafe { unshare_unsafe(apart) }.map_err(of("no user namespaces here"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(of("mounts"))?;
    let needed: Vec<PathBuf> =
        spec.writable.iter().chain(&spec.readable).cloned().chain(std::env::current_dir()).collect();
    let holds_what_is_needed = |folder: &Path| needed.iter().any(|path| path.starts_with(folder));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let credentials = home.iter().flat_map(|home| CREDENTIALS.iter().map(move |folder| home.join(folder)));
    let emptied = TEMPORARY.iter().map(PathBuf::from).chain(credentials);
    for folder in emptied.filter(|folder| folder.is_dir() && !holds_what_is_needed(folder)) {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", &folder, "tmpfs", flags, c"mode=1777").map_err(of("an empty folder"))?;
    }
    let spec = serde_json::to_string(spec)?;
    let mut child = Command::new("/proc/self/exe").arg(INIT).arg(spec).args(command).spawn()?;
    let status = child.wait()?;
    Ok(ExitCode::from(
        status.code().or_else(|| Some(128 + status.signal()?)).and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

fn init(spec: &Spec, command: &[OsString]) -> io::Result<ExitCode> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(of("a /proc of its own"))?;
    loopback_up().map_err(of("the loopback device"))?;
    for capability in CapabilitySet::all().iter() {
        // Those that this kernel does not know are not there to be removed.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let sandbox = Sandbox {
        writable: spec.writable.clone(),
        hidden: spec.hidden.clone(),
        readable: spec.readable.clone(),
        ..Sandbox::default()
    };
    confine_thread(&sandbox)?;
    rustix::thread::set_no_new_privs(true)?;
    limit(&spec.limits)?;
    for program in filters().map_err(io::Error::other)? {
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    let child = execute(command).spawn()?.id();
    loop {
        // Also of processes whose parents ended: they are ours now.
        let Some((pid, status)) = wait(WaitOptions::empty())? else { continue };
        if u32::try_from(pid.as_raw_pid()) == Ok(child) {
            let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or(1);
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
    }
}

fn limit(limits: &Limits) -> io::Result<()> {
    let of = [
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_size),
        (Resource::Cpu, limits.cpu_seconds),
    ];
    for (resource, limit) in of {
        let Some(limit) = limit else { continue };
        // The soft limit of time is a signal that can be handled; the hard one comes a second later.
        let hard = if resource == Resource::Cpu { limit.saturating_add(1) } else { limit };
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(hard) })?;
    }
    Ok(())
}

fn execute(command: &[OsString]) -> Command {
    let mut execute = Command::new(&command[0]);
    execute.args(&command[1..]);
    execute
}

/// Switches the loopback device of the own network namespace on: programs talk to their own processes by it.
/// One `RTM_NEWLINK` (`rtnetlink(7)`) for device 1.
fn loopback_up() -> rustix::io::Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST: u16 = 1;
    const UP: u32 = 1;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    // Family, padding, type of the device; its number; flags and those of them to change.
    message.extend([0; 4]);
    message.extend(1_i32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    send(socket, &message, SendFlags::empty()).map(drop)
}

/// System calls that a stage has no business with: other processes' memory, mounts and namespaces, keys, kernel
/// modules, and such with a history of holes.
const REFUSED: [libc::c_long; 29] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
];

fn filters() -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let user_namespace = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    let with_user_namespace =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(user_namespace), user_namespace)?;
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![with_user_namespace])?]);
    // Its flags are in memory, where a filter does not see them; libraries then take `clone`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let filter = |calls, errno: i32| {
        let answer = SeccompAction::Errno(errno.unsigned_abs());
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, answer, std::env::consts::ARCH.try_into()?)?;
        BpfProgram::try_from(filter)
    };
    Ok(vec![filter(refused, libc::EPERM)?, filter(unknown, libc::ENOSYS)?])
}
