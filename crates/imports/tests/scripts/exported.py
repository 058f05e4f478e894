"""A real MLflow server has what was exported to it, and its client loads the model."""

import math

import mlflow
import pandas
from mlflow import MlflowClient

client = MlflowClient()
experiment = client.get_experiment_by_name("vision")
runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
assert set(runs) == {"parent", "child"}, runs
parent = runs["parent"]
assert parent.data.params == {"lr": "0.1", "deep/key": "é"}, parent.data.params
assert runs["child"].data.tags["mlflow.parentRunId"] == parent.info.run_id
assert runs["child"].data.tags["note"] == "x\ny"
assert parent.info.status == "FINISHED" and parent.info.end_time
history = client.get_metric_history(parent.info.run_id, "loss")
assert len(history) == 2500 and history[-1].timestamp == 7499
assert math.isnan(client.get_metric_history(parent.info.run_id, "odd")[0].value)
assert parent.inputs.dataset_inputs[0].dataset.name == "lines"
assert parent.inputs.dataset_inputs[0].tags[0].value == "training"
assert mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/notes/ä b.txt") == "hello"

model = client.get_registered_model("line's")
assert (model.description, model.tags, model.aliases) == ("words", {"k": "v"}, {"champion": "3"}), model
numbers = {int(v.version): v for v in client.search_model_versions("name = \"line's\"")}
assert sorted(numbers) == [1, 3] and numbers[1].current_stage == "Staging", numbers
assert numbers[3].run_id == parent.info.run_id
[logged] = client.search_logged_models([experiment.experiment_id])
assert (logged.name, str(logged.status), logged.source_run_id) == ("line", "READY", parent.info.run_id), logged
fit = next(m for m in logged.metrics if m.key == "fit")
assert (fit.value, fit.step) == (0.75, 3), fit
assert parent.outputs.model_outputs[0].model_id == logged.model_id
loaded = mlflow.pyfunc.load_model("models:/line's@champion")
assert abs(loaded.predict(pandas.DataFrame({"x": [10.0]}))[0] - 21.0) < 1e-6
