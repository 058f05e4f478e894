"""The calls that neptune-exporter's `load --loader mlflow` makes, in its order, with what it passes: it
cannot be installed here, its calls were read in its source."""

import pathlib

import mlflow
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

NAME = "team/vision/baseline run"

assert mlflow.get_experiment_by_name(NAME) is None
experiment = mlflow.create_experiment(NAME)
assert mlflow.get_experiment_by_name(NAME).experiment_id == experiment


def find(name):
    return mlflow.search_runs(
        experiment_ids=[experiment], filter_string=f"attributes.run_name = '{name}'", output_format="list", max_results=1
    )


def create(name, parent=None):
    with mlflow.start_run(
        experiment_id=experiment, run_name=name, tags={MLFLOW_PARENT_RUN_ID: parent} if parent else {}
    ) as active:
        return active.info.run_id


assert find("warm llama") == []
first = create("warm llama")
fork = create("VIS-2", first)
assert [run.info.run_id for run in find("warm llama")] == [first]

pathlib.Path("model.pt").write_bytes(b"\x01\x02")
source = pathlib.Path("source")
source.mkdir()
(source / "train.py").write_text("print()")
client = MlflowClient()
with mlflow.start_run(run_id=first):
    # The parts of an export come one after the other; a parameter comes once.
    for part in range(2):
        mlflow.log_params({f"config/{part}/{number}": str(number / 7) for number in range(250)})
        for key in ["metrics/loss", "metrics/acc top_1"]:
            points = [
                Metric(key=key, value=1 / (step + 1), step=step, timestamp=1_700_000_000_000 + step)
                for step in range(part * 1700, (part + 1) * 1700)
            ]
            client.log_batch(run_id=first, metrics=points)
        client.log_batch(run_id=first, metrics=[])
    mlflow.log_artifact(local_path="model.pt", artifact_path="model/best")
    mlflow.log_artifact("model.pt", artifact_path="images/step_3")
    mlflow.log_artifact(str(source), artifact_path="source_code")
    mlflow.log_text(text="0; 2023-11-14T22:13:20+00:00; began\n1; None; ended", artifact_file="log/series.txt", run_id=first)
    histogram = {"step": 0, "type": "COUNTING", "edges": [0.0, 1.0], "values": [3.0], "timestamp": None}
    mlflow.log_dict(dictionary={"histograms": [histogram]}, artifact_file="weights/histograms.json", run_id=first)

run = client.get_run(first)
assert run.info.status == "FINISHED" and len(run.data.params) == 500, (run.info.status, len(run.data.params))
assert run.data.params["config/1/249"] == str(249 / 7)
for key in ["metrics/loss", "metrics/acc top_1"]:
    history = client.get_metric_history(first, key)
    assert [(m.step, m.timestamp, m.value) for m in history] == [
        (step, 1_700_000_000_000 + step, 1 / (step + 1)) for step in range(3400)
    ]
assert client.get_run(fork).data.tags[MLFLOW_PARENT_RUN_ID] == first


def files(path=None):
    for entry in client.list_artifacts(first, path):
        yield from files(entry.path) if entry.is_dir else [entry.path]


assert sorted(files()) == [
    "images/step_3/model.pt", "log/series.txt", "model/best/model.pt", "source_code/source/train.py",
    "weights/histograms.json",
]
assert mlflow.artifacts.load_text(f"runs:/{first}/log/series.txt").endswith("1; None; ended")
assert mlflow.artifacts.load_dict(f"runs:/{first}/weights/histograms.json") == {"histograms": [histogram]}
