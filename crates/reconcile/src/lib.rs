//! One driver for all reconcilers: whatever can fail half-way is a row with a desired and an observed
//! state, and a reconciler that may be killed at any instruction and started again.
//!
//! A reconciler is activated by what the store says after a commit, by a signal of its own AND by a
//! period, and takes no input: it reads both states and moves one step, so the path after a crash is
//! the usual path.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use towpath_store::Notification;

mod backoff;

pub use backoff::Backoffs;

/// Moves one kind of thing from its observed towards its desired state.
pub trait Reconciler: Send {
    /// For the log.
    fn name(&self) -> &'static str;

    /// Looks at everything that is unfinished and moves each thing one step.
    fn activate(&mut self) -> impl Future<Output = Status> + Send;
}

/// What an activation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing to do until something changes or the period is over.
    Settled,
    /// Something moved: look again at once.
    Moved,
    /// It could not go on; the reason, for the log. The next activation comes after a pause that
    /// doubles with each failure in a row.
    Failed(String),
}

/// What activates a reconciler.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// First parts of the store's notification keys, for example `releases`.
    pub topics: &'static [&'static str],
    /// It is activated at least this often.
    pub period: Duration,
}

/// Drives `reconciler` until `shutdown`. A panic inside an activation is a failure like any other:
/// it is logged, and the reconciler is activated again after a pause.
///
/// The activation that runs when `shutdown` comes is ended at its next await; it has to bear that
/// anyway.
pub async fn run(
    mut reconciler: impl Reconciler,
    mut changes: broadcast::Receiver<Notification>,
    signal: Arc<Notify>,
    schedule: Schedule,
    shutdown: CancellationToken,
) {
    let mut failures: u32 = 0;
    loop {
        let activation = AssertUnwindSafe(reconciler.activate()).catch_unwind();
        let outcome = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            outcome = activation => outcome,
        };
        let status = outcome.unwrap_or_else(|panic| Status::Failed(format!("it panicked: {}", text_of(&*panic))));
        match status {
            Status::Moved => {
                failures = 0;
                // Others get their turn even if this one never settles.
                tokio::task::yield_now().await;
            }
            Status::Settled => {
                failures = 0;
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = change(&mut changes, schedule.topics) => {}
                    () = signal.notified() => {}
                    () = tokio::time::sleep(schedule.period) => {}
                }
            }
            Status::Failed(reason) => {
                failures = failures.saturating_add(1);
                let pause = backoff::pause(failures);
                tracing::warn!(
                    reconciler = reconciler.name(),
                    reason,
                    failures,
                    pause_ms = pause.as_millis() as u64,
                    "activation failed"
                );
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep_until(Instant::now() + pause) => {}
                }
            }
        }
    }
}

/// Returns when something of `topics` changed, or when so much changed that some of it was lost.
async fn change(changes: &mut broadcast::Receiver<Notification>, topics: &[&str]) {
    loop {
        match changes.recv().await {
            Ok(notification) if topics.contains(&notification.topic()) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The store is gone: the period goes on until the shutdown comes.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;

    const HOUR: Schedule = Schedule { topics: &["releases"], period: Duration::from_hours(1) };

    /// Tells of each activation and answers with the next of a list of statuses, then `Settled`.
    struct Scripted {
        activated: mpsc::UnboundedSender<()>,
        statuses: std::vec::IntoIter<Status>,
        panics: u32,
    }

    impl Reconciler for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        async fn activate(&mut self) -> Status {
            self.activated.send(()).unwrap();
            if self.panics > 0 {
                self.panics -= 1;
                panic!("no such luck");
            }
            self.statuses.next().unwrap_or(Status::Settled)
        }
    }

    struct Running {
        activations: mpsc::UnboundedReceiver<()>,
        changes: broadcast::Sender<Notification>,
        signal: Arc<Notify>,
        shutdown: CancellationToken,
        driver: tokio::task::JoinHandle<()>,
    }

    fn start(statuses: Vec<Status>, panics: u32, schedule: Schedule) -> Running {
        let (activated, activations) = mpsc::unbounded_channel();
        let (changes, receiver) = broadcast::channel(16);
        let signal = Arc::new(Notify::new());
        let shutdown = CancellationToken::new();
        let reconciler = Scripted { activated, statuses: statuses.into_iter(), panics };
        let driver = tokio::spawn(run(reconciler, receiver, Arc::clone(&signal), schedule, shutdown.clone()));
        Running { activations, changes, signal, shutdown, driver }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_activated_at_start_by_its_topics_by_its_signal_and_by_its_period() {
        let mut running = start(vec![], 0, HOUR);
        running.activations.recv().await.unwrap();

        running.changes.send(Notification(vec![json!("runs"), json!(1)])).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(running.activations.try_recv().is_err(), "another topic activates nothing");

        running.changes.send(Notification(vec![json!("releases"), json!(1)])).unwrap();
        running.activations.recv().await.unwrap();
        running.signal.notify_one();
        running.activations.recv().await.unwrap();

        let before = Instant::now();
        running.activations.recv().await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_a_failure_lead_to_another_activation_after_a_growing_pause() {
        let mut running = start(vec![Status::Failed("disk full".into())], 2, HOUR);
        let begin = Instant::now();
        for _ in 0..4 {
            running.activations.recv().await.unwrap();
        }
        // Two panics and a failure: 100 + 200 + 400 ms.
        assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_moved_is_looked_at_again_at_once() {
        let mut running = start(vec![Status::Moved, Status::Moved], 0, HOUR);
        let begin = Instant::now();
        for _ in 0..3 {
            running.activations.recv().await.unwrap();
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_it_also_in_the_middle_of_an_activation() {
        struct Stuck(Arc<AtomicU32>);
        impl Reconciler for Stuck {
            fn name(&self) -> &'static str {
                "stuck"
            }
            async fn activate(&mut self) -> Status {
                self.0.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
        }
        let activations = Arc::new(AtomicU32::new(0));
        let (_changes, receiver) = broadcast::channel(1);
        let shutdown = CancellationToken::new();
        let driver = tokio::spawn(run(
            Stuck(Arc::clone(&activations)),
            receiver,
            Arc::new(Notify::new()),
            HOUR,
            shutdown.clone(),
        ));
        tokio::task::yield_now().await;
        shutdown.cancel();
        driver.await.unwrap();
        assert_eq!(activations.load(Ordering::SeqCst), 1);

        let running = start(vec![], 0, HOUR);
        running.shutdown.cancel();
        running.driver.await.unwrap();
    }
}
