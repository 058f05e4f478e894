"""Experiments, runs, metrics, parameters, tags, datasets: as a training script logs them."""
import math

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from refused import refused

client = MlflowClient()
first = mlflow.set_experiment("digits")
assert mlflow.set_experiment("digits").experiment_id == first.experiment_id
assert first.artifact_location == f"mlflow-artifacts:/{first.experiment_id}"

with mlflow.start_run(run_name="fit", tags={"team": "a"}) as run:
    run_id = run.info.run_id
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"depth": 3, "long": "x" * 7000})
    for step in range(5):
        mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
    mlflow.log_metrics({"a/b": 2.0, "nan": math.nan, "inf": math.inf, "ninf": -math.inf}, step=-3)
    mlflow.set_tags({"x": "1", "y": "2"})
    mlflow.log_input(mlflow.data.from_pandas(pd.DataFrame({"a": [1, 2]}), name="train"), context="training")
    with mlflow.start_run(nested=True, run_name="child") as child:
        pass

read = client.get_run(run_id)
assert read.info.status == "FINISHED" and read.info.run_name == "fit"
assert read.data.params["lr"] == "0.1" and len(read.data.params["long"]) == 6000
assert read.data.metrics["loss"] == 0.2 and read.data.metrics["a/b"] == 2.0
assert math.isnan(read.data.metrics["nan"])
assert read.data.metrics["inf"] == 1.7976931348623157e308
assert read.data.metrics["ninf"] == -1.7976931348623157e308
assert read.data.tags["mlflow.runName"] == "fit" and read.data.tags["team"] == "a"
assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run_id
[data] = read.inputs.dataset_inputs
assert data.dataset.name == "train" and data.tags[0].value == "training"

history = client.get_metric_history(run_id, "loss")
assert [m.step for m in history] == [0, 1, 2, 3, 4]
assert [m.step for m in client.get_metric_history(run_id, "nan")] == [-3]

# The same value again is fine, another one is not.
client.log_param(run_id, "lr", 0.1)
with refused("Changing param values is not allowed") as conflict:
    client.log_param(run_id, "lr", 0.2)
assert conflict.error_code == "INVALID_PARAMETER_VALUE"
with refused("Names may only contain"):
    client.log_metric(run_id, "a?b", 1.0)

# A batch larger than one request, and the same batch twice.
points = [Metric("many", i, 1000 + i, i) for i in range(1500)]
for _ in range(2):
    for at in range(0, 1500, 1000):
        client.log_batch(run_id, metrics=points[at : at + 1000])
client.log_batch(run_id, params=[Param("p", "1")], tags=[RunTag("t", "1")])
assert len(client.get_metric_history(run_id, "many")) == 1500
mlflow.log_metrics({"late": 1.0}, step=1, run_id=run_id, synchronous=False)
mlflow.flush_async_logging()
assert client.get_run(run_id).data.metrics["late"] == 1.0

client.set_tag(run_id, "mlflow.runName", "renamed")
assert client.get_run(run_id).info.run_name == "renamed"
client.update_run(run_id, name="again")
assert client.get_run(run_id).data.tags["mlflow.runName"] == "again"
client.delete_tag(run_id, "x")
assert "x" not in client.get_run(run_id).data.tags
client.delete_run(run_id)
assert client.get_run(run_id).info.lifecycle_stage == "deleted"
with refused("must be in the 'active' state"):
    client.log_metric(run_id, "loss", 1.0)
client.restore_run(run_id)

other = client.create_experiment("other", tags={"k": "v"})
client.rename_experiment(other, "renamed")
client.set_experiment_tag(other, "k2", "v2")
assert client.get_experiment(other).tags == {"k": "v", "k2": "v2"}
client.delete_experiment(other)
assert client.get_experiment_by_name("renamed").lifecycle_stage == "deleted"
with refused("already exists") as taken:
    client.create_experiment("renamed")
assert taken.error_code == "RESOURCE_ALREADY_EXISTS"
client.restore_experiment(other)
assert client.get_experiment_by_name("nothing") is None
