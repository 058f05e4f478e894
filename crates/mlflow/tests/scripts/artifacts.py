"""Files of runs through the server."""
import contextlib
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


@contextlib.contextmanager
def raised(words):
    try:
        yield
    except Exception as error:
        assert words in str(error), error
        return
    raise AssertionError(f"nothing was raised, expected: {words}")


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
# A large file goes up in parts, several at once.
os.environ.update(MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE="1000000", MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE=str(5 * 2**20))
large = bytes(range(256)) * 90_000
pathlib.Path("large.bin").write_bytes(large)
assert repository._should_multipart_upload("large.bin")
repository.log_artifact("large.bin", "in parts")
assert repository.list_artifacts("in parts")[0].file_size == len(large)
assert pathlib.Path(client.download_artifacts(run_id, "in parts/large.bin")).read_bytes() == large
begun = repository.create_multipart_upload("large.bin", 3, "in parts")
with raised("was not sent"):
    repository.complete_multipart_upload("large.bin", begun.upload_id, [], "in parts")
with raised("is not one of"):
    repository.complete_multipart_upload("other.bin", begun.upload_id, [], "in parts")
repository.abort_multipart_upload("large.bin", begun.upload_id, "in parts")
assert requests.put(begun.credentials[0].url, data=b"late", timeout=60).status_code == 404
assert [f.path for f in repository.list_artifacts("in parts")] == ["in parts/large.bin"]
hidden = requests.get(f"{files}/.uploads/{begun.upload_id}/1", timeout=60)
assert hidden.status_code == 400, hidden.text
repository.delete_artifacts("folder/sub")
repository.delete_artifacts("streamed.bin")
assert [f.path for f in client.list_artifacts(run_id, "folder")] == ["folder/a b.txt"]
assert part("streamed.bin", "0-1")[0] == 404
