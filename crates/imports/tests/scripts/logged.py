"""TensorBoard event files by tensorboardX and an offline run by the wandb client."""

import os

os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=os.getcwd(), WANDB_ERROR_REPORTING="false")

import wandb
from tensorboardX import SummaryWriter

for name in ("train", "eval/deep"):
    with SummaryWriter(f"logs/{name}") as writer:
        for step in range(500):
            writer.add_scalar("loss/total", 1 / (step + 1), step, walltime=1_700_000_000 + step)
        writer.add_text("notes", "words are no scalars", 1)

with wandb.init(project="vision", name="first", config={"lr": 0.1, "optimizer": {"name": "adam"}}, tags=["a", "b"]) as run:
    for step in range(3000):
        run.log({"loss": 1 / (step + 1), "nested": {"acc": step / 3000}, "word": "text"})
    run.log({"odd": float("nan")})
    run.summary["best"] = 0.25
    with open(os.path.join(run.dir, "notes.txt"), "w") as notes:
        notes.write("hello")
print(run.id)
