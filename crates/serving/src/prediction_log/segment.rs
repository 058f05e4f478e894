//! Segments: naming, rows, reading, opening for append.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use towpath_api::control::PredictionRecord;
use towpath_core::Timestamp;

use super::{CopyAnswer, Retention, sealed};
use crate::persist::crc32;

/// A label as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LabelRow {
    pub(crate) id: String,
    pub(crate) label: Value,
    pub(crate) at: Timestamp,
}

/// What the candidate answered to the copy of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct CopyRow {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) answer: CopyAnswer,
}

/// A number that was told of a prediction, such as what a customer paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ValueRow {
    pub(super) id: String,
    pub(super) metric: String,
    pub(super) value: f64,
    pub(super) at: Timestamp,
}

/// What becomes known of a prediction later.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Later {
    Label(LabelRow),
    Copy(CopyRow),
    Value(ValueRow),
}

impl Later {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Label(row) => &row.id,
            Self::Copy(row) => &row.id,
            Self::Value(row) => &row.id,
        }
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        match self {
            Self::Label(row) => Encoded::new(row)?.append_to(out, "label"),
            Self::Copy(row) => Encoded::new(row)?.append_to(out, "copy"),
            Self::Value(row) => Encoded::new(row)?.append_to(out, "value"),
        }
        Ok(())
    }
}

/// A prediction with what became known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logged {
    pub(super) record: PredictionRecord,
    pub(super) label: Option<Value>,
    /// The candidate's answer to its copy.
    pub(super) copy: Option<CopyAnswer>,
    /// By metric.
    pub(super) values: BTreeMap<String, f64>,
}

impl Logged {
    fn alone(record: PredictionRecord) -> Self {
        Self { record, label: None, copy: None, values: BTreeMap::new() }
    }

    /// The first label and the first value of a metric count.
    fn learn(&mut self, later: Later) {
        match later {
            Later::Label(row) => drop(self.label.get_or_insert(row.label)),
            Later::Copy(row) => drop(self.copy.get_or_insert(row.answer)),
            Later::Value(row) => drop(self.values.entry(row.metric).or_insert(row.value)),
        }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    crc32: u32,
    #[serde(borrow)]
    prediction: Option<&'a RawValue>,
    #[serde(borrow)]
    label: Option<&'a RawValue>,
    #[serde(borrow)]
    copy: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// A row as it lies on disk, but for its kind.
pub(super) struct Encoded {
    json: Vec<u8>,
    crc32: u32,
}

/// Bytes; what most predictions fit into.
const USUAL_ROW: usize = 640;

impl Encoded {
    pub(super) fn new(row: &impl Serialize) -> serde_json::Result<Self> {
        let mut json = Vec::with_capacity(USUAL_ROW);
        serde_json::to_writer(&mut json, row)?;
        let crc32 = crc32(&json);
        Ok(Self { json, crc32 })
    }

    /// Appends the line. `kind` is `prediction`, `label` or `copy`.
    pub(super) fn append_to(&self, out: &mut Vec<u8>, kind: &str) {
        out.extend_from_slice(format!("{{\"crc32\":{},\"{kind}\":", self.crc32).as_bytes());
        out.extend_from_slice(&self.json);
        out.extend_from_slice(b"}\n");
    }
}

enum Row {
    Prediction(Box<PredictionRecord>),
    Later(Later),
}

/// `None` for a line that is no intact row.
fn decode<'a>(line: &'a [u8]) -> Option<Row> {
    let line: Line<'a> = serde_json::from_slice(line).ok()?;
    let intact = |raw: &'a RawValue| (crc32(raw.get().as_bytes()) == line.crc32).then(|| raw.get());
    let (prediction, label, copy, value) = (line.prediction, line.label, line.copy, line.value);
    if let Some(text) = prediction.and_then(intact) {
        return serde_json::from_str(text).ok().map(|record| Row::Prediction(Box::new(record)));
    }
    let later = if let Some(text) = label.and_then(intact) {
        serde_json::from_str(text).ok().map(Later::Label)
    } else if let Some(text) = copy.and_then(intact) {
        serde_json::from_str(text).ok().map(Later::Copy)
    } else {
        serde_json::from_str(value.and_then(intact)?).ok().map(Later::Value)
    };
    later.map(Row::Later)
}

/// What [`Segments::expire`] deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) count: u64,
    /// The newest one was among them.
    pub(super) newest: bool,
}

