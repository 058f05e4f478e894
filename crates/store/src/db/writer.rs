//! The one connection that writes. Who finds it free uses it at once; the others queue up, and a thread
//! commits what has queued up in one go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};
use std::time::Duration;
use std::{io, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::sqlite::step;
use super::{Backend, Durability, Tx};
use crate::StoreError;
use crate::notify::{Notification, Notify};

/// Transactions committed together at most.
const GROUP: usize = 256;

pub(super) struct Writer {
    state: Mutex<State>,
    notify: Notify,
}

struct State {
    connection: Connection,
    /// What the connection's next commit survives.
    synchronous: Durability,
}

impl Writer {
    pub(super) fn new(connection: Connection, notify: Notify) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "synchronous", "full")?;
        Ok(Self { state: Mutex::new(State { connection, synchronous: Durability::Full }), notify })
    }

    /// Nobody writes while this does.
    pub(super) fn alone<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        work(&mut self.lock().connection)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when somebody is writing.
    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl State {
    /// One transaction around `run`, which says whether its changes stay.
    fn transaction(
        &mut self,
        durability: Durability,
        run: impl FnOnce(&Connection) -> rusqlite::Result<bool>,
    ) -> Result<(), StoreError> {
        let connection = &self.connection;
        let end = |result: rusqlite::Result<()>| {
            if !connection.is_autocommit() {
                // A commit that failed left it open, or a panic did; nothing of it may stay.
                let _ = connection.execute_batch("rollback");
            }
            result
        };
        end(Ok(()))?;
        if durability != self.synchronous {
            let mode = if durability == Durability::Full { "full" } else { "normal" };
            connection.pragma_update(None, "synchronous", mode)?;
            self.synchronous = durability;
        }
        let all = step(connection, "begin immediate")
            .and_then(|()| run(connection))
            .and_then(|keep| step(connection, if keep { "commit" } else { "rollback" }));
        Ok(end(all)?)
    }
}

/// Writes that wait for the writer, and the thread that makes them.
pub(super) struct Queue {
    writer: Arc<Writer>,
    jobs: mpsc::SyncSender<Box<dyn Job>>,
    /// Writes that are queued up or being made by the thread. One that is made before its caller has
    /// counted it is -1 for a moment.
    waiting: Arc<AtomicIsize>,
}

impl Queue {
    /// The thread ends with the queue.
    pub(super) fn start(writer: Arc<Writer>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Box<dyn Job>>(4096);
        let waiting = Arc::new(AtomicIsize::new(0));
        let (of_thread, done) = (Arc::clone(&writer), Arc::clone(&waiting));
        thread::Builder::new().name("sqlite-writer".into()).spawn(move || {
            while let Ok(first) = queue.recv() {
                let mut state = of_thread.lock();
                // Whoever came while another one wrote goes along.
                let mut group = vec![first];
                group.extend(queue.try_iter().take(GROUP - 1));
                commit_group(&mut state, &of_thread.notify, &mut group);
                drop(state);
                done.fetch_sub(group.len() as isize, Ordering::AcqRel);
            }
        })?;
        Ok(Self { writer, jobs, waiting })
    }

    /// In this thread, if nobody writes or waits for it.
    pub(super) fn write_if_free<T, E: From<StoreError>>(
        &self,
        durability: Durability,
        work: &mut impl FnMut(&mut Tx<'_>) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        if self.waiting.load(Ordering::Acquire) != 0 {
            return None;
        }
        let mut state = self.writer.try_lock()?;
        let mut outcome = None;
        let mut notifications = Vec::new();
        let committed = state.transaction(durability, |connection| {
            let mut tx = Tx { backend: Backend::Sqlite(connection), notifications: Vec::new() };
            let result = work(&mut tx);
            let keep = result.is_ok();
            notifications = tx.notifications;
            outcome = Some(result);
            Ok(keep)
        });
        drop(state);
        let result = end(outcome, committed);
        if result.is_ok() {
            self.writer.notify.send(notifications);
        }
        Some(result)
    }

    pub(super) async fn write<T, E, F>(&self, durability: Durability, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let mut job: Box<dyn Job> = Box::new(Write { work, durability, result: None, reply: Some(reply) });
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Full(back)) => {
                    job = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(StoreError::Closed.into()),
            }
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}

/// What the work gave, once the fate of its transaction is known.
fn end<T, E: From<StoreError>>(result: Option<Result<T, E>>, committed: Result<(), StoreError>) -> Result<T, E> {
    match (result, committed) {
        (Some(Err(error)), _) => Err(error),
        (Some(Ok(value)), Ok(())) => Ok(value),
        (_, Err(error)) => Err(error.into()),
        (None, Ok(())) => Err(StoreError::Closed.into()),
    }
}

/// A write waiting for its group.
trait Job: Send {
    fn durability(&self) -> Durability;

    /// Runs the work; true keeps its changes.
    fn run(&mut self, connection: &Connection, notifications: &mut Vec<Notification>) -> bool;

    /// Answers the caller once the group's fate is known.
    fn finish(&mut self, committed: Result<(), StoreError>);
}

struct Write<T, E, F> {
    work: F,
    durability: Durability,
    result: Option<Result<T, E>>,
    reply: Option<oneshot::Sender<Result<T, E>>>,
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, connection: &Connection, notifications: &mut Vec<Notification>) -> bool {
        let mut tx = Tx { backend: Backend::Sqlite(connection), notifications: Vec::new() };
        // One that panics fails alone: the thread has the writes of all others to make.
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| (self.work)(&mut tx))) else { return false };
        let keep = result.is_ok();
        if keep {
            notifications.append(&mut tx.notifications);
        }
        self.result = Some(result);
        keep
    }

    fn finish(&mut self, committed: Result<(), StoreError>) {
        let Some(reply) = self.reply.take() else {
            return;
        };
        // A caller that went away does not need its answer.
        let _ = reply.send(end(self.result.take(), committed));
    }
}

fn commit_group(state: &mut State, notify: &Notify, group: &mut [Box<dyn Job>]) {
    let durability = group.iter().map(|j| j.durability()).max().unwrap_or(Durability::Full);
    let mut notifications = Vec::new();
    let committed = state.transaction(durability, |connection| {
        if let [job] = group {
            // Nobody else's changes would go with it.
            return Ok(job.run(connection, &mut notifications));
        }
        for job in group.iter_mut() {
            step(connection, "savepoint job")?;
            if !job.run(connection, &mut notifications) {
                step(connection, "rollback to job")?;
            }
            step(connection, "release job")?;
        }
        Ok(true)
    });
    if committed.is_ok() {
        notify.send(notifications);
    }
    for job in group {
        job.finish(committed.as_ref().copied().map_err(repeat));
    }
}

/// The same error for every member of a group.
fn repeat(error: &StoreError) -> StoreError {
    match error {
        StoreError::DiskFull(text) => StoreError::DiskFull(text.clone()),
        StoreError::Contended(text) => StoreError::Contended(text.clone()),
        StoreError::Constraint(text) => StoreError::Constraint(text.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}
