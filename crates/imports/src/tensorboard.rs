//! TensorBoard's event files: a run for each folder that has some, its scalars as series.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use towpath_core::Timestamp;
use towpath_core::protobuf::{Value, fields};
use towpath_tracking::metrics::Point;
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{Lifecycle, adopt};

use crate::ImportError;
use crate::recorded::{Recorded, files_where, id_of, key_of};
use crate::records::crc32;

const CASTAGNOLI: u32 = 0x82F6_3B78;
/// The types of TensorFlow that a scalar has.
const FLOAT: i64 = 1;
const DOUBLE: i64 = 2;

/// Reads all event files below a folder.
pub(crate) fn read(root: &Path, experiment: &str) -> Result<Recorded, ImportError> {
    let mut folders: BTreeMap<String, Events> = BTreeMap::new();
    for path in files_where(root, |name| name.contains("tfevents"))? {
        let folder = path.parent().unwrap_or(root);
        let name = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
        let bytes = fs::read(&path).map_err(ImportError::file(&path))?;
        let events = folders.entry(name).or_default();
        if !events.read(&bytes) {
            return Err(ImportError::content(&path, "a record before the last one is damaged"));
        }
    }
    let mut recorded = Recorded::default();
    for (name, events) in folders {
        let shown = if name.is_empty() { experiment.to_owned() } else { name.clone() };
        let run = adopt::Run {
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
            run_id: id_of(&["tensorboard", experiment, &name]),
            name: shown.clone(),
            user: String::new(),
            status: RunStatus::Finished,
            start_time: Timestamp(events.first.unwrap_or(0)),
            end_time: Some(Timestamp(events.last.unwrap_or(0))),
            lifecycle: Lifecycle::Active,
            artifact_uri: None,
            params: BTreeMap::new(),
            tags: BTreeMap::from([("mlflow.runName".to_owned(), shown)]),
        };
        recorded.add(experiment, run, events.series);
    }
    Ok(recorded)
}

#[derive(Default)]
struct Events {
    series: adopt::Series,
    /// Milliseconds of the first and the last event.
    first: Option<i64>,
    last: Option<i64>,
}

impl Events {
    /// Reads the records of one file; false if one is damaged that is not the last: what was being
    /// written when a program ended is often half a record.
    fn read(&mut self, mut rest: &[u8]) -> bool {
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let whole = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|n| after.get(4..n.checked_add(8)?));
            let Some((payload, sum)) = whole.and_then(|body| body.split_last_chunk::<4>()) else {
                return after.len() < 4 || masked(length) == after[..4];
            };
            if masked(length) != after[..4] || masked(payload) != *sum {
                return after.len() == payload.len() + 8;
            }
            self.event(payload);
            rest = &after[payload.len() + 8..];
        }
        true
    }

    fn event(&mut self, event: &[u8]) {
        let (mut at, mut step) = (0, 0);
        for (number, value) in fields(event) {
            match (number, value) {
                (1, Value::Fixed64(bytes)) => at = (f64::from_le_bytes(bytes) * 1000.0).max(0.0) as i64,
                (2, step_of) => step = step_of.int(),
                (5, summary) => self.summary(summary.bytes(), at, step),
                _ => {}
            }
        }
        self.first.get_or_insert(at);
        self.last = Some(at);
    }

    fn summary(&mut self, summary: &[u8], at: i64, step: i64) {
        for (_, value) in fields(summary).filter(|(number, _)| *number == 1) {
            let mut tag = String::new();
            let mut scalar = None;
            for (number, field) in fields(value.bytes()) {
                match (number, field) {
                    (1, name) => tag = name.text(),
                    (2, Value::Fixed32(bytes)) => scalar = Some(f64::from(f32::from_le_bytes(bytes))),
                    (8, tensor) => scalar = scalar_of(tensor.bytes()),
                    _ => {}
                }
            }
            if let Some(value) = scalar {
                self.series.entry(key_of(&tag)).or_default().push(Point { step, at, value });
            }
        }
    }
}

/// The number in a tensor of one element.
fn scalar_of(tensor: &[u8]) -> Option<f64> {
    let mut kind = 0;
    let mut numbers: Vec<f64> = Vec::new();
    for (number, field) in fields(tensor) {
        match (number, field) {
            (1, dtype) => kind = dtype.int(),
            // tensor_content and packed float_val have the same bytes.
            (4 | 5, Value::Bytes(bytes)) if kind == FLOAT => {
                numbers.extend(bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))));
            }
            (4 | 6, Value::Bytes(bytes)) if kind == DOUBLE => {
                numbers.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)));
            }
            (5, Value::Fixed32(bytes)) => numbers.push(f64::from(f32::from_le_bytes(bytes))),
            (6, Value::Fixed64(bytes)) => numbers.push(f64::from_le_bytes(bytes)),
            _ => {}
        }
    }
    if let [number] = numbers[..] { Some(number) } else { None }
}

/// The checksum as TFRecord files have it.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32(CASTAGNOLI, &[bytes]);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}
