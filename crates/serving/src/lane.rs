//! The way into one model: how many of its requests run at once, how many wait, and for how long. A model
//! that is slow or hangs fills its own lane and nobody else's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::RequestError;
use crate::revision::lock;

/// Requests of a model that may wait for it; more are sent away at once.
const WAITING: usize = 256;

pub(crate) struct Lane {
    state: Mutex<State>,
}

struct State {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    limit: Gradient,
}

/// A run that may go on; its place is given to the next one when dropped.
pub(crate) struct Permit {
    lane: Arc<Lane>,
    since: Instant,
}

impl Lane {
    /// `most` bounds what the limit may grow to.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Self::with(Gradient::new(most))
    }

    /// Always so many places.
    pub(crate) fn fixed(places: usize) -> Arc<Self> {
        Self::with(Gradient { limit: places as f64, least: places as f64, ..Gradient::new(places) })
    }

    fn with(limit: Gradient) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { running: 0, waiting: VecDeque::new(), limit }) })
    }

    /// Waits for a place, at the latest until `deadline`. Who cannot be served before it is sent away
    /// without having waited.
    pub(crate) async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Permit, RequestError> {
        let now = Instant::now();
        let turn = {
            let mut state = lock(&self.state);
            if state.running < state.limit.places() && state.waiting.is_empty() {
                state.running += 1;
                return Ok(Permit { lane: Arc::clone(self), since: now });
            }
            admit(&state, state.waiting.len(), deadline)?;
            let (sender, turn) = oneshot::channel();
            state.waiting.push_back(sender);
            turn
        };
        match tokio::time::timeout_at(deadline.into(), turn).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(RequestError::Deadline { seconds: now.elapsed().as_secs_f64() }),
        }
    }

    /// Whether `ahead` runs can be over before `deadline`, as far as earlier ones tell.
    pub(crate) fn expect(&self, ahead: usize, deadline: Instant) -> Result<(), RequestError> {
        admit(&lock(&self.state), ahead, deadline)
    }

    fn leave(self: &Arc<Self>, took: Duration) {
        let mut leaving = Some(took);
        loop {
            let next = {
                let mut state = lock(&self.state);
                let running = state.running;
                if let Some(took) = leaving.take() {
                    state.limit.observe(took, running);
                }
                state.running -= 1;
                if state.running >= state.limit.places() {
                    return;
                }
                let Some(next) = state.waiting.pop_front() else { return };
                state.running += 1;
                next
            };
            match next.send(Permit { lane: Arc::clone(self), since: Instant::now() }) {
                Ok(()) => return,
                // Who waited has gone: the place is free again.
                Err(permit) => std::mem::forget(permit),
            }
        }
    }
}

fn admit(state: &State, ahead: usize, deadline: Instant) -> Result<(), RequestError> {
    if ahead >= WAITING {
        return Err(RequestError::QueueFull { waiting: ahead });
    }
    let wait = state.limit.usual.mul_f64((ahead + 1) as f64 / state.limit.places() as f64);
    if wait > deadline.saturating_duration_since(Instant::now()) {
        return Err(RequestError::Hopeless { wait_seconds: wait.as_secs_f64() });
    }
    Ok(())
}

impl Drop for Permit {
    fn drop(&mut self) {
        let lane = Arc::clone(&self.lane);
        lane.leave(self.since.elapsed());
    }
}

/// A limit that follows the time that runs take (Netflix' "gradient2"): while they take what they
/// usually take there may be more of them, when they take longer there are fewer.
#[derive(Debug)]
struct Gradient {
    limit: f64,
    least: f64,
    most: f64,
    /// Moving average over some 600 runs.
    usual: Duration,
}

const TOLERANCE: f64 = 1.5;
const SMOOTHING: f64 = 0.2;
const LONG: f64 = 600.0;

impl Gradient {
    fn new(most: usize) -> Self {
        Self { limit: (most as f64 / 2.0).max(1.0), least: 1.0, most: most.max(1) as f64, usual: Duration::ZERO }
    }

    fn places(&self) -> usize {
        self.limit as usize
    }

    /// One run took `took` while `running` were at it.
    fn observe(&mut self, took: Duration, running: usize) {
        let (took, usual) = (took.as_secs_f64(), self.usual.as_secs_f64());
        let usual = if usual == 0.0 { took } else { usual + (took - usual) / LONG };
        self.usual = Duration::from_secs_f64(usual);
        // Who does not use the places that are there says nothing about more of them.
        if (running as f64) < self.limit / 2.0 || took == 0.0 {
            return;
        }
        let gradient = (TOLERANCE * usual / took).clamp(0.5, 1.0);
        let wanted = self.limit * gradient + self.limit.sqrt();
        self.limit = (self.limit * (1.0 - SMOOTHING) + wanted * SMOOTHING).clamp(self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_place_is_given_on_in_the_order_of_arrival() {
        let lane = Lane::new(1);
        let first = lane.enter(soon()).await.unwrap();
        let waiting =
            [Arc::clone(&lane), Arc::clone(&lane)].map(|lane| tokio::spawn(async move { lane.enter(soon()).await }));
        while lock(&lane.state).waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(first);
        let [second, third] = waiting;
        let second = second.await.unwrap().unwrap();
        assert!(!third.is_finished());
        drop(second);
        third.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_has_gone_does_not_keep_the_place() {
        let lane = Lane::new(1);
        let first = lane.enter(soon()).await.unwrap();
        let gone = lane.enter(Instant::now() + Duration::from_millis(1)).await.map(drop).unwrap_err();
        assert!(matches!(gone, RequestError::Deadline { .. }));
        drop(first);
        assert!(lane.enter(soon()).await.is_ok());
    }

    #[tokio::test]
    async fn who_cannot_be_served_in_time_is_sent_away_at_once() {
        let lane = Lane::new(1);
        lock(&lane.state).limit.usual = Duration::from_secs(2);
        let _running = lane.enter(soon()).await.unwrap();
        let hopeless = lane.enter(Instant::now() + Duration::from_secs(1)).await.map(drop).unwrap_err();
        assert_eq!(hopeless, RequestError::Hopeless { wait_seconds: 2.0 });
        assert!(lane.expect(WAITING, soon()).is_err_and(|full| full == RequestError::QueueFull { waiting: WAITING }));
    }

    #[test]
    fn the_limit_grows_while_runs_take_what_they_take_and_shrinks_when_they_take_longer() {
        let mut limit = Gradient::new(16);
        assert_eq!(limit.places(), 8);
        for _ in 0..100 {
            limit.observe(Duration::from_millis(10), limit.places());
        }
        assert_eq!(limit.places(), 16);
        for _ in 0..20 {
            limit.observe(Duration::from_millis(60), limit.places());
        }
        assert!(limit.places() < 8, "{limit:?}");
        let before = limit.places();
        limit.observe(Duration::from_millis(10), 0);
        assert_eq!(limit.places(), before, "an idle model says nothing");
    }
}
