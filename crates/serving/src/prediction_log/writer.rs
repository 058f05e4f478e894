//! The thread that writes: takes the rows of a moment, writes them at once, one fsync for all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use towpath_core::Clock;

use super::segment::{self, Segments};
use super::waiting::{Batch, LOOK_EVERY, Waiting};
use super::{Counters, Retention};
use crate::revision::lock;

/// A segment that is longer is followed by a new one.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// And one that is older.
const LONGEST_SEGMENT: Duration = Duration::from_hours(1);

pub(super) struct Writer {
    segments: Segments,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    segment: Option<Appender>,
    retention: Arc<Mutex<Retention>>,
    /// When it was last looked for what is too old or too much.
    looked: Option<Instant>,
}

/// A file that only ever holds whole rows.
struct Appender<F = File> {
    file: F,
    length: u64,
    opened: Instant,
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
    pub(super) fn new(
        segments: Segments,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
        retention: Arc<Mutex<Retention>>,
    ) -> Self {
        Self { segments, counters, clock, segment: None, retention, looked: None }
    }

    /// Runs until the log is closed.
    pub(super) fn run(mut self, waiting: &Waiting) {
        let mut batch = Batch::default();
        loop {
            waiting.take(&mut batch);
            match self.write(&mut batch) {
                Ok(()) => {
                    self.counters.failing.store(false, Ordering::Relaxed);
                    if batch.whole {
                        for flushed in batch.flushes.drain(..) {
                            // Who asked may have gone.
                            let _ = flushed.send(());
                        }
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    batch.flushes.clear();
                    if waiting.closing() {
                        return;
                    }
                }
            }
            if batch.last {
                return;
            }
            if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
                self.looked = Some(Instant::now());
                if let Err(error) = self.tidy() {
                    tracing::error!(%error, "segments of the prediction log cannot be sealed or deleted");
                }
            }
        }
    }

    /// Deletes what is too old or too much, and seals what is not written to any more.
    fn tidy(&mut self) -> io::Result<()> {
        let retention = *lock(&self.retention);
        let expired = self.segments.expire(retention)?;
        self.counters.expired.fetch_add(expired.count, Ordering::Relaxed);
        if expired.newest {
            self.segment = None;
        }
        self.segments.seal()
    }

    /// Short enough for what is kept, so that not much is kept longer.
    fn longest(&self) -> Duration {
        lock(&self.retention).age.map_or(LONGEST_SEGMENT, |age| LONGEST_SEGMENT.min(age / 8))
    }

    fn failed(&self, error: &io::Error) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        if !self.counters.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "predictions cannot be logged");
        }
    }

    /// Writes what `batch` holds and takes it out.
    fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        if !batch.predictions.is_empty() {
            let segment = match self.segment.take() {
                Some(segment) if segment.length < SEGMENT_BYTES && segment.opened.elapsed() < self.longest() => segment,
                previous => self.next_segment(previous.is_none())?,
            };
            self.segment.insert(segment).append(&batch.predictions)?;
            self.counters.written.fetch_add(batch.count, Ordering::Relaxed);
            batch.predictions.clear();
        }
        // Labels lie beside their predictions. When one file fails, all are tried again: a label
        // that is then there twice says the same.
        if batch.later.is_empty() {
            return Ok(());
        }
        let starts = self.segments.starts()?;
        let mut by_path: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        for row in &batch.later {
            row.append_to(by_path.entry(self.segments.labels_path(&starts, row.id())).or_default())?;
        }
        for (path, rows) in by_path {
            Appender::open(&path)?.append(&rows)?;
        }
        batch.later.clear();
        Ok(())
    }

    /// After a start, the last segment is continued when there is room in it.
    fn next_segment(&self, after_start: bool) -> io::Result<Appender> {
        let last = self.segments.starts()?.last().copied();
        if let Some(start) = last.filter(|start| after_start && self.segments.path(*start).exists()) {
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
        Ok(Self { file, length, opened: Instant::now() })
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
        let mut appender =
            Appender { file: SmallDisk { bytes: Vec::new(), room: 10 }, length: 0, opened: Instant::now() };
        appender.append(b"first\n").unwrap();
        let error = appender.append(b"second\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(appender.file.bytes, b"first\n");
        appender.file.room = 100;
        appender.append(b"second\n").unwrap();
        assert_eq!(appender.file.bytes, b"first\nsecond\n");
    }
}
