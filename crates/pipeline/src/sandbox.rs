//! Where a stage may write, enforced by Landlock.
//!
//! Reading is not restricted. A Landlock domain belongs to a thread and is inherited by what the
//! thread starts, so a process is confined by spawning it from a thread that confined itself: no
//! code runs between `fork` and `exec`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

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
    off: bool,
}

/// What the kernel made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(pub String);

impl Sandbox {
    /// Writes only beneath `writable`, and to the usual devices. Paths that do not exist are left
    /// out: make them first.
    pub fn new(writable: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { writable: writable.into_iter().collect(), off: false }
    }

    /// No restriction: for code that is trusted with everything the user can do.
    pub fn off() -> Self {
        Self { writable: Vec::new(), off: true }
    }

    /// Starts the process confined, without a way to gain privileges.
    pub fn spawn(&self, mut command: Command) -> io::Result<(Child, Level)> {
        if self.off {
            return Ok((command.spawn()?, Level("off".to_owned())));
        }
        let writable = self.writable.clone();
        let spawned = thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
            let level = confine_thread(&writable)?;
            Ok((command.spawn()?, level))
        })?;
        spawned.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts processes ended early")))
    }
}

/// Restricts the calling thread for the rest of its life.
fn confine_thread(writable: &[PathBuf]) -> io::Result<Level> {
    let in_folder = AccessFs::from_write(WRITES) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let in_file = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(WRITES))
        .map_err(io::Error::other)?
        .scope(Scope::Signal)
        .map_err(io::Error::other)?
        .create()
        .map_err(io::Error::other)?;
    let mut allow = |path: &Path| -> io::Result<()> {
        let Ok(descriptor) = PathFd::new(path) else { return Ok(()) };
        let access: BitFlags<AccessFs> = if path.is_dir() { in_folder } else { in_file };
        (&mut ruleset).add_rule(PathBeneath::new(descriptor, access)).map_err(io::Error::other).map(drop)
    };
    for path in writable {
        allow(path)?;
    }
    for path in DEVICES.iter().chain(&DEVICE_FOLDERS) {
        allow(Path::new(path))?;
    }
    for path in graphics_devices() {
        allow(&path)?;
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
    fn without_a_sandbox_everything_is_allowed() {
        let outside = tempfile::tempdir().unwrap();
        let (written, level) = run(&Sandbox::off(), &format!("echo x > {}/f", outside.path().display()));
        assert_eq!((written, level.0.as_str()), (true, "off"));
    }
}
