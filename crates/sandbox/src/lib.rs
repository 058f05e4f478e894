//! Where a stage may write, and what it may not read, enforced by Landlock.
//!
//! Reading is free but for the files of hidden folders: a server's secrets must not reach the code
//! it runs. Landlock only allows, so what is not hidden is listed when the process starts: beside a
//! hidden folder, files that are made later cannot be read either. A Landlock domain belongs to a thread and is inherited by what the
//! thread starts, so a process is confined by spawning it from a thread that confined itself: no
//! code runs between `fork` and `exec`.

pub mod strict;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use towpath_core::project::Limits;

/// The kernel's write accesses as of this ABI; later ones concern sockets, not files.
const WRITES: ABI = ABI::V5;

/// Devices that programs expect to be able to write. Shared memory is where Python's
/// multiprocessing keeps its semaphores.
const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/kfd",
    "/dev/fuse",
];
const DEVICE_FOLDERS: [&str; 3] = ["/dev/shm", "/dev/pts", "/dev/dri"];

/// The folders and files that a process and its children may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    writable: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    off: bool,
    strict: bool,
    limits: Limits,
    /// This program, which starts itself again for what a process can only do to itself.
    helper: Option<PathBuf>,
}

/// What the kernel made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(pub String);

impl Sandbox {
    /// Writes only beneath `writable`, and to the usual devices. Paths that do not exist are left
    /// out: make them first.
    pub fn new(writable: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { writable: writable.into_iter().collect(), ..Self::default() }
    }

    /// Files beneath `hidden` cannot be read, except beneath `readable` and what may be written.
    pub fn hiding(mut self, hidden: &[PathBuf], readable: &[PathBuf]) -> Self {
        self.hidden = hidden.to_vec();
        self.readable = readable.to_vec();
        self
    }

    /// No restriction: for code that is trusted with everything the user can do.
    pub fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// With namespaces of its own and without a network ([`strict`]). `helper` is a program whose `main` begins with
    /// [`strict::help`].
    pub fn strict(mut self, helper: PathBuf) -> Self {
        self.strict = true;
        self.helper = Some(helper);
        self
    }

    /// With limits of what each process takes, set by the helper.
    pub fn limited(mut self, limits: Limits, helper: PathBuf) -> Self {
        if !limits.is_none() {
            self.limits = limits;
            self.helper = Some(helper);
        }
        self
    }

    /// A command that is to be started by [`spawn`](Self::spawn).
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.helper {
            Some(helper) => strict::helped(self, helper, program.as_ref()),
            None => Command::new(program),
        }
    }

    pub fn is_off(&self) -> bool {
        self.off
    }

    /// Starts the process confined, without a way to gain privileges.
    pub fn spawn(&self, command: Command) -> io::Result<(Child, Level)> {
        self.spawn_after(command, || {})
    }

    /// The same; `prepare` runs first, in the thread that starts the process and then ends.
    pub fn spawn_after(
        &self,
        mut command: Command,
        prepare: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Child, Level)> {
        if self.off {
            return Ok((command.spawn()?, Level("off".to_owned())));
        }
        let sandbox = self.clone();
        let spawned = thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
            // The helper cannot mount anything once it is confined: it confines what it starts.
            let level = if sandbox.strict {
                Level("strict: user, mount, network, IPC and PID namespace, seccomp, Landlock".to_owned())
            } else {
                confine_thread(&sandbox)?
            };
            prepare();
            Ok((command.spawn()?, level))
        })?;
        spawned.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts processes ended early")))
    }
}

