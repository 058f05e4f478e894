//! Asking a running pipeline to end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A switch that is thrown once, by any thread. Whoever waits for a process waits for its
/// descriptor too, so that cancellation needs no polling.
#[derive(Clone, Debug)]
pub struct Cancel {
    thrown: Arc<AtomicBool>,
    descriptor: Arc<OwnedFd>,
}

impl Cancel {
    /// Fails only when the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { thrown: Arc::default(), descriptor: Arc::new(descriptor) })
    }

    pub fn cancel(&self) {
        if !self.thrown.swap(true, Ordering::SeqCst) {
            // Never read, so it stays readable for every waiter; a first write cannot overflow.
            let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.thrown.load(Ordering::SeqCst)
    }

    /// Readable once cancelled.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
