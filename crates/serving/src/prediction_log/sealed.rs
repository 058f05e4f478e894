//! Sealed segments: Parquet files for whoever analyses predictions, and for `trace`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{Row, RowAccessor as _};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use towpath_api::control::PredictionRecord;
use towpath_core::Timestamp;

/// `output` and `features` are JSON: every model has its own.
const SCHEMA: &str = "message predictions {
  required binary id (string);
  required int64 at (timestamp(millis, true));
  required binary project (string);
  required binary environment (string);
  required binary model (string);
  required int64 model_version;
  required int64 release;
  required binary revision (string);
  required binary arm (string);
  optional binary rollout (string);
  optional int64 key_hash (integer(64, false));
  required double weight;
  required int32 status;
  required int64 latency_micros;
  required int32 rows;
  required binary input_sha256 (string);
  required binary output (string);
  optional binary features (string);
}";

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

/// Writes `records` whole and on disk, or nothing.
pub(super) fn write(path: &Path, records: &[PredictionRecord]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let schema = Arc::new(parse_message_type(SCHEMA).map_err(failed)?);
    let level = ZstdLevel::try_new(3).map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = SerializedFileWriter::new(file.as_file(), schema, Arc::new(properties)).map_err(failed)?;
    let mut rows = writer.next_row_group().map_err(failed)?;
    let mut number = 0;
    while let Some(mut column) = rows.next_column().map_err(failed)? {
        write_column(number, column.untyped(), records).map_err(failed)?;
        column.close().map_err(failed)?;
        number += 1;
    }
    rows.close().map_err(failed)?;
    writer.close().map_err(failed)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn write_column(
    number: usize,
    column: &mut ColumnWriter<'_>,
    records: &[PredictionRecord],
) -> Result<(), ParquetError> {
    match column {
        ColumnWriter::ByteArrayColumnWriter(column) => {
            let values: Vec<Option<ByteArray>> =
                records.iter().map(|record| text(number, record).map(|text| text.as_str().into())).collect();
            let defined: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            let values: Vec<ByteArray> = values.into_iter().flatten().collect();
            column.write_batch(&values, Some(&defined), None)?;
        }
        ColumnWriter::Int64ColumnWriter(column) => {
            let values: Vec<Option<i64>> = records.iter().map(|record| long(number, record)).collect();
            let defined: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            let values: Vec<i64> = values.into_iter().flatten().collect();
            column.write_batch(&values, Some(&defined), None)?;
        }
        ColumnWriter::Int32ColumnWriter(column) => {
            let value =
                |record: &PredictionRecord| if number == 12 { i32::from(record.status) } else { record.rows as i32 };
            column.write_batch(&records.iter().map(value).collect::<Vec<_>>(), None, None)?;
        }
        ColumnWriter::DoubleColumnWriter(column) => {
            let weights: Vec<f64> = records.iter().map(|record| record.weight).collect();
            column.write_batch(&weights, None, None)?;
        }
        _ => return Err(ParquetError::General(format!("column {number} of {SCHEMA}"))),
    }
    Ok(())
}

/// The text of a column, in the order of [`SCHEMA`].
fn text(column: usize, record: &PredictionRecord) -> Option<String> {
    Some(match column {
        0 => record.id.clone(),
        2 => record.project.clone(),
        3 => record.environment.clone(),
        4 => record.model.clone(),
        7 => record.revision.clone(),
        8 => record.arm.clone(),
        9 => return record.rollout.clone(),
        15 => record.input_sha256.clone(),
        16 => record.output.to_string(),
        _ => return record.features.as_ref().map(Value::to_string),
    })
}

fn long(column: usize, record: &PredictionRecord) -> Option<i64> {
    Some(match column {
        1 => record.at.millis(),
        5 => record.model_version,
        6 => record.release,
        10 => return record.key_hash.map(u64::cast_signed),
        _ => record.latency_micros.cast_signed(),
    })
}

/// Visits the records of a sealed segment; false of a file that is not there.
pub(super) fn each(path: &Path, mut visit: impl FnMut(PredictionRecord)) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    for row in reader.get_row_iter(None).map_err(failed)? {
        visit(record(&row.map_err(failed)?).map_err(failed)?);
    }
    Ok(true)
}

fn record(row: &Row) -> Result<PredictionRecord, ParquetError> {
    let text = |column| row.get_string(column).cloned();
    let json = |text: &str| serde_json::from_str(text).map_err(|error| ParquetError::External(error.into()));
    Ok(PredictionRecord {
        id: text(0)?,
        at: Timestamp(row.get_timestamp_millis(1)?),
        project: text(2)?,
        environment: text(3)?,
        model: text(4)?,
        model_version: row.get_long(5)?,
        release: row.get_long(6)?,
        revision: text(7)?,
        arm: text(8)?,
        // Without a value they have another type.
        rollout: text(9).ok(),
        key_hash: row.get_ulong(10).ok(),
        weight: row.get_double(11)?,
        status: u16::try_from(row.get_int(12)?).unwrap_or_default(),
        latency_micros: row.get_long(13)?.cast_unsigned(),
        rows: row.get_int(14)?.cast_unsigned(),
        input_sha256: text(15)?,
        output: json(row.get_string(16)?)?,
        features: row.get_string(17).ok().map(|text| json(text)).transpose()?,
        label: None,
        values: BTreeMap::new(),
        note: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sealed_record_is_read_as_it_was_written_also_by_pyarrow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.parquet");
        let full = PredictionRecord {
            id: "019000000000700080000000000000ab".into(),
            at: Timestamp(1_767_225_600_123),
            project: "digits".into(),
            environment: "production".into(),
            model: "digits".into(),
            model_version: 2,
            release: 4,
            revision: "digits-v2-r4".into(),
            arm: "candidate".into(),
            rollout: Some("r".into()),
            key_hash: Some(u64::MAX - 1),
            weight: 0.25,
            status: 200,
            latency_micros: 812,
            rows: 1,
            input_sha256: "ab".into(),
            output: json!([3]),
            features: Some(json!({"X": [[1.0, null]], "city": "***"})),
            label: None,
            values: BTreeMap::new(),
            note: None,
        };
        let bare = PredictionRecord {
            rollout: None,
            key_hash: None,
            features: None,
            output: Value::Null,
            status: 500,
            ..full.clone()
        };
        write(&path, &[full.clone(), bare.clone()]).unwrap();
        let mut read = Vec::new();
        assert!(each(&path, |record| read.push(record)).unwrap());
        assert_eq!(read, [full, bare]);
        let script = "import sys, pyarrow.parquet as p; rows = p.read_table(sys.argv[1]).to_pylist(); \
                      print([(r['status'], r['key_hash'], r['features'], r['at'].isoformat()) for r in rows])";
        let python = towpath_testkit::python::program("python").unwrap();
        let output = std::process::Command::new(python).args(["-c", script]).arg(&path).output().unwrap();
        let at = "'2026-01-01T00:00:00.123000+00:00'";
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            format!(
                "[(200, 18446744073709551614, '{{\"X\":[[1.0,null]],\"city\":\"***\"}}', {at}), (500, None, None, {at})]"
            ),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!each(&dir.path().join("none.parquet"), |_| ()).unwrap());
        std::fs::write(&path, "PAR1 and no more").unwrap();
        assert!(each(&path, |_| ()).is_err());
    }
}
