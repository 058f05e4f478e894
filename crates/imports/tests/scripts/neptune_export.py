"""An export as neptune-exporter writes it, by its schema: the exporter itself cannot be had here, and the
service that it asked is closed."""

import datetime
import decimal
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

UTC_MS = pa.timestamp("ms", tz="UTC")
SCHEMA = pa.schema([
    ("project_id", pa.string()), ("run_id", pa.string()), ("attribute_path", pa.string()),
    ("attribute_type", pa.string()), ("step", pa.decimal128(18, 6)), ("timestamp", UTC_MS),
    ("int_value", pa.int64()), ("float_value", pa.float64()), ("string_value", pa.string()),
    ("bool_value", pa.bool_()), ("datetime_value", UTC_MS), ("string_set_value", pa.list_(pa.string())),
    ("file_value", pa.struct([("path", pa.string())])),
    ("histogram_value", pa.struct([
        ("type", pa.string()), ("edges", pa.list_(pa.float64())), ("values", pa.list_(pa.float64())),
    ])),
])
COLUMNS = {
    "int": "int_value", "float": "float_value", "string": "string_value", "bool": "bool_value",
    "datetime": "datetime_value", "string_set": "string_set_value", "file": "file_value", "file_series": "file_value",
    "file_set": "file_value", "float_series": "float_value", "string_series": "string_value",
    "histogram_series": "histogram_value",
}


def at(seconds):
    return datetime.datetime.fromtimestamp(1_700_000_000 + seconds, datetime.timezone.utc)


def row(run, path, kind, value, step=None, timestamp=None):
    if kind.startswith("file"):
        value = {"path": value}
    step = None if step is None else decimal.Decimal(step).quantize(decimal.Decimal("0.000001"))
    return {
        "project_id": "team/vision", "run_id": run, "attribute_path": path, "attribute_type": kind, "step": step,
        "timestamp": timestamp, COLUMNS[kind]: value,
    }


def part(run, number, rows, suffix=""):
    folder = pathlib.Path("exports/data/team_vision-0123456789abcdef")
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([row(run, *fields) for fields in rows], schema=SCHEMA)
    pq.write_table(table, folder / f"{run}-fedcba_part_{number}.parquet{suffix}", compression="snappy")


files = pathlib.Path("exports/files/team_vision-0123456789abcdef/VIS-1")
(files / "source").mkdir(parents=True)
(files / "model.pt").write_bytes(b"\x01\x02")
(files / "image_0.png").write_bytes(b"png")
(files / "source/train.py").write_text("print()")
root = "team_vision-0123456789abcdef/VIS-1"

part("VIS-1", 0, [
    ("sys/creation_time", "datetime", at(0)),
    ("sys/ping_time", "datetime", at(100)),
    ("sys/custom_run_id", "string", "warm llama"),
    ("sys/id", "string", "VIS-1"),
    ("sys/owner", "string", "ada"),
    ("sys/name", "string", "baseline"),
    ("sys/description", "string", "what it is for"),
    ("sys/tags", "string_set", ["b", "a"]),
    ("sys/failed", "bool", False),
    ("config/lr", "float", 1e-7),
    ("config/epochs", "int", 3),
    ("config/amp", "bool", True),
    ("config/when", "datetime", at(5)),
    ("config/layers (all)", "string_set", ["y", "x"]),
    ("config/long", "string", "é" * 7000),
    ("model/best", "file", f"{root}/model.pt"),
    ("model/gone", "file", f"{root}/gone.pt"),
    ("model/outside", "file", "../../../etc/hostname"),
    ("source", "file_set", f"{root}/source"),
])
part("VIS-1", 1, [("metrics/loss", "float_series", 1 / (step + 1), step, at(step)) for step in range(1500)] + [
    ("metrics/acc", "float_series", float("nan"), "0.5", at(1)),
    ("metrics/acc", "float_series", 0.75, "1.25", None),
    ("images", "file_series", f"{root}/image_0.png", 0, at(1)),
    ("log", "string_series", "began", 0, at(1)),
    ("log", "string_series", "ended; well", 1, at(2)),
    ("weights", "histogram_series", {"type": "COUNTING", "edges": [0.0, 1.0, 2.0], "values": [3.0, 4.0]}, 0, at(1)),
])
part("VIS-2", 0, [
    ("sys/creation_time", "datetime", at(50)),
    ("sys/forking/parent", "string", "warm llama"),
    ("sys/failed", "bool", True),
    ("metrics/loss", "float_series", 0.5, 0, at(51)),
])
# The exporter was stopped: the first part still has the name that it had while it was written.
part("VIS-3", 0, [("sys/creation_time", "datetime", at(60))], suffix=".tmp")
part("VIS-3", 1, [("metrics/loss", "float_series", 0.5, 0, at(61))])