/// The folder of a log.
pub(super) struct Segments {
    folder: PathBuf,
}

impl Segments {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The secret of hashed features, beside the folder; made at the first start.
    pub(super) fn key(&self) -> io::Result<[u8; 32]> {
        let path = self.folder.with_extension("key");
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other(format!("{} is damaged", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(io::Error::other)?;
                // Readable by its owner only.
                let mut file = tempfile::NamedTempFile::new_in(self.folder.parent().unwrap_or(&self.folder))?;
                io::Write::write_all(&mut file, &key)?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the segments that are too old or, but for the newest, too much.
    pub(super) fn expire(&self, retention: Retention) -> io::Result<Expired> {
        let (mut total, mut expired) = (0, Expired::default());
        for (nth, start) in self.starts()?.into_iter().rev().enumerate() {
            let open = self.path(start);
            let path = if open.exists() { open } else { self.sealed_path(start) };
            let labels = self.folder.join(format!("{start:013}.labels.jsonl"));
            let metadata = fs::metadata(&path)?;
            total += metadata.len() + fs::metadata(&labels).map_or(0, |labels| labels.len());
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            let too_old = retention.age.is_some_and(|most| age > most);
            let too_much = nth > 0 && retention.bytes.is_some_and(|most| total > most);
            if too_old || too_much {
                fs::remove_file(&path)?;
                match fs::remove_file(&labels) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                expired.count += 1;
                expired.newest |= nth == 0;
            }
        }
        Ok(expired)
    }

    /// Path of the segment that began at `start`.
    pub(super) fn path(&self, start: i64) -> PathBuf {
        self.folder.join(format!("{start:013}.jsonl"))
    }

    fn sealed_path(&self, start: i64) -> PathBuf {
        self.folder.join(format!("{start:013}.parquet"))
    }

    /// Makes Parquet files of all segments but the newest, which is written to.
    pub(super) fn seal(&self) -> io::Result<()> {
        let starts = self.starts()?;
        for start in starts.iter().take(starts.len().saturating_sub(1)).copied() {
            let open = self.path(start);
            if !open.exists() {
                continue;
            }
            // A kill came after the sealing: the sealed one is whole.
            if self.sealed_path(start).exists() {
                fs::remove_file(&open)?;
                continue;
            }
            let mut records = Vec::new();
            each_row(&open, |row| {
                if let Row::Prediction(record) = row {
                    records.push(*record);
                }
            })?;
            sealed::write(&self.sealed_path(start), &records)?;
            fs::remove_file(&open)?;
        }
        Ok(())
    }

    /// Visits the predictions of one segment; rows that do not contain `needle` may be left out.
    fn each_prediction(&self, start: i64, needle: &str, mut visit: impl FnMut(PredictionRecord)) -> io::Result<()> {
        let sealed = self.sealed_path(start);
        if sealed::each(&sealed, &mut visit)? {
            return Ok(());
        }
        let mut seen = 0;
        each_row_with(&self.path(start), needle, |row| {
            if let Row::Prediction(record) = row {
                seen += 1;
                visit(*record);
            }
        })?;
        // It may have been sealed between the two looks.
        if seen == 0 {
            sealed::each(&sealed, visit)?;
        }
        Ok(())
    }

    /// Labels and copies lie beside the segment of their prediction's time. `starts` are those of all segments.
    pub(super) fn labels_path(&self, starts: &[i64], id: &str) -> PathBuf {
        let start = starts[..home(starts, id)].last().or(starts.first()).copied().unwrap_or(0);
        self.folder.join(format!("{start:013}.labels.jsonl"))
    }

    /// Starts of all segments, oldest first.
    pub(super) fn starts(&self) -> io::Result<Vec<i64>> {
        let mut starts = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_str().unwrap_or_default();
            let stem = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".parquet"));
            starts.extend(stem.and_then(|stem| stem.parse::<i64>().ok()));
        }
        starts.sort_unstable();
        // A kill may leave both forms of one.
        starts.dedup();
        Ok(starts)
    }

