"""Logs offline with the real clients, in two parts: `begin`, and `go_on` after a sync to the server in argv[2]."""

import json
import os
import sys
import time

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")

from dvclive import Live
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

part = sys.argv[1]
offline = MlflowClient(tracking_uri="file:" + os.path.abspath("mlruns"), registry_uri="file:" + os.path.abspath("mlruns"))


def log(run, steps):
    points = [Metric("loss", 1 / (step + 1), 5_000 + step, step) for step in steps]
    for first in range(0, len(points), 1000):
        offline.log_batch(run, points[first : first + 1000])


def live(resume):
    with Live("dvclive", resume=resume, save_dvc_exp=False, dvcyaml=None) as live:
        if not resume:
            live.log_params({"lr": 0.1, "net": {"depth": 2}, "sizes": [1, 2]})
        for step in range(3):
            live.log_metric("train/loss", 1 / (live.step + 1))
            live.log_metric("acc", 0.5, plot=False)
            live.next_step()


if part == "begin":
    experiment = offline.create_experiment("offline", tags={"team": "a"})
    done = offline.create_run(experiment, run_name="done").info.run_id
    log(done, range(3000))
    offline.log_batch(done, params=[Param("lr", "0.1")])
    offline.log_text(done, "hello", "model/notes.txt")
    offline.set_terminated(done)
    growing = offline.create_run(experiment, run_name="growing", tags={"mlflow.parentRunId": done}).info.run_id
    log(growing, range(10))
    offline.log_text(growing, "a", "log.txt")
    offline.create_registered_model("digits")
    offline.create_model_version("digits", f"{offline.get_run(done).info.artifact_uri}/model", run_id=done)
    offline.set_registered_model_alias("digits", "champion", "1")
    live(resume=False)
    print(json.dumps({"done": done, "growing": growing}))
else:
    there = MlflowClient(tracking_uri=sys.argv[2])
    experiment = there.get_experiment_by_name("offline").experiment_id
    runs = {run.info.run_name: run for run in there.search_runs([experiment])}
    done, growing = runs["done"], runs["growing"]
    assert (done.info.status, growing.info.status) == ("FINISHED", "RUNNING"), runs
    assert done.info.end_time and done.data.params == {"lr": "0.1"}, done
    theirs = offline.get_run(done.info.run_id)
    assert (theirs.info.start_time, theirs.info.end_time) == (done.info.start_time, done.info.end_time)
    assert growing.data.tags["mlflow.parentRunId"] == done.info.run_id, "the ids are those of the folder"
    history = there.get_metric_history(done.info.run_id, "loss")
    assert [(p.step, p.timestamp, p.value) for p in history] == [(s, 5_000 + s, 1 / (s + 1)) for s in range(3000)]
    version = there.get_model_version_by_alias("digits", "champion")
    assert version.run_id == done.info.run_id, version
    path = there.download_artifacts(done.info.run_id, "model/notes.txt", ".")
    assert open(path).read() == "hello"
    live_runs = there.search_runs([there.get_experiment_by_name("work").experiment_id])
    assert len(live_runs) == 1, live_runs
    assert live_runs[0].data.params == {"lr": "0.1", "net.depth": "2", "sizes": "[1,2]"}, live_runs[0].data
    points = there.get_metric_history(live_runs[0].info.run_id, "train/loss")
    assert [(p.step, p.value) for p in points] == [(0, 1), (1, 1 / 2), (2, 1 / 3)], points
    assert live_runs[0].data.metrics["acc"] == 0.5, live_runs[0].data
    names = {file.path for file in there.list_artifacts(live_runs[0].info.run_id)}
    assert {"metrics.json", "params.yaml", "plots"} <= names, names

    log(growing.info.run_id, range(10, 15))
    offline.log_batch(growing.info.run_id, params=[Param("late", "1")])
    offline.log_text(growing.info.run_id, "b", "log.txt")
    offline.set_tag(growing.info.run_id, "note", "changed")
    offline.set_terminated(growing.info.run_id, "FAILED")
    live(resume=True)
