//! Rows that wait for the thread that writes. Requests put them here, encoded, and never wait.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::segment::{self, Later};
use crate::revision::lock;

/// Rows of this long share one write.
const GATHER: Duration = Duration::from_millis(100);
/// This much is written without waiting for more.
const WRITE_BYTES: usize = 1024 * 1024;
/// Rows that do not fit are lost: while the disk refuses, or is slower than the predictions come.
const MOST_BYTES: usize = 8 * WRITE_BYTES;
/// The writer wakes without rows too, to see what is too old.
pub(super) const LOOK_EVERY: Duration = Duration::from_mins(1);
const MOST_LATER: usize = 20_000;

#[derive(Default)]
pub(super) struct Waiting {
    rows: Mutex<Rows>,
    /// Told when the first row comes, when there is enough for a write, and when somebody asks.
    /// Between these the writer sleeps, so that a request does not pay for waking it.
    changed: Condvar,
}

#[derive(Default)]
struct Rows {
    predictions: Vec<u8>,
    count: u64,
    later: Vec<Later>,
    /// Wait for everything before them to be on disk.
    flushes: Vec<oneshot::Sender<()>>,
    closing: bool,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.predictions.is_empty() && self.later.is_empty() && !self.asked()
    }

    fn asked(&self) -> bool {
        self.closing || !self.flushes.is_empty()
    }
}

/// What the writer took. It stays until it is on disk.
#[derive(Default)]
pub(super) struct Batch {
    /// Encoded rows.
    pub(super) predictions: Vec<u8>,
    /// How many.
    pub(super) count: u64,
    /// Labels and copies.
    pub(super) later: Vec<Later>,
    pub(super) flushes: Vec<oneshot::Sender<()>>,
    /// Nothing comes after it.
    pub(super) last: bool,
    /// Nothing older is left waiting: `flushes` may be answered when this is written.
    pub(super) whole: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.predictions.is_empty() && self.later.is_empty()
    }
}

impl Waiting {
    /// False when there is no room.
    pub(super) fn add_prediction(&self, row: &segment::Encoded) -> bool {
        let mut rows = lock(&self.rows);
        let (idle, before) = (rows.is_empty(), rows.predictions.len());
        if before >= MOST_BYTES {
            return false;
        }
        row.append_to(&mut rows.predictions, "prediction");
        rows.count += 1;
        let enough = before < WRITE_BYTES && rows.predictions.len() >= WRITE_BYTES;
        drop(rows);
        if idle || enough {
            self.changed.notify_one();
        }
        true
    }

    /// False when there is no room.
    pub(super) fn add_later(&self, row: Later) -> bool {
        let mut rows = lock(&self.rows);
        let idle = rows.is_empty();
        if rows.later.len() >= MOST_LATER {
            return false;
        }
        rows.later.push(row);
        drop(rows);
        if idle {
            self.changed.notify_one();
        }
        true
    }

    /// Completes when everything that waits now is on disk; with an error when the disk refuses.
    pub(super) fn flush(&self) -> oneshot::Receiver<()> {
        let (sender, flushed) = oneshot::channel();
        lock(&self.rows).flushes.push(sender);
        self.changed.notify_one();
        flushed
    }

    pub(super) fn close(&self) {
        lock(&self.rows).closing = true;
        self.changed.notify_one();
    }

    pub(super) fn closing(&self) -> bool {
        lock(&self.rows).closing
    }

    /// Waits for rows and gathers those of a moment. What `batch` still holds is not added to.
    pub(super) fn take(&self, batch: &mut Batch) {
        let held = !batch.is_empty();
        let idle = |rows: &mut Rows| !held && rows.is_empty();
        let woken = self.changed.wait_timeout_while(lock(&self.rows), LOOK_EVERY, idle);
        let (rows, slept) = woken.unwrap_or_else(PoisonError::into_inner);
        if slept.timed_out() && rows.is_empty() && !held {
            return;
        }
        let gathering = |rows: &mut Rows| !rows.asked() && (held || rows.predictions.len() < WRITE_BYTES);
        let gathered = self.changed.wait_timeout_while(rows, GATHER, gathering);
        let (mut rows, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        batch.flushes.append(&mut rows.flushes);
        batch.whole = !held || rows.is_empty();
        batch.last = rows.closing && batch.whole;
        if !held {
            std::mem::swap(&mut batch.predictions, &mut rows.predictions);
            std::mem::swap(&mut batch.later, &mut rows.later);
            batch.count = std::mem::take(&mut rows.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> segment::Encoded {
        segment::Encoded::new(&json!({"id": "x".repeat(1000)})).unwrap()
    }

    #[test]
    fn a_batch_has_what_waited_and_a_held_one_stays_as_it_is() {
        let waiting = Waiting::default();
        assert!(waiting.add_prediction(&row()) && waiting.add_prediction(&row()));
        let _first = waiting.flush();
        let mut batch = Batch::default();
        waiting.take(&mut batch);
        assert_eq!((batch.count, batch.flushes.len(), batch.whole, batch.last), (2, 1, true, false));

        assert!(waiting.add_prediction(&row()));
        waiting.close();
        waiting.take(&mut batch);
        assert_eq!((batch.count, batch.whole, batch.last), (2, false, false));
        batch.predictions.clear();
        waiting.take(&mut batch);
        assert_eq!((batch.count, batch.whole, batch.last), (1, true, true));
    }

    #[test]
    fn rows_beyond_the_room_are_refused() {
        let (waiting, row) = (Waiting::default(), row());
        let taken = (0..2 * MOST_BYTES / 1000).take_while(|_| waiting.add_prediction(&row)).count();
        assert!((MOST_BYTES / 1100..=MOST_BYTES / 1000).contains(&taken), "{taken}");
    }
}
