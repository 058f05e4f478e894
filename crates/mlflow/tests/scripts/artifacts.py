"""Files of runs through the server."""
import os
import pathlib

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
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

# What the client library has no call for: parts of a file, a body that is sent while it is made.
files = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow-artifacts/artifacts"
root = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")


def part(path, byte_range):
    answer = requests.get(f"{files}/{root}/{path}", headers={"Range": f"bytes={byte_range}"}, timeout=60)
    return answer.status_code, answer.headers.get("Content-Range"), answer.content


assert part("notes/one.txt", "1-2") == (206, "bytes 1-2/4", b"ex")
assert part("notes/one.txt", "-1") == (206, "bytes 3-3/4", b"t")
assert part("notes/one.txt", "4-")[:2] == (416, "bytes */4")
assert part("folder/sub/größe.bin", "12799998-") == (206, "bytes 12799998-12799999/12800000", b"\xfe\xff")
assert part("nothing", "0-1")[0] == 404

mebibytes = 40
chunks = (bytes([n]) * 2**20 for n in range(mebibytes))
requests.put(f"{files}/{root}/streamed.bin", data=chunks, timeout=120).raise_for_status()
assert part("streamed.bin", f"{2**20 - 1}-{2**20}") == (206, f"bytes {2**20 - 1}-{2**20}/{mebibytes * 2**20}", b"\x00\x01")

repository = get_artifact_repository(run.info.artifact_uri)
repository.delete_artifacts("folder/sub")
repository.delete_artifacts("streamed.bin")
assert [f.path for f in client.list_artifacts(run_id, "folder")] == ["folder/a b.txt"]
assert part("streamed.bin", "0-1")[0] == 404
