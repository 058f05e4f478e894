//! The filter: a program of the classic Berkeley Packet Filter over `struct seccomp_data`.

use std::io;

use libc::sock_filter;

/// `struct seccomp_data`: `nr` at 0, `arch` at 4, the low halves of the arguments from 16 on.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const fn argument(at: u32) -> u32 {
    16 + 8 * at
}

/// `linux/audit.h`: the machine's ELF number, 64 bits, little-endian.
#[cfg(target_arch = "x86_64")]
const OURS: Option<u32> = Some(0xC000_003E);
#[cfg(target_arch = "aarch64")]
const OURS: Option<u32> = Some(0xC000_00B7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OURS: Option<u32> = None;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A call whose flags say whether something is read: its number, and which argument they are.
const WITH_FLAGS: &[(i64, u32)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// Not `execve`: a process between `fork` and `exec` still has our descriptors, among them the one that
/// reports go to. Were we killed while it waits for an answer, it would keep that open, and wait for ever.
const ALWAYS: [i64; 2] = [libc::SYS_openat2, libc::SYS_connect];

fn step(code: u16, operand: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k: operand }
}

/// Skips so many steps when the condition holds, or when it does not.
fn jump(code: u16, operand: u32, when: u8, otherwise: u8) -> sock_filter {
    sock_filter { code, jt: when, jf: otherwise, k: operand }
}

/// Files that are there and opened for writing alone, folders and mere names of files are not reported:
/// the filter tells them by their flags, at no cost worth mentioning.
pub(crate) fn program() -> io::Result<Vec<sock_filter>> {
    let unsupported = || io::Error::new(io::ErrorKind::Unsupported, "not written for this processor");
    let ours = OURS.ok_or_else(unsupported)?;
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        jump(IF_EQUAL, ours, 1, 0),
        // Programs of another architecture (32 bits) are not observed.
        step(RETURN, ALLOW),
        step(LOAD, NUMBER),
    ];
    for call in ALWAYS {
        program.extend([jump(IF_EQUAL, call as u32, 0, 1), step(RETURN, NOTIFY)]);
    }
    program.extend([jump(IF_EQUAL, libc::SYS_io_uring_setup as u32, 0, 1), step(RETURN, NOT_THERE)]);
    for (call, flags) in WITH_FLAGS {
        program.extend([
            jump(IF_EQUAL, *call as u32, 0, 7),
            step(LOAD, argument(*flags)),
            jump(IF_ANY_BIT, (libc::O_DIRECTORY | libc::O_PATH) as u32, 3, 0),
            jump(IF_ANY_BIT, libc::O_CREAT as u32, 3, 0),
            step(AND, libc::O_ACCMODE as u32),
            jump(IF_EQUAL, libc::O_WRONLY as u32, 0, 1),
            step(RETURN, ALLOW),
            step(RETURN, NOTIFY),
        ]);
    }
    program.push(step(RETURN, ALLOW));
    Ok(program)
}
