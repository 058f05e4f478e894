"""Runs of the unmodified client, one after the other in one process."""

import os

import wandb



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