/// Restricts the calling thread for the rest of its life.
fn confine_thread(sandbox: &Sandbox) -> io::Result<Level> {
    let reads = if sandbox.hidden.is_empty() { BitFlags::empty() } else { BitFlags::from(AccessFs::ReadFile) };
    let in_folder = AccessFs::from_write(WRITES) & !(AccessFs::MakeChar | AccessFs::MakeBlock) | reads;
    let in_file = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev | reads;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(WRITES) | reads)
        .map_err(io::Error::other)?
        .scope(Scope::Signal)
        .map_err(io::Error::other)?
        .create()
        .map_err(io::Error::other)?;
    let mut allow = |path: &Path, access: BitFlags<AccessFs>| -> io::Result<()> {
        let Ok(descriptor) = PathFd::new(path) else { return Ok(()) };
        (&mut ruleset).add_rule(PathBeneath::new(descriptor, access)).map_err(io::Error::other).map(drop)
    };
    let writes = |path: &Path| if path.is_dir() { in_folder } else { in_file };
    for path in &sandbox.writable {
        allow(path, writes(path))?;
    }
    for path in DEVICES.iter().chain(&DEVICE_FOLDERS).map(Path::new) {
        allow(path, writes(path))?;
    }
    for path in graphics_devices() {
        allow(&path, writes(&path))?;
    }
    if !sandbox.hidden.is_empty() {
        let mut visible = sandbox.readable.clone();
        not_hidden(Path::new("/"), &sandbox.hidden, &mut visible);
        for path in &visible {
            allow(path, reads)?;
        }
    }
    let status = ruleset.restrict_self().map_err(io::Error::other)?;
    Ok(Level(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => "none: Landlock is switched off".to_owned(),
        (RulesetStatus::NotEnforced, _) => "none: the kernel has no Landlock".to_owned(),
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            format!("landlock abi {}", kernel_abi.unwrap_or(effective_abi as i32))
        }
        (_, _) => "landlock".to_owned(),
    }))
}

/// Everything beneath `folder` that holds no hidden folder, as few paths as possible.
fn not_hidden(folder: &Path, hidden: &[PathBuf], visible: &mut Vec<PathBuf>) {
    if hidden.iter().any(|h| h == folder) {
        return;
    }
    if !hidden.iter().any(|h| h.starts_with(folder)) {
        visible.push(folder.to_owned());
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        not_hidden(&entry.path(), hidden, visible);
    }
}

fn graphics_devices() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("nvidia")).map(|e| e.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sandbox: &Sandbox, script: &str) -> (bool, Level) {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        let (mut child, level) = sandbox.spawn(command).unwrap();
        (child.wait().unwrap().success(), level)
    }

    #[test]
    fn a_process_writes_only_beneath_its_folders() {
        let inside = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::new([inside.path().to_owned()]);
        let (written, level) = run(&sandbox, &format!("mkdir {0}/d && echo x > {0}/d/f", inside.path().display()));
        assert!(written);
        let (escaped, _) = run(&sandbox, &format!("echo x > {}/f", outside.path().display()));
        assert_eq!(escaped, !level.0.starts_with("landlock"), "{level:?}");
        let (devices, _) = run(&sandbox, "echo x > /dev/null");
        assert!(devices);
        std::fs::write(outside.path().join("f"), "the thread that is confined is not this one").unwrap();
    }

    #[test]
    fn a_confined_process_cannot_signal_the_one_that_started_it() {
        let (signalled, level) = run(&Sandbox::new([]), &format!("kill -0 {}", std::process::id()));
        let scoped = level.0.strip_prefix("landlock abi ").is_some_and(|abi| abi.parse::<u32>().unwrap() >= 6);
        assert_eq!(signalled, !scoped, "{level:?}");
    }

    #[test]
    fn a_hidden_folder_is_not_read_except_where_it_is_allowed() {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().canonicalize().unwrap();
        let secret = root.join("owner.token");
        std::fs::write(&secret, "secret").unwrap();
        let open = root.join("repositories");
        std::fs::create_dir(&open).unwrap();
        std::fs::write(open.join("HEAD"), "ref").unwrap();
        let checkout = root.join("tree");
        std::fs::create_dir(&checkout).unwrap();
        let sandbox = Sandbox::new([checkout.clone()]).hiding(std::slice::from_ref(&root), std::slice::from_ref(&open));
        let (read, level) = run(&sandbox, &format!("cat {}", secret.display()));
        assert_eq!(read, !level.0.starts_with("landlock"), "{level:?}");
        let script = format!(
            "cat {}/HEAD && cd {} && echo x > f && cat f && cat /etc/passwd",
            open.display(),
            checkout.display()
        );
        assert!(run(&sandbox, &script).0);
    }

    #[test]
    fn without_a_sandbox_everything_is_allowed() {
        let outside = tempfile::tempdir().unwrap();
        let (written, level) = run(&Sandbox::off(), &format!("echo x > {}/f", outside.path().display()));
        assert_eq!((written, level.0.as_str()), (true, "off"));
    }
}