    /// At most `count` of the newest predictions, oldest first.
    pub(super) fn newest(&self, count: usize) -> io::Result<Vec<Logged>> {
        let mut newest: Vec<Logged> = Vec::new();
        for start in self.starts()?.into_iter().rev() {
            let mut later = std::collections::HashMap::<String, Vec<Later>>::new();
            each_row(&self.folder.join(format!("{start:013}.labels.jsonl")), |row| {
                if let Row::Later(row) = row {
                    later.entry(row.id().to_owned()).or_default().push(row);
                }
            })?;
            let mut rows = Vec::new();
            self.each_prediction(start, "", |record| rows.push(Logged::alone(record)))?;
            rows.append(&mut newest);
            newest = rows;
            for logged in &mut newest {
                for row in later.remove(&logged.record.id).into_iter().flatten() {
                    logged.learn(row);
                }
            }
            if newest.len() >= count {
                break;
            }
        }
        newest.drain(..newest.len().saturating_sub(count));
        Ok(newest)
    }
}

/// How many segments began before the prediction `id` was made. Its row is in the last of these, or
/// in the next one when it waited in the queue while a new segment began.
fn home(starts: &[i64], id: &str) -> usize {
    let made = id.get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    starts.partition_point(|start| *start < made)
}

/// The record of `id` and what became known of it.
pub(super) fn find(folder: &Path, id: &str) -> io::Result<Option<Logged>> {
    let segments = Segments { folder: folder.to_owned() };
    let starts = segments.starts()?;
    let home = home(&starts, id);
    for start in &starts[home.saturating_sub(1)..starts.len().min(home + 1)] {
        let mut found = None;
        segments.each_prediction(*start, id, |record| {
            if record.id == id {
                found = Some(Logged::alone(record));
            }
        })?;
        if let Some(mut logged) = found {
            each_row_with(&segments.labels_path(&starts, id), id, |row| {
                if let Row::Later(row) = row
                    && row.id() == id
                {
                    logged.learn(row);
                }
            })?;
            return Ok(Some(logged));
        }
    }
    Ok(None)
}

fn each_row(path: &Path, row: impl FnMut(Row)) -> io::Result<()> {
    each_row_with(path, "", row)
}

/// Visits the intact rows whose text contains `needle`; a missing file has none.
fn each_row_with(path: &Path, needle: &str, mut visit: impl FnMut(Row)) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if std::str::from_utf8(&line).is_ok_and(|text| text.contains(needle))
            && let Some(row) = decode(&line)
        {
            visit(row);
        }
        line.clear();
    }
    Ok(())
}

