"""Runs of the unmodified client, one after the other in one process."""

import glob
import math
import os
import subprocess
import sys

import wandb
from mlflow import MlflowClient


def settings():
    return wandb.Settings(console="wrap")


os.mkdir("folder")
with open("folder/kept.txt", "w") as file:
    file.write("kept")

config = {"lr": 0.1, "optimizer": {"name": "adam"}}
with wandb.init(
    project="vision", id="first", name="a first one", config=config, tags=["a", "b"], group="g",
    notes="what it is for", settings=settings(),
) as run:
    assert run.entity == "local" and run.project == "vision", (run.entity, run.project)
    for step in range(5):
        run.log({"loss": 1 / (step + 1), "acc": {"top1": step}, "nan": float("nan"), "inf": float("inf")})
    run.config.update({"epochs": 3})
    run.config.update({"lr": 0.2}, allow_val_change=True)
    run.summary["best"] = 0.25
    run.save("folder/kept.txt")
    print("said on the console")

with wandb.init(project="vision", id="first", resume="must", settings=settings()) as run:
    assert run.resumed and run.starting_step == 5, (run.resumed, run.starting_step)
    assert run.config["lr"] == 0.2 and run.config["optimizer"] == {"name": "adam"}, dict(run.config)
    assert run.summary["best"] == 0.25, dict(run.summary)
    for step in range(5, 8):
        run.log({"loss": 1 / (step + 1)})

try:
    wandb.init(project="vision", id="never-begun", resume="must", settings=settings())
except wandb.Error as error:
    assert "never-begun" in str(error), error
else:
    raise AssertionError("a run that is not there was resumed")

run = wandb.init(project="vision", id="failing", settings=settings())
run.log({"loss": 1})
run.finish(exit_code=1)

for value in [6.0, 7.0]:
    with wandb.init(project="vision", id="anew", settings=settings()) as run:
        run.log({"loss": value})

try:
    wandb.init(project="a/b", settings=settings())
except wandb.Error:
    pass
else:
    raise AssertionError("a name that is none was accepted")

with wandb.init(
    project="vision", id="offline", name="was offline", config={"lr": 3}, mode="offline", settings=settings()
) as run:
    for step in range(10):
        run.log({"loss": step})
    made = wandb.Artifact("later", type="dataset")
    made.add_file("folder/kept.txt")
    run.log_artifact(made)
[offline] = glob.glob("wandb/offline-run-*-offline")
subprocess.run([os.path.join(os.path.dirname(sys.executable), "wandb"), "sync", offline], check=True)

# MLflow's client reads the same.
client = MlflowClient()
experiment = client.get_experiment_by_name("vision")
runs = {run.data.tags["wandb.run_id"]: run for run in client.search_runs([experiment.experiment_id])}
assert sorted(runs) == ["anew", "failing", "first", "offline"], sorted(runs)
first = runs["first"]
assert (first.info.status, first.data.params["optimizer.name"], first.data.tags["wandb.group"]) == ("FINISHED", "adam", "g")
history = client.get_metric_history(first.info.run_id, "loss")
assert [(point.step, point.value) for point in history] == [(step, 1 / (step + 1)) for step in range(8)]
assert math.isnan(client.get_metric_history(first.info.run_id, "nan")[0].value)
assert runs["failing"].info.status == "FAILED" and runs["offline"].data.params == {"lr": "3"}
assert len(client.get_metric_history(runs["offline"].info.run_id, "loss")) == 10
assert runs["offline"].data.tags["wandb.artifact.later"] == "vision/later:v0"
assert "folder" in [file.path for file in client.list_artifacts(first.info.run_id)]
