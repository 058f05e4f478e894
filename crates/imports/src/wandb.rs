//! Offline runs of Weights & Biases: `.wandb` files. A project becomes an experiment, the config
//! parameters, numbers of the history series, the rest of the summary tags, files artifacts.

pub mod mapping;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use towpath_core::Timestamp;
use towpath_core::protobuf::{Value, fields};
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{Lifecycle, adopt};

use crate::ImportError;
use crate::recorded::{Recorded, files_where};
use crate::records::crc32;

const ZLIB: u32 = 0xEDB8_8320;
const BLOCK: usize = 32 * 1024;
/// `:W&B`, 0xBEE1, version 0.
const HEADER: [u8; 7] = *b":W&B\xe1\xbe\x00";

/// Reads a `.wandb` file, or all below a folder.
pub(crate) fn read(root: &Path) -> Result<Recorded, ImportError> {
    let mut recorded = Recorded::default();
    for path in files_where(root, |name| name.ends_with(".wandb"))? {
        let bytes = fs::read(&path).map_err(ImportError::file(&path))?;
        let records = records(&bytes).ok_or_else(|| ImportError::content(&path, "this is no .wandb file"))?;
        let mut run = Run::default();
        for record in &records {
            run.record(record);
        }
        let files = path.with_file_name("files");
        let (experiment, adopted) = run.adopted(&files)?;
        recorded.add(&experiment, adopted, run.series);
    }
    Ok(recorded)
}

/// The payloads of a LevelDB log as wandb writes it, up to the first damaged one; `None` if the file
/// does not begin as one.
fn records(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !bytes.starts_with(&HEADER) {
        return None;
    }
    let (mut records, mut begun, mut at) = (Vec::new(), Vec::new(), HEADER.len());
    loop {
        // The rest of a block is too short for another head.
        let left = BLOCK - at % BLOCK;
        if left < 7 {
            at += left;
        }
        let Some(head) = bytes.get(at..at + 7) else { return Some(records) };
        let sum = [head[0], head[1], head[2], head[3]];
        let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let Some(data) = bytes.get(at + 7..at + 7 + length) else { return Some(records) };
        if crc32(ZLIB, &[&head[6..7], data]).to_le_bytes() != sum {
            return Some(records);
        }
        begun.extend_from_slice(data);
        // 1 whole, 2 first, 3 middle, 4 last.
        if matches!(head[6], 1 | 4) {
            records.push(std::mem::take(&mut begun));
        }
        at += 7 + length;
    }
}

#[derive(Default)]
struct Run {
    id: String,
    entity: String,
    project: String,
    name: String,
    notes: String,
    group: String,
    job_type: String,
    tags: Vec<String>,
    started: i64,
    config: BTreeMap<String, Json>,
    summary: BTreeMap<String, Json>,
    series: adopt::Series,
    latest: i64,
    exit_code: Option<i64>,
}

impl Run {
    fn record(&mut self, record: &[u8]) {
        for (number, value) in fields(record) {
            let message = value.bytes();
            match number {
                2 => self.history(message),
                3 => self.summary.extend(items(message)),
                5 => self.config.extend(items(message)),
                17 => self.run(message),
                18 => {
                    let code = fields(message).find(|(number, _)| *number == 1).map_or(0, |(_, code)| code.int());
                    self.exit_code = Some(code);
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, message: &[u8]) {
        for (number, value) in fields(message) {
            match number {
                1 => self.id = value.text(),
                2 => self.entity = value.text(),
                3 => self.project = value.text(),
                4 => self.config.extend(items(value.bytes())),
                5 => self.summary.extend(items(value.bytes())),
                6 => self.group = value.text(),
                7 => self.job_type = value.text(),
                8 => self.name = value.text(),
                9 => self.notes = value.text(),
                10 => self.tags.push(value.text()),
                17 => {
                    let part = |wanted| {
                        fields(value.bytes()).find(|(number, _)| *number == wanted).map_or(0, |(_, v)| v.int())
                    };
                    self.started = part(1) * 1000 + part(2) / 1_000_000;
                }
                _ => {}
            }
        }
    }

    fn history(&mut self, message: &[u8]) {
        let row: BTreeMap<String, Json> = items(message).collect();
        let explicit = fields(message).find(|(number, _)| *number == 2).and_then(|(_, step)| {
            fields(step.bytes()).find(|(number, _)| *number == 1).map(|(_, number)| number.int())
        });
        for (name, point) in mapping::points(&row, explicit.unwrap_or(0), self.started) {
            self.latest = self.latest.max(point.at);
            self.series.entry(name).or_default().push(point);
        }
    }

    /// The name of its experiment, and the run.
    fn adopted(&self, files: &Path) -> Result<(String, adopt::Run), ImportError> {
        if self.id.is_empty() {
            return Err(ImportError::content(files, "the .wandb file beside it does not say which run it is"));
        }
        let params = mapping::params(&self.config);
        let name = if self.name.is_empty() { &self.id } else { &self.name };
        let mut tags =
            BTreeMap::from([("mlflow.runName".to_owned(), name.clone()), ("wandb.run_id".to_owned(), self.id.clone())]);
        let tag_list = self.tags.join(",");
        for (key, value) in [
            ("mlflow.note.content", &self.notes),
            ("wandb.group", &self.group),
            ("wandb.job_type", &self.job_type),
            ("wandb.tags", &tag_list),
        ] {
            if !value.is_empty() {
                tags.insert(key.to_owned(), value.clone());
            }
        }
        tags.extend(mapping::summary_tags(&self.summary));
        let experiment = mapping::experiment(&self.project);
        let run = adopt::Run {
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
            run_id: mapping::run_id(&self.entity, experiment, &self.id),
            name: name.clone(),
            user: self.entity.clone(),
            status: match self.exit_code {
                None => RunStatus::Running,
                Some(0) => RunStatus::Finished,
                Some(_) => RunStatus::Failed,
            },
            start_time: Timestamp(self.started),
            end_time: self.exit_code.map(|_| Timestamp(self.latest.max(self.started))),
            lifecycle: Lifecycle::Active,
            artifact_uri: files.is_dir().then(|| files.display().to_string()),
            params,
            tags,
        };
        Ok((experiment.to_owned(), run))
    }
}

/// The items of a config, a summary or a history: `update` or `item` is field 1 in all of them.
fn items(message: &[u8]) -> impl Iterator<Item = (String, Json)> {
    fields(message).filter(|(number, _)| *number == 1).filter_map(|(_, item)| {
        let (mut key, mut nested, mut json) = (String::new(), Vec::new(), String::new());
        for (number, value) in fields(item.bytes()) {
            match (number, value) {
                (1, Value::Bytes(_)) => key = value.text(),
                (2, Value::Bytes(_)) => nested.push(value.text()),
                (16, Value::Bytes(_)) => json = value.text(),
                _ => {}
            }
        }
        let name = if nested.is_empty() { key } else { nested.join(".") };
        let value = mapping::json(&json).unwrap_or(Json::String(json));
        (!name.is_empty()).then_some((name, value))
    })
}
