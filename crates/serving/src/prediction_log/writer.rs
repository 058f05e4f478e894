//! The thread that writes: gathers the rows of a moment, writes them at once, one fsync for all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use towpath_api::control::PredictionRecord;
use towpath_core::Clock;

use super::segment::{self, LabelRow, Segments};
use super::{Counters, Row};

/// Rows of this long share one write.
const GATHER: Duration = Duration::from_millis(100);
/// This much is written without waiting for more.
const WRITE_BYTES: usize = 1024 * 1024;
/// A segment that is longer is followed by a new one.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// While the disk refuses, at most this much is held back for another try; the rest is lost.
const HELD_BYTES: usize = 4 * 1024 * 1024;
const HELD_LABELS: usize = 20_000;

pub(super) struct Writer {
    segments: Segments,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    segment: Option<Appender>,
    predictions: Rows,
    labels: Vec<LabelRow>,
}

/// Encoded rows that are not on disk yet.
#[derive(Default)]
struct Rows {
    bytes: Vec<u8>,
    count: u64,
}

/// A file that only ever holds whole rows.
struct Appender<F = File> {
    file: F,
    length: u64,
}

/// What appending needs of a file.
trait Storage: Write {
    fn sync(&self) -> io::Result<()>;

    /// Leaves the first `length` bytes; the next write follows them.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Storage for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

impl Writer {
    pub(super) fn new(segments: Segments, counters: Arc<Counters>, clock: Arc<dyn Clock>) -> Self {
        Self { segments, counters, clock, segment: None, predictions: Rows::default(), labels: Vec::new() }
    }

    /// Runs until the queue is closed. Between writes it sleeps instead of waiting for rows, so
    /// that a request does not pay for waking it.
    pub(super) fn run(mut self, queue: &Receiver<Row>) {
        let mut waiting = Vec::new();
        loop {
            let idle = self.predictions.bytes.is_empty() && self.labels.is_empty();
            let first = if idle { queue.recv().ok() } else { queue.try_recv().ok() };
            let mut closed = idle && first.is_none();
            if !matches!(first, Some(Row::Flush(_) | Row::Close)) && !closed {
                std::thread::sleep(GATHER);
            }
            for row in first.into_iter().chain(queue.try_iter()) {
                match row {
                    Row::Prediction(logged) => self.hold(&logged.record()),
                    Row::Label(label) if self.labels.len() < HELD_LABELS => self.labels.push(*label),
                    Row::Label(_) => self.lose(),
                    Row::Flush(done) => waiting.push(done),
                    Row::Close => closed = true,
                }
                if self.predictions.bytes.len() >= WRITE_BYTES && !self.counters.failing.load(Ordering::Relaxed) {
                    break;
                }
            }
            match self.write() {
                Ok(()) => {
                    self.counters.failing.store(false, Ordering::Relaxed);
                    for done in waiting.drain(..) {
                        // Who asked may have gone.
                        let _ = done.send(());
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    waiting.clear();
                }
            }
            if closed {
                return;
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        if !self.counters.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "predictions cannot be logged");
        }
    }

    fn lose(&self) {
        self.counters.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn hold(&mut self, record: &PredictionRecord) {
        let bytes = &mut self.predictions.bytes;
        let before = bytes.len();
        if before < HELD_BYTES && segment::encode(bytes, "prediction", record).is_ok() {
            self.predictions.count += 1;
        } else {
            bytes.truncate(before);
            self.lose();
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if !self.predictions.bytes.is_empty() {
            let segment = match self.segment.take() {
                Some(segment) if segment.length < SEGMENT_BYTES => segment,
                previous => self.next_segment(previous.is_none())?,
            };
            self.segment.insert(segment).append(&self.predictions.bytes)?;
            self.counters.written.fetch_add(self.predictions.count, Ordering::Relaxed);
            self.predictions = Rows::default();
        }
        // Labels lie beside their predictions. When one file fails, all are tried again: a label
        // that is then there twice says the same.
        let mut by_path: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        for label in &self.labels {
            let rows = by_path.entry(self.segments.labels_path(&label.id)?).or_default();
            segment::encode(rows, "label", label)?;
        }
        for (path, rows) in by_path {
            Appender::open(&path)?.append(&rows)?;
        }
        self.labels.clear();
        Ok(())
    }

    /// After a start, the last segment is continued when there is room in it.
    fn next_segment(&self, after_start: bool) -> io::Result<Appender> {
        let last = self.segments.starts()?.last().copied();
        if let Some(start) = last.filter(|_| after_start) {
            let segment = Appender::open(&self.segments.path(start))?;
            if segment.length < SEGMENT_BYTES {
                return Ok(segment);
            }
        }
        // Rises also when the clock was set back.
        let start = self.clock.now().millis().max(last.map_or(0, |last| last + 1));
        Appender::open(&self.segments.path(start))
    }
}

impl Appender {
    fn open(path: &Path) -> io::Result<Self> {
        let (file, length) = segment::open_for_append(path)?;
        Ok(Self { file, length })
    }
}

impl<F: Storage> Appender<F> {
    /// All of `rows` or, after an error, none: what was written of them is cut again.
    fn append(&mut self, rows: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(rows).and_then(|()| self.file.sync());
        if written.is_ok() {
            self.length += rows.len() as u64;
        } else {
            self.file.cut(self.length)?;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds `room` bytes.
    struct SmallDisk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Storage for SmallDisk {
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.bytes.truncate(length as usize);
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_keeps_whole_rows_only_and_takes_the_rest_when_there_is_room() {
        let mut appender = Appender { file: SmallDisk { bytes: Vec::new(), room: 10 }, length: 0 };
        appender.append(b"first\n").unwrap();
        let error = appender.append(b"second\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(appender.file.bytes, b"first\n");
        appender.file.room = 100;
        appender.append(b"second\n").unwrap();
        assert_eq!(appender.file.bytes, b"first\nsecond\n");
    }
}
