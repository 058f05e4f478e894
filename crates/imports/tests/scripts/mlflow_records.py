"""Writes the same records into a database and into a folder, as MLflow's own client keeps them."""

import json
import math
import os
import time

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

written = {}
for name, uri in {"database": "sqlite:///mlflow.db", "folder": "file:" + os.path.abspath("mlruns")}.items():
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.create_experiment(
        f"vision {name}", artifact_location=os.path.abspath(f"files-{name}") if name == "database" else None,
        tags={"team": "a"},
    )
    runs = []
    for n in range(3):
        run = client.create_run(experiment, start_time=1000 + n, tags={"mlflow.runName": f"r{n}", "note": "x\ny"})
        points = [Metric("loss", 1 / (i + 1), 5_000 + i, i) for i in range(1500)]
        points += [Metric("a/b", math.nan, 7, -1), Metric("a/b", math.inf, 8, 2)]
        for first in range(0, len(points), 1000):
            client.log_batch(run.info.run_id, points[first : first + 1000])
        client.log_batch(run.info.run_id, params=[Param("lr", "0.1"), Param("deep/key", "é")], tags=[RunTag("t", str(n))])
        client.log_text(run.info.run_id, "hello", "model/notes.txt")
        client.set_terminated(run.info.run_id, "FAILED" if n else "FINISHED", end_time=9000 + n)
        runs.append(run.info.run_id)
    client.delete_run(runs[2])
    client.create_registered_model("digits", tags={"k": "v"}, description="words")
    source = f"{client.get_run(runs[0]).info.artifact_uri}/model"
    for _ in range(3):
        client.create_model_version("digits", source, run_id=runs[0], tags={"from": name})
    client.delete_model_version("digits", "2")
    client.set_registered_model_alias("digits", "champion", "3")
    written[name] = runs
print(json.dumps(written))
