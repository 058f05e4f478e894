//! The kernel's side: `seccomp(2)`, `seccomp_unotify(2)`. The only `unsafe` of the crate.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// `linux/seccomp.h`, since 6.6: whoever is woken runs on the same processor, which makes a report three
/// times cheaper.
const SYNC_WAKE_UP: u64 = 1;

/// Where the kernel reports calls to.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// A call that waits for us. `id` is the kernel's number of the report, addresses are in the memory of
/// the thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// `flags` are not known of `openat2`, which has them in memory: 0, as if it only read.
    Open {
        id: u64,
        thread: u32,
        folder: i32,
        path: u64,
        flags: i32,
    },
    Connect {
        id: u64,
        thread: u32,
        address: u64,
        length: u64,
    },
    Other {
        id: u64,
    },
}

impl Call {
    fn id(&self) -> u64 {
        match *self {
            Self::Open { id, .. } | Self::Connect { id, .. } | Self::Other { id } => id,
        }
    }

    fn of(report: &seccomp_notif) -> Self {
        let (id, thread, args) = (report.id, report.pid, report.data.args);
        let open = |folder: i32, path: u64, flags: i32| Self::Open { id, thread, folder, path, flags };
        match i64::from(report.data.nr) {
            libc::SYS_openat => open(args[0] as i32, args[1], args[2] as i32),
            libc::SYS_openat2 => open(args[0] as i32, args[1], 0),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => open(libc::AT_FDCWD, args[0], args[1] as i32),
            libc::SYS_connect => Self::Connect { id, thread, address: args[1], length: args[2] },
            _ => Self::Other { id },
        }
    }
}

/// Puts the filter on the calling thread.
pub(crate) fn listen(program: &[sock_filter]) -> io::Result<Listener> {
    rustix::thread::set_no_new_privs(true)?;
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    #[expect(unsafe_code, reason = "the program is valid for the call, which only reads it and gives a new descriptor")]
    let descriptor = unsafe {
        let got = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        );
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(got as i32)
    };
    #[expect(unsafe_code, reason = "takes a number, touches no memory; older kernels refuse it")]
    unsafe {
        libc::ioctl(descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
    }
    Ok(Listener(descriptor))
}

impl Listener {
    /// The next report. Nothing when all observed processes are gone, or `until` was closed and nothing
    /// waits.
    pub(crate) fn next(&self, until: &OwnedFd) -> Option<Call> {
        loop {
            let mut ready =
                [PollFd::new(&self.0, PollFlags::IN), PollFd::from_borrowed_fd(until.as_fd(), PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            }
            if !ready[0].revents().contains(PollFlags::IN) {
                return None;
            }
            let mut report = seccomp_notif {
                id: 0,
                pid: 0,
                flags: 0,
                data: libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
            };
            #[expect(unsafe_code, reason = "the kernel fills a report of its own type, zeroed as it demands")]
            let received = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut report) };
            if received == 0 {
                return Some(Call::of(&report));
            }
            // The process was killed while it waited: there is nothing to answer.
            let error = io::Error::last_os_error().raw_os_error();
            if error != Some(libc::ENOENT) && error != Some(libc::EINTR) {
                return None;
            }
        }
    }

    /// False when the thread has gone and its number may belong to another.
    pub(crate) fn is_current(&self, call: &Call) -> bool {
        let id = call.id();
        #[expect(unsafe_code, reason = "the kernel reads eight bytes")]
        let valid = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
        valid == 0
    }

    /// Lets the kernel carry out the call.
    pub(crate) fn go_on(&self, call: &Call) {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let mut answer = seccomp_notif_resp { id: call.id(), val: 0, error: 0, flags };
        // A thread that was killed meanwhile takes no answer.
        #[expect(unsafe_code, reason = "the kernel reads an answer of its own type")]
        unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
        }
    }
}

/// Reads the memory of a thread that waits for us; how many bytes there were.
pub(crate) fn read_memory(thread: u32, from: u64, into: &mut [u8]) -> io::Result<usize> {
    let here = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let there = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: into.len() };
    #[expect(unsafe_code, reason = "the kernel writes at most the length of the buffer; the other address is not ours")]
    let read = unsafe { libc::process_vm_readv(thread as i32, &raw const here, 1, &raw const there, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
