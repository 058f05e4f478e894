//! Asking a running pipeline to end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

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

    /// Waits for so long, or until cancelled: then true.
    pub fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.is_cancelled() || left.is_zero() {
                return self.is_cancelled();
            }
            // Longer than a Timespec holds is longer than anybody waits: then it is looked at again.
            let limit = Timespec { tv_sec: left.as_secs().min(86_400) as i64, tv_nsec: left.subsec_nanos().into() };
            let mut watched = [PollFd::new(&self.descriptor, PollFlags::IN)];
            // Interrupted by a signal: the time that is left is waited for again.
            let _ = poll(&mut watched, Some(&limit));
        }
    }

    /// Readable once cancelled.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
