"""What scripts read and change by `wandb.Api()`, of runs of this client and of MLflow's."""

import pathlib

import mlflow
import wandb

for number in range(3):
    config = {"lr": 0.1 * (number + 1), "optimizer": {"name": "adam"}, "deep": number > 0}
    with wandb.init(
        project="vision", id=f"run{number}", name=f"number {number}", config=config, tags=["x", f"t{number}"], group="g",
        settings=wandb.Settings(console="off"),
    ) as run:
        for step in range(1200 if number == 0 else 3):
            run.log({"loss": 1 / (step + 1 + number), "acc": {"top1": step}, "nan": float("nan")})
        run.summary["best"] = number
        pathlib.Path("kept.txt").write_text(f"kept {number}")
        run.save("kept.txt")
        if number == 0:
            run.link_model("kept.txt", "digits", name="net", aliases=["checked"])

mlflow.set_experiment("vision")
with mlflow.start_run(run_name="of mlflow") as logged:
    mlflow.log_param("lr", 7)
    mlflow.log_metric("loss", 0.25, step=4)

# What was linked into the registry is a registered model of MLflow.
version = mlflow.MlflowClient().get_model_version_by_alias("digits", "checked")
assert version.version == "1" and mlflow.get_run(version.run_id).data.tags["wandb.run_id"] == "run0", version
folder = pathlib.Path(mlflow.artifacts.download_artifacts("models:/digits@checked"))
assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("kept.txt", "kept 0")]

api = wandb.Api()
run = api.run("local/vision/run0")
assert (run.name, run.state, run.entity, run.project) == ("number 0", "finished", "local", "vision"), run
assert run.config == {"lr": 0.1, "optimizer": {"name": "adam"}, "deep": False}, run.config
assert run.summary["best"] == 0 and run.summary["loss"] == 1 / 1200, dict(run.summary)
assert sorted(run.tags) == ["t0", "x"] and run.group == "g" and run.lastHistoryStep == 1199
assert run.created_at.endswith("Z"), run.created_at
rows = list(run.scan_history())
assert len(rows) == 1200 and rows[7]["loss"] == 1 / 8 and rows[7]["acc.top1"] == 7 and rows[7]["_step"] == 7, rows[7]
some = list(run.scan_history(keys=["loss", "_step"], min_step=5, max_step=8))
assert some == [{"loss": 1 / (step + 1), "_step": step} for step in range(5, 8)], some
assert [row["loss"] for row in run.scan_history(keys=["loss"])] == [1 / (step + 1) for step in range(1200)]
frame = run.history(samples=100)
assert len(frame) == 100 and list(frame["_step"])[-1] == 1199, len(frame)
chosen = run.history(keys=["loss"], samples=50, pandas=False)
assert len(chosen) == 50 and set(chosen[0]) == {"_step", "loss"}, chosen[0]
names = [file.name for file in run.files()]
assert "kept.txt" in names and "config.yaml" in names, names
assert [file.name for file in run.files(pattern="kept%")] == ["kept.txt"]
with run.file("kept.txt").download(root="down") as file:
    assert file.read() == "kept 0"
assert run.metadata["program"].endswith("api.py"), run.metadata

def ids(**more):
    return [run.id for run in api.runs("vision", **more)]

assert len(api.runs("local/vision")) == 4
assert ids() == ["run0", "run1", "run2", logged.info.run_id]
assert ids(order="-created_at", per_page=1) == [logged.info.run_id, "run2", "run1", "run0"]
assert ids(filters={"config.lr": {"$gt": 0.15, "$lt": 1}}) == ["run1", "run2"]
assert ids(filters={"$or": [{"tags": "t2"}, {"display_name": {"$regex": "^number 0"}}]}) == ["run0", "run2"]
worse = {"summary_metrics.loss": {"$gte": 0.2}}  # 1/1200, 1/4, 1/5 and 0.25
assert ids(filters=worse, order="+summary_metrics.loss") == ["run2", "run1", logged.info.run_id]
assert ids(filters={"state": "finished", "config.deep": True}, order="-config.lr", per_page=1) == ["run2", "run1"]
assert api.run(f"vision/{logged.info.run_id}").config == {"lr": 7}
assert api.run(f"vision/{logged.info.run_id}").summary["loss"] == 0.25
assert [project.name for project in api.projects("local") if project.name == "vision"] == ["vision"]

run.config["later"] = "said"
run.name = "renamed"
run.tags.append("late")
run.update()
run.summary["judged"] = 0.5
run.summary.update()
changed = wandb.Api().run("vision/run0")
assert changed.config["later"] == "said" and changed.name == "renamed" and "late" in changed.tags
assert changed.summary["judged"] == 0.5 and changed.state == "finished", (dict(changed.summary), changed.state)
wandb.Api().run("vision/run2").delete()
assert [run.id for run in wandb.Api().runs("vision")] == ["run0", "run1", logged.info.run_id]
try:
    wandb.Api().run("vision/never")
except (ValueError, wandb.Error) as error:
    assert "never" in str(error), error
else:
    raise AssertionError("a run that is not there was found")