/// Opens `path` for appending whole lines: what a kill left of a last line is cut. Returns the file
/// and its length.
pub(super) fn open_for_append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    let mut length = file.metadata()?.len();
    let mut block = vec![0; 64 * 1024];
    let whole = loop {
        if length == 0 {
            break 0;
        }
        let from = length.saturating_sub(block.len() as u64);
        let part = &mut block[..(length - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(end) = part.iter().rposition(|byte| *byte == b'\n') {
            break from + end as u64 + 1;
        }
        length = from;
    };
    file.set_len(whole)?;
    file.seek(SeekFrom::Start(whole))?;
    Ok((file, whole))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    fn label(id: &str) -> LabelRow {
        LabelRow { id: id.to_owned(), label: json!(3), at: Timestamp(1) }
    }

    #[test]
    fn a_row_with_a_flipped_bit_is_no_row() {
        let mut line = Vec::new();
        Encoded::new(&label("a")).unwrap().append_to(&mut line, "label");
        assert!(matches!(decode(&line), Some(Row::Later(Later::Label(row))) if row == label("a")));
        let position = line.iter().rposition(|byte| *byte == b'3').unwrap();
        line[position] = b'4';
        assert!(decode(&line).is_none());
    }

    #[test]
    fn a_torn_last_line_is_cut_when_the_file_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000000001.jsonl");
        fs::write(&path, "{\"whole\":1}\n{\"tor").unwrap();
        let (_, length) = open_for_append(&path).unwrap();
        assert_eq!(length, 12);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"whole\":1}\n");
    }

    fn prediction(millis: i64) -> PredictionRecord {
        let id = format!("{millis:012x}{}", "0".repeat(20));
        serde_json::from_value(json!({
            "id": id, "at": Timestamp(millis), "project": "p", "environment": "e", "model": "m", "model_version": 1,
            "release": 1, "revision": "m-v1-r1", "arm": "stable", "rollout": null, "key_hash": null, "weight": 0.0,
            "status": 200, "latency_micros": 7, "rows": 1, "input_sha256": "ab", "output": [3], "label": null,
            "features": {"X": [1.0]},
        }))
        .unwrap()
    }

    #[test]
    fn all_but_the_newest_are_sealed_and_read_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::open(dir.path()).unwrap();
        for start in [100, 200, 300] {
            let mut rows = Vec::new();
            for millis in [start + 1, start + 2] {
                Encoded::new(&prediction(millis)).unwrap().append_to(&mut rows, "prediction");
            }
            fs::write(segments.path(start), rows).unwrap();
        }
        let label = LabelRow { id: prediction(102).id, label: json!(4), at: Timestamp(9) };
        let answer = CopyAnswer { rollout: "r".into(), key_hash: Some(7), output: json!([5]) };
        let copy = CopyRow { id: label.id.clone(), answer: answer.clone() };
        let mut later = Vec::new();
        let value = |value| ValueRow { id: label.id.clone(), metric: "m".to_owned(), value, at: Timestamp(9) };
        for row in [Later::Copy(copy), Later::Label(label.clone()), Later::Value(value(1.5)), Later::Value(value(9.0))]
        {
            row.append_to(&mut later).unwrap();
        }
        fs::write(segments.labels_path(&segments.starts().unwrap(), &label.id), later).unwrap();
        let before = segments.newest(10).unwrap();
        segments.seal().unwrap();
        assert_eq!(segments.starts().unwrap(), [100, 200, 300]);
        let open: Vec<bool> = [100, 200, 300].iter().map(|start| segments.path(*start).exists()).collect();
        assert_eq!(open, [false, false, true]);
        assert_eq!(segments.newest(10).unwrap(), before);
        assert_eq!(before.len(), 6);
        assert_eq!(
            find(dir.path(), &label.id).unwrap(),
            Some(Logged {
                record: prediction(102),
                label: Some(json!(4)),
                copy: Some(answer),
                values: BTreeMap::from([("m".to_owned(), 1.5)])
            })
        );
        assert_eq!(find(dir.path(), &prediction(301).id).unwrap(), Some(Logged::alone(prediction(301))));
        assert_eq!(find(dir.path(), &prediction(150).id).unwrap(), None);
        // Killed between the two: the row is there once.
        fs::write(segments.path(100), "").unwrap();
        segments.seal().unwrap();
        assert_eq!(segments.newest(10).unwrap().len(), 6, "an open form beside a sealed one is what a kill left");
    }

    #[test]
    fn the_oldest_segments_go_by_size_and_every_one_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::open(dir.path()).unwrap();
        for start in 1..=4 {
            fs::write(segments.path(start), [b'x'; 100]).unwrap();
        }
        fs::write(dir.path().join("0000000000002.labels.jsonl"), [b'x'; 100]).unwrap();
        let by = |age: Option<Duration>, bytes| segments.expire(Retention { age, bytes }).unwrap();
        assert_eq!(by(None, None), Expired::default());
        assert_eq!(by(None, Some(300)), Expired { count: 2, newest: false });
        assert_eq!(segments.starts().unwrap(), [3, 4]);
        assert!(!dir.path().join("0000000000002.labels.jsonl").exists());
        let old = fs::metadata(segments.path(3)).unwrap().modified().unwrap() - Duration::from_hours(2);
        File::options().write(true).open(segments.path(3)).unwrap().set_modified(old).unwrap();
        assert_eq!(by(Some(Duration::from_hours(1)), None), Expired { count: 1, newest: false });
        assert_eq!(by(None, Some(1)), Expired::default(), "the newest is written to");
        assert_eq!(by(Some(Duration::ZERO), None), Expired { count: 1, newest: true });
    }

    #[test]
    fn the_time_in_an_id_leads_to_its_segment() {
        let id = |millis: i64| format!("{millis:012x}{}", "0".repeat(20));
        let starts = [100, 200, 300];
        assert_eq!(home(&starts, &id(150)), 1);
        assert_eq!(home(&starts, &id(200)), 1);
        assert_eq!(home(&starts, &id(999)), 3);
        assert_eq!(home(&starts, "short"), 0);
    }
}
