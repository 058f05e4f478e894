//! Every prediction and every label, on disk in the order they came.
//!
//! The log is a folder of segments, `<milliseconds of its first row>.jsonl`; each row is one line of
//! JSON, `{"crc32":..,"prediction":{..}}` (or `label`, or `copy`), the checksum taken over
//! the inner object's bytes. Requests encode their rows; one thread writes, several times a second,
//! so rows of one moment share one fsync. Ids are UUIDs of version 7: their first 48 bits are the
//! milliseconds that lead to the segment. What a kill leaves of a last line is cut when the log is
//! opened again. Segments that are not written to any more are sealed: they become Parquet files.

mod id;
mod index;
pub(crate) mod output;
mod rules;
mod sealed;
mod segment;
mod waiting;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use towpath_api::control::{LogPolicy, PredictionRecord};
use towpath_core::{Clock, Timestamp};

use crate::error::ServeError;
use crate::revision::lock;
pub(crate) use id::{Hex, PredictionId};
use index::Index;
pub(crate) use index::{CopyAnswer, Correctness, Known, Labelling, Valuing};
pub(crate) use rules::Rules;
pub(crate) use segment::LabelRow;
use segment::{CopyRow, Encoded, Later, Logged, Segments, ValueRow};
use waiting::Waiting;
use writer::Writer;

/// A [`PredictionRecord`] as a request has it.
#[derive(Serialize)]
pub(crate) struct Prediction<'a> {
    pub(crate) id: PredictionId,
    pub(crate) at: Timestamp,
    pub(crate) project: &'a str,
    pub(crate) environment: &'a str,
    pub(crate) model: &'a str,
    pub(crate) model_version: i64,
    pub(crate) release: i64,
    pub(crate) revision: &'a str,
    pub(crate) arm: &'a str,
    pub(crate) rollout: Option<&'a str>,
    pub(crate) key_hash: Option<u64>,
    pub(crate) weight: f64,
    pub(crate) status: u16,
    pub(crate) latency_micros: u64,
    pub(crate) rows: u32,
    pub(crate) input_sha256: Hex<32>,
    pub(crate) output: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) features: Option<&'a RawValue>,
}

/// Shared with the writer thread.
#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
    sampled_out: AtomicU64,
    expired: AtomicU64,
}

