//! How many requests are made at a time: as many as make the transfer faster.
//!
//! A remote's best number is not known beforehand: a disk is done with few, an object store far away
//! wants many, a busy server wants fewer again. So it begins with few, doubles as long as doubling
//! pays, then goes up by one at a time, and halves when the remote answers that it is overloaded or
//! does not answer (additive increase, multiplicative decrease, as TCP does).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::retry;
use crate::Error;
use crate::progress::{Event, Progress, Work};

/// Requests at the start.
const FIRST: usize = 4;

/// What a request costs beside its bytes, as bytes: so that small files count, too.
const REQUEST_BYTES: u64 = 64 * 1024;

/// A measurement is not shorter than this.
const WINDOW: Duration = Duration::from_millis(25);

/// Doing one thing for many items at once.
pub(crate) struct Lanes<'p> {
    /// At most at a time.
    pub(crate) most: usize,
    pub(crate) work: Work,
    pub(crate) progress: &'p dyn Progress,
}

impl Lanes<'_> {
    /// Calls `request` once for each item, and again while its error is transient. Answers are in
    /// the order of the items; each request returns its answer and the bytes it moved.
    ///
    /// # Errors
    /// The first error that is not transient, or that was so for the last time; no request begins
    /// after it.
    pub(crate) fn each<T: Sync, R: Send>(
        &self,
        items: &[T],
        request: impl Fn(&T) -> Result<(R, u64), Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        self.progress.event(Event::Started { work: self.work, items: items.len() as u64 });
        let gate = Gate::new(self.most.max(1));
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let lane = || {
            let mut done = Vec::new();
            while gate.enter() {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= items.len() {
                    gate.leave(|_| ());
                    break;
                }
                match self.attempt(&gate, || request(&items[item])) {
                    Ok((answer, bytes)) => {
                        self.progress.event(Event::Done { work: self.work, bytes });
                        done.push((item, answer));
                    }
                    Err(error) => {
                        guard(&failure).get_or_insert(error);
                        gate.close();
                    }
                }
            }
            done
        };
        let mut answers = thread::scope(|scope| {
            let lanes: Vec<_> = (0..self.most.clamp(1, items.len().max(1))).map(|_| scope.spawn(lane)).collect();
            let mut answers = Vec::with_capacity(items.len());
            for lane in lanes {
                match lane.join() {
                    Ok(done) => answers.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            answers
        });
        self.progress.event(Event::Finished { work: self.work });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        answers.sort_unstable_by_key(|(item, _)| *item);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// One item, its retries included. While it waits for a retry, another one may run.
    fn attempt<R>(&self, gate: &Gate, request: impl Fn() -> Result<(R, u64), Error>) -> Result<(R, u64), Error> {
        let mut attempt = 1;
        loop {
            let began = Instant::now();
            let answer = request();
            let error = match &answer {
                Ok((_, bytes)) => {
                    gate.leave(|pace| pace.done(*bytes, Instant::now()));
                    return answer;
                }
                Err(error) => error,
            };
            let pause = if error.is_transient() { retry::pause(error, attempt) } else { None };
            gate.leave(|pace| {
                if error.is_transient() {
                    pace.failed(began, Instant::now());
                }
            });
            let Some(pause) = pause else { return answer };
            attempt += 1;
            self.progress.event(Event::Retrying { work: self.work, attempt });
            thread::sleep(pause);
            if !gate.enter() {
                return answer;
            }
        }
    }
}

/// Lets as many requests in as the pace allows.
struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

struct Inside {
    active: usize,
    closed: bool,
    pace: Pace,
}

impl Gate {
    fn new(most: usize) -> Self {
        let pace = Pace::new(most, Instant::now());
        Self { inside: Mutex::new(Inside { active: 0, closed: false, pace }), changed: Condvar::new() }
    }

    /// Waits for room; false when the gate was closed.
    fn enter(&self) -> bool {
        let mut inside = guard(&self.inside);
        while !inside.closed && inside.active >= inside.pace.limit {
            inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        inside.active += usize::from(!inside.closed);
        !inside.closed
    }

    fn leave(&self, tell: impl FnOnce(&mut Pace)) {
        let mut inside = guard(&self.inside);
        inside.active -= 1;
        tell(&mut inside.pace);
        drop(inside);
        self.changed.notify_all();
    }

    /// Nobody enters any more.
    fn close(&self) {
        guard(&self.inside).closed = true;
        self.changed.notify_all();
    }
}

/// A lane that panicked ends the transfer anyway, so its lock is no obstacle.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The limit, from what was measured.
struct Pace {
    limit: usize,
    most: usize,
    /// Nothing has shown yet that more is not better.
    doubling: bool,
    /// Cost moved per second in the window before; 0 before there is one.
    last_rate: f64,
    window: Instant,
    done: usize,
    cost: u64,
    /// Requests that began before this do not halve the limit again.
    halved: Option<Instant>,
}

impl Pace {
    fn new(most: usize, now: Instant) -> Self {
        let limit = FIRST.min(most);
        Self { limit, most, doubling: true, last_rate: 0.0, window: now, done: 0, cost: 0, halved: None }
    }

    /// A window ends when each lane has done two requests, so that all of them show in it.
    fn done(&mut self, bytes: u64, now: Instant) {
        self.done += 1;
        self.cost += bytes + REQUEST_BYTES;
        let elapsed = now.saturating_duration_since(self.window);
        if self.done < 2 * self.limit || elapsed < WINDOW {
            return;
        }
        let rate = self.cost as f64 / elapsed.as_secs_f64();
        if self.doubling && rate > 1.25 * self.last_rate {
            self.limit *= 2;
        } else if self.doubling {
            self.doubling = false;
        } else if rate < 0.85 * self.last_rate {
            self.limit -= 1;
        } else {
            self.limit += 1;
        }
        self.limit = self.limit.clamp(1, self.most);
        self.last_rate = rate;
        self.begin_window(now);
    }

    /// The remote was overloaded or did not answer a request that began at `began`.
    fn failed(&mut self, began: Instant, now: Instant) {
        if self.halved.is_some_and(|halved| began < halved) {
            return;
        }
        self.limit = (self.limit / 2).max(1);
        self.doubling = false;
        self.halved = Some(now);
        self.begin_window(now);
    }

    fn begin_window(&mut self, now: Instant) {
        (self.window, self.done, self.cost) = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;

    /// A remote that serves `capacity` requests at a time well, and slows down beyond.
    fn settle(capacity: usize, most: usize) -> Pace {
        let mut now = Instant::now();
        let mut pace = Pace::new(most, now);
        for _ in 0..20_000 {
            let rate = pace.limit.min(capacity) as f64 * 100.0;
            now += Duration::from_secs_f64(1.0 / rate);
            pace.done(100_000, now);
        }
        pace
    }

    #[test]
    fn the_limit_grows_while_growing_pays_and_never_over_the_most() {
        assert_eq!(settle(1000, 64).limit, 64);
        assert!(!settle(1000, 64).doubling || settle(1000, 64).limit == 64);
        assert_eq!(settle(1000, 2).limit, 2);
    }

    #[test]
    fn a_burst_of_failures_halves_once() {
        let mut pace = settle(1000, 64);
        let began = Instant::now();
        let now = began + Duration::from_secs(1);
        for _ in 0..10 {
            pace.failed(began, now);
        }
        assert_eq!(pace.limit, 32);
        pace.failed(now, now + Duration::from_secs(1));
        assert_eq!(pace.limit, 16);
    }

    #[test]
    fn what_fails_for_a_moment_is_done_all_the_same_and_in_order() {
        let lanes = Lanes { most: 8, work: Work::Pushing, progress: &Silent };
        let failures = AtomicUsize::new(3);
        let answers = lanes.each(&(0..500).collect::<Vec<_>>(), |item| {
            let failing = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            if failing {
                return Err(Error::RemoteUnreachable { url: "x".into(), problem: "gone".into() });
            }
            Ok((item * 2, 1))
        });
        assert_eq!(answers.unwrap(), (0..500).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_begins_after_an_error_that_stays() {
        let lanes = Lanes { most: 4, work: Work::Pushing, progress: &Silent };
        let begun = AtomicUsize::new(0);
        let answers: Result<Vec<()>, _> = lanes.each(&(0..10_000).collect::<Vec<_>>(), |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            Err(Error::NoDefaultRemote)
        });
        assert!(matches!(answers, Err(Error::NoDefaultRemote)));
        assert!(begun.load(Ordering::SeqCst) <= 4);
    }
}
