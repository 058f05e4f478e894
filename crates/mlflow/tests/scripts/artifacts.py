"""Files of runs through the server."""
import pathlib

import mlflow
from mlflow import MlflowClient
from refused import refused

client = MlflowClient()
pathlib.Path("out/sub").mkdir(parents=True)
pathlib.Path("out/a b.txt").write_text("hello")
pathlib.Path("out/sub/größe.bin").write_bytes(bytes(range(256)) * 50_000)

with mlflow.start_run() as run:
    run_id = run.info.run_id
    mlflow.log_artifact("out/a b.txt")
    mlflow.log_artifacts("out", "folder")
    mlflow.log_text("text", "notes/one.txt")
    mlflow.log_dict({"a": 1}, "notes/two.json")

assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id)] == [
    ("a b.txt", False, 5),
    ("folder", True, None),
    ("notes", True, None),
]
assert [f.path for f in client.list_artifacts(run_id, "folder")] == ["folder/a b.txt", "folder/sub"]
assert client.list_artifacts(run_id, "nothing") == []
folder = pathlib.Path(client.download_artifacts(run_id, "folder"))
assert (folder / "sub/größe.bin").read_bytes() == bytes(range(256)) * 50_000
assert pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="a b.txt")).read_text() == "hello"
assert mlflow.artifacts.load_dict(f"runs:/{run_id}/notes/two.json") == {"a": 1}
with refused():
    client.download_artifacts(run_id, "../../escape")
