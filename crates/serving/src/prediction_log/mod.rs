//! Every prediction and every label, on disk in the order they came.
//!
//! The log is a folder of segments, `<milliseconds of its first row>.jsonl`; each row is one line of
//! JSON, `{"crc32":..,"prediction":{..}}` or `{"crc32":..,"label":{..}}`, the checksum taken over
//! the inner object's bytes. One thread writes, several times a second, so rows of one moment share
//! one fsync. Ids are UUIDs of version 7: their first 48 bits are the milliseconds that lead to the
//! segment. What a kill leaves of a last line is cut when the log is opened again.

mod index;
mod segment;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use towpath_api::control::PredictionRecord;
use towpath_core::{Clock, Timestamp};

use crate::error::ServeError;
use crate::revision::{LoadedRevision, lock};
use crate::router::{Arm, Randomised};
use index::Index;
pub(crate) use index::{Correctness, Known, Labelling};
pub(crate) use segment::LabelRow;
use segment::Segments;
use writer::Writer;

/// Rows that may wait for the writer; more are lost (and counted).
const QUEUE: usize = 16_384;

/// One prediction on its way to the log.
pub(crate) struct Logged {
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) project: Arc<str>,
    pub(crate) environment: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) revision: Arc<LoadedRevision>,
    pub(crate) arm: Arm,
    pub(crate) rollout: Option<Randomised>,
    pub(crate) status: u16,
    pub(crate) latency_micros: u64,
    pub(crate) rows: u32,
    pub(crate) input_sha256: String,
    /// One label per row.
    pub(crate) output: Value,
}

impl Logged {
    fn record(self) -> PredictionRecord {
        let info = &self.revision.info;
        PredictionRecord {
            id: self.id,
            at: self.at,
            project: self.project.to_string(),
            environment: self.environment.to_string(),
            model: self.model.to_string(),
            model_version: info.model_version,
            release: info.release,
            revision: info.id.clone(),
            arm: self.arm.name().to_owned(),
            key_hash: self.rollout.as_ref().and_then(|rollout| rollout.key_hash),
            weight: match (&self.rollout, self.arm) {
                (Some(rollout), _) => rollout.weight,
                (None, Arm::Candidate) => 1.0,
                (None, _) => 0.0,
            },
            rollout: self.rollout.map(|rollout| rollout.rollout.to_string()),
            status: self.status,
            latency_micros: self.latency_micros,
            rows: self.rows,
            input_sha256: self.input_sha256,
            output: self.output,
            label: None,
        }
    }
}

enum Row {
    Prediction(Box<Logged>),
    Label(Box<LabelRow>),
    /// Everything before it is on disk when the answer comes.
    Flush(tokio::sync::oneshot::Sender<()>),
    Close,
}

/// Shared with the writer thread.
#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
}

pub(crate) struct PredictionLog {
    disk: Option<Disk>,
    counters: Arc<Counters>,
    index: Index,
}

/// Without a state directory there is none: predictions are then known in memory only.
struct Disk {
    folder: PathBuf,
    rows: SyncSender<Row>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl PredictionLog {
    /// Opens the log in `folder`, cuts a torn last line, reads the newest rows back.
    pub(crate) fn open(folder: Option<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let (counters, index) = (Arc::new(Counters::default()), Index::default());
        let Some(folder) = folder else {
            return Ok(Self { disk: None, counters, index });
        };
        let failed = |source| ServeError::State { path: folder.clone(), source };
        let segments = Segments::open(&folder).map_err(failed)?;
        index.fill(segments.newest(Index::KEPT).map_err(failed)?);
        let (rows, queue) = std::sync::mpsc::sync_channel(QUEUE);
        let writer = Writer::new(segments, Arc::clone(&counters), clock);
        let thread = std::thread::Builder::new().name("prediction-log".to_owned());
        let thread = thread.spawn(move || writer.run(&queue)).map_err(failed)?;
        let disk = Disk { folder: folder.clone(), rows, writer: Mutex::new(Some(thread)) };
        Ok(Self { disk: Some(disk), counters, index })
    }

    /// Remembers a prediction and queues it for the disk; never waits.
    pub(crate) fn add(&self, logged: Logged) {
        self.index.add(&logged.id, Known::of(&logged));
        self.queue(Row::Prediction(Box::new(logged)));
    }

    fn queue(&self, row: Row) {
        if self.disk.as_ref().is_some_and(|disk| disk.rows.try_send(row).is_err()) {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a label in. A prediction that memory has forgotten is looked up on disk.
    pub(crate) async fn label(&self, label: LabelRow) -> Labelling {
        let mut labelling = self.index.label(&label.id, &label.label);
        if matches!(labelling, Labelling::Unknown)
            && let Some((record, labelled)) = self.read(&label.id).await
        {
            self.index.add(&label.id, Known::from_record(record, labelled));
            labelling = self.index.label(&label.id, &label.label);
        }
        if matches!(labelling, Labelling::Accepted(_)) {
            self.queue(Row::Label(Box::new(label)));
        }
        labelling
    }

    /// The record of a prediction, with its label.
    pub(crate) async fn find(&self, id: &str) -> Option<PredictionRecord> {
        let disk = self.disk.as_ref()?;
        let (sender, flushed) = tokio::sync::oneshot::channel();
        if disk.rows.try_send(Row::Flush(sender)).is_ok() {
            // A writer that cannot write does not answer; what is on disk is still found.
            let _ = tokio::time::timeout(Duration::from_secs(2), flushed).await;
        }
        self.read(id).await.map(|(record, label)| PredictionRecord { label, ..record })
    }

    async fn read(&self, id: &str) -> Option<(PredictionRecord, Option<Value>)> {
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
        let _ = disk.rows.send(Row::Close);
        if let Some(writer) = lock(&disk.writer).take() {
            let _ = writer.join();
        }
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
