"""Logs to a running MLflow server what a team leaves there: runs with children, datasets, a model."""

import json
import math

import mlflow
import pandas
from mlflow import MlflowClient
from mlflow.entities import Metric
from sklearn.linear_model import LinearRegression

client = MlflowClient()
mlflow.set_experiment("vision")
frame = pandas.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]})
with mlflow.start_run(run_name="parent") as parent:
    mlflow.log_params({"lr": "0.1", "deep/key": "é"})
    points = [Metric("loss", 1 / (i + 1), 5_000 + i, i) for i in range(2500)]
    for first in range(0, len(points), 1000):
        client.log_batch(parent.info.run_id, points[first : first + 1000])
    client.log_batch(parent.info.run_id, [Metric("odd", math.nan, 7, -1), Metric("odd", math.inf, 8, 2)])
    mlflow.log_input(mlflow.data.from_pandas(frame, name="lines", targets="y"), context="training")
    mlflow.log_text("hello", "notes/ä b.txt")
    fitted = LinearRegression().fit(frame[["x"]], frame["y"])
    logged = mlflow.sklearn.log_model(fitted, name="line", input_example=frame[["x"]])
    mlflow.log_metric("fit", 0.75, step=3, model_id=logged.model_id)
    with mlflow.start_run(run_name="child", nested=True) as child:
        mlflow.set_tag("note", "x\ny")
gone = client.create_run(parent.info.experiment_id)
client.delete_run(gone.info.run_id)
client.create_registered_model("line's", tags={"k": "v"}, description="words")
for _ in range(3):
    client.create_model_version("line's", f"models:/{logged.model_id}", run_id=parent.info.run_id, model_id=logged.model_id)
client.delete_model_version("line's", "2")
client.transition_model_version_stage("line's", "1", "Staging")
client.set_registered_model_alias("line's", "champion", "3")
print(json.dumps({"parent": parent.info.run_id, "child": child.info.run_id, "model": logged.model_id}))
