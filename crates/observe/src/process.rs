//! What a thread that waits has in its memory, and through `/proc` what it has open.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::notify;

const PAGE: u64 = 4096;
const LONGEST_PATH: usize = libc::PATH_MAX as usize;

/// The absolute path that a call of a thread names, as it is written.
pub(crate) fn path(thread: u32, folder: i32, address: u64) -> Option<PathBuf> {
    let written = PathBuf::from(OsString::from_vec(text(thread, address)?));
    if written.as_os_str().is_empty() {
        // `AT_EMPTY_PATH`: the descriptor itself.
        return fs::read_link(format!("/proc/{thread}/fd/{folder}")).ok();
    }
    if written.is_absolute() {
        return Some(as_seen_from_here(thread, &written));
    }
    let folder = match folder {
        libc::AT_FDCWD => format!("/proc/{thread}/cwd"),
        descriptor => format!("/proc/{thread}/fd/{descriptor}"),
    };
    Some(fs::read_link(folder).ok()?.join(written))
}

/// `/proc/self` and `/dev/stdin` are others' for us.
fn as_seen_from_here(thread: u32, path: &Path) -> PathBuf {
    let own = [("/proc/self", ""), ("/proc/thread-self", ""), ("/dev/fd", "fd"), ("/dev/stdin", "fd/0")];
    for (prefix, inside) in own {
        if let Ok(rest) = path.strip_prefix(prefix) {
            let place = Path::new("/proc").join(thread.to_string()).join(inside);
            return if rest.as_os_str().is_empty() { place } else { place.join(rest) };
        }
    }
    path.to_owned()
}

/// Bytes up to a zero.
fn text(thread: u32, address: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0; PAGE as usize];
    while text.len() <= LONGEST_PATH {
        let from = address.checked_add(text.len() as u64)?;
        // Not beyond the page: the next one may not be there.
        let room = (PAGE - from % PAGE) as usize;
        let read = notify::read_memory(thread, from, &mut buffer[..room]).ok().filter(|read| *read > 0)?;
        match buffer[..read].iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(&buffer[..end]);
                return Some(text);
            }
            None => text.extend_from_slice(&buffer[..read]),
        }
    }
    None
}

/// The Internet address in a `sockaddr`.
pub(crate) fn peer(thread: u32, address: u64, length: u64) -> Option<SocketAddr> {
    let mut bytes = [0; 28];
    let length = (length as usize).min(bytes.len());
    let read = notify::read_memory(thread, address, &mut bytes[..length]).ok()?;
    let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match family {
        libc::AF_INET if read >= 8 => Some((Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]), port).into()),
        libc::AF_INET6 if read >= 24 => {
            let octets: [u8; 16] = bytes[8..24].try_into().ok()?;
            let address = Ipv6Addr::from(octets);
            Some(match address.to_ipv4_mapped() {
                Some(address) => (address, port).into(),
                None => (address, port).into(),
            })
        }
        _ => None,
    }
}

/// The name of the program.
pub(crate) fn program(thread: u32) -> String {
    fs::read_to_string(format!("/proc/{thread}/comm")).map(|name| name.trim_end().to_owned()).unwrap_or_default()
}