pub(crate) struct PredictionLog {
    disk: Option<Disk>,
    counters: Arc<Counters>,
    index: Index,
    /// Of hashed features.
    key: [u8; 32],
    retention: Arc<Mutex<Retention>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Retention {
    age: Option<Duration>,
    bytes: Option<u64>,
}

/// Without a state directory there is none: predictions are then known in memory only.
struct Disk {
    folder: PathBuf,
    waiting: Arc<Waiting>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl PredictionLog {
    /// Opens the log in `folder`, cuts a torn last line, reads the newest rows back.
    pub(crate) fn open(folder: Option<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let (counters, index) = (Arc::new(Counters::default()), Index::default());
        let Some(folder) = folder else {
            return Ok(Self { disk: None, counters, index, key: [0; 32], retention: Arc::default() });
        };
        let failed = |source| ServeError::State { path: folder.clone(), source };
        let segments = Segments::open(&folder).map_err(failed)?;
        index.fill(segments.newest(Index::GENERATION).map_err(failed)?);
        let waiting = Arc::new(Waiting::default());
        let key = segments.key().map_err(failed)?;
        let retention = Arc::<Mutex<Retention>>::default();
        let writer = Writer::new(segments, Arc::clone(&counters), clock, Arc::clone(&retention));
        let thread = std::thread::Builder::new().name("prediction-log".to_owned());
        let queue = Arc::clone(&waiting);
        let thread = thread.spawn(move || writer.run(&queue)).map_err(failed)?;
        let disk = Disk { folder: folder.clone(), waiting, writer: Mutex::new(Some(thread)) };
        Ok(Self { disk: Some(disk), counters, index, key, retention })
    }

    /// The rules from now on.
    pub(crate) fn follow(&self, policy: Option<&LogPolicy>) -> Rules {
        let policy = policy.cloned().unwrap_or_default();
        let age = policy.keep_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        *lock(&self.retention) = Retention { age, bytes: policy.keep_bytes };
        Rules::new(policy, self.key)
    }

    /// A prediction whose row the rules do not keep.
    pub(crate) fn leave_out(&self) {
        self.counters.sampled_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Queues a prediction for the disk; never waits.
    pub(crate) fn add(&self, prediction: &Prediction<'_>) {
        if let Some(disk) = &self.disk {
            let queued = Encoded::new(prediction).is_ok_and(|row| disk.waiting.add_prediction(&row));
            self.count_lost(queued);
        }
    }

    /// Keeps in memory what a label will need.
    pub(crate) fn remember(&self, id: PredictionId, known: Known) {
        self.index.add(id, known);
    }

    /// Keeps what the candidate answered to the copy of a request, until its label comes.
    pub(crate) fn copied(&self, id: PredictionId, answer: CopyAnswer) {
        if let Some(disk) = &self.disk {
            let row = CopyRow { id: id.digits(), answer: answer.clone() };
            self.count_lost(disk.waiting.add_later(Later::Copy(row)));
        }
        self.index.copied(id, answer);
    }

    fn count_lost(&self, queued: bool) {
        self.counters.lost.fetch_add(u64::from(!queued), Ordering::Relaxed);
    }

    /// Takes a label in. A prediction that memory has forgotten is looked up on disk.
    pub(crate) async fn label(&self, label: LabelRow) -> Labelling {
        let Some(id) = PredictionId::parse(&label.id) else {
            return Labelling::Unknown;
        };
        let mut labelling = self.index.label(id, &label.label);
        if matches!(labelling, Labelling::Unknown)
            && let Some(logged) = self.read(&label.id).await
        {
            self.index.add(id, Known::from_logged(logged));
            labelling = self.index.label(id, &label.label);
        }
        if let (Labelling::Accepted(_), Some(disk)) = (&labelling, &self.disk) {
            self.count_lost(disk.waiting.add_later(Later::Label(label)));
        }
        labelling
    }

    /// Takes a value of a metric in.
    pub(crate) async fn value(&self, id: &str, metric: &str, value: f64, at: Timestamp) -> Valuing {
        let Some(number) = PredictionId::parse(id) else {
            return Valuing::Unknown;
        };
        let mut valuing = self.index.value(number, metric);
        if matches!(valuing, Valuing::Unknown)
            && let Some(logged) = self.read(id).await
        {
            self.index.add(number, Known::from_logged(logged));
            valuing = self.index.value(number, metric);
        }
        if let (Valuing::Accepted { .. }, Some(disk)) = (&valuing, &self.disk) {
            let row = ValueRow { id: id.to_owned(), metric: metric.to_owned(), value, at };
            self.count_lost(disk.waiting.add_later(Later::Value(row)));
        }
        valuing
    }

    /// The record of a prediction, with what was told of it later.
    pub(crate) async fn find(&self, id: &str) -> Option<PredictionRecord> {
        let disk = self.disk.as_ref()?;
        // A writer that cannot write does not answer; what is on disk is still found.
        let _ = tokio::time::timeout(Duration::from_secs(2), disk.waiting.flush()).await;
        self.read(id).await.map(|Logged { record, label, values, .. }| PredictionRecord { label, values, ..record })
    }

    async fn read(&self, id: &str) -> Option<Logged> {
        let folder = self.disk.as_ref()?.folder.clone();
        let id = id.to_owned();
        match tokio::task::spawn_blocking(move || segment::find(&folder, &id)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::error!(%error, "the prediction log cannot be read");
                None
            }
            Err(_) => None,
        }
    }

    /// Writes what is queued and ends the writer; blocks.
    pub(crate) fn close(&self) {
        let Some(disk) = &self.disk else { return };
        disk.waiting.close();
        if let Some(writer) = lock(&disk.writer).take() {
            let _ = writer.join();
        }
    }

    pub(crate) fn sampled_out(&self) -> u64 {
        self.counters.sampled_out.load(Ordering::Relaxed)
    }

    /// Segments that were deleted since the start because they were too old or too much.
    pub(crate) fn expired(&self) -> u64 {
        self.counters.expired.load(Ordering::Relaxed)
    }

    /// Rows written since the start.
    pub(crate) fn written(&self) -> u64 {
        self.counters.written.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.counters.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.counters.failures.load(Ordering::Relaxed)
    }

    /// True while the disk refuses rows.
    pub(crate) fn failing(&self) -> bool {
        self.counters.failing.load(Ordering::Relaxed)
    }
}
