"""Artifacts of the unmodified client: logged, used, named, downloaded, looked for."""

import os
import pathlib

import wandb


def begin(id, **more):
    return wandb.init(project="vision", id=id, settings=wandb.Settings(console="off"), **more)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def dataset(description="pictures"):
    artifact = wandb.Artifact("ds", type="dataset", description=description, metadata={"rows": 3, "nested": {"a": [1]}})
    artifact.add_dir("data")
    artifact.add_reference(pathlib.Path("elsewhere.csv").absolute().as_uri(), name="more.csv")
    return artifact


os.makedirs("data/sub")
pathlib.Path("data/a.csv").write_text("a,b\n1,2\n")
pathlib.Path("data/sub/ü b.txt").write_text("same")
pathlib.Path("data/copy.txt").write_text("same")
pathlib.Path("data/empty").write_text("")
pathlib.Path("elsewhere.csv").write_text("x\n")

with begin("maker") as run:
    logged = run.log_artifact(dataset(), aliases=["best", "raw"], tags=["small"]).wait()
    assert (logged.version, logged.type, logged.state) == ("v0", "dataset", "COMMITTED"), logged.version
    assert sorted(logged.aliases) == ["best", "latest", "raw"] and logged.tags == ["small"], logged.aliases
    assert logged.size == 18 and logged.file_count == 5, (logged.size, logged.file_count)
    assert logged.metadata == {"rows": 3, "nested": {"a": [1]}} and logged.description == "pictures"
    again = run.log_artifact(dataset("said otherwise"), aliases=["again"]).wait()
    assert again.id == logged.id and again.version == "v0", "the same content is the same version"

    pathlib.Path("data/a.csv").write_text("a,b\n1,2\n3,4\n")
    second = run.log_artifact(dataset()).wait()
    assert second.version == "v1" and second.aliases == ["latest"], (second.version, second.aliases)
    try:
        run.log_artifact(wandb.Artifact("ds", type="other"))
    except ValueError as error:
        assert "already exists with type 'dataset'" in str(error), error
    else:
        raise AssertionError("a collection changed its type")

    table = wandb.Table(columns=["word", "number"], data=[["a", 1], ["ü", 2.5]])
    run.log({"words": table, "loss": 1})

    pathlib.Path("weights.bin").write_bytes(b"\x00\x01")
    run.log_model("weights.bin", name="net", aliases=["candidate"])

    linked = run.link_model("weights.bin", "digits", name="net", aliases=["checked"])
    assert linked.qualified_name == "local/model-registry/digits:v1" and linked.source_name == "net:v0", linked.source_name
    try:
        run.link_artifact(second, "wandb-registry-model/digits")
    except (wandb.Error, ValueError) as error:
        assert "type 'model'" in str(error), error
    else:
        raise AssertionError("a dataset was registered as a model")

with begin("user") as run:
    used = run.use_artifact("ds:best")
    assert used.version == "v0" and used.digest == logged.digest, used.version
    downloaded = tree(used.download(root="v0"))
    expected = {"a.csv": "a,b\n1,2\n", "sub/ü b.txt": "same", "copy.txt": "same", "empty": "", "more.csv": "x\n"}
    assert downloaded == expected, downloaded
    assert used.verify(root="v0") is None
    newest = run.use_artifact("ds:latest", type="dataset")
    assert newest.version == "v1" and pathlib.Path(newest.get_entry("a.csv").download("v1")).read_text() == "a,b\n1,2\n3,4\n"
    model = run.use_model("net:candidate")
    assert pathlib.Path(model).read_bytes() == b"\x00\x01", model
    registered = run.use_artifact("wandb-registry-model/digits:checked")
    assert registered.aliases == ["checked"] and tree(registered.download("registered")) == {"weights.bin": "\x00\x01"}
    registered.aliases.append("approved")
    registered.save()
    assert pathlib.Path(run.use_model("local/model-registry/digits:approved")).read_bytes() == b"\x00\x01"
    try:
        run.use_artifact("ds:never")
    except (wandb.Error, ValueError) as error:
        assert "ds:never" in str(error), error
    else:
        raise AssertionError("an alias that is not there was used")
    draft = newest.new_draft()
    with draft.new_file("added.txt") as file:
        file.write("more")
    draft.remove("copy.txt")
    third = run.log_artifact(draft).wait()
    assert third.version == "v2" and third.aliases == ["latest"], third.version

api = wandb.Api()
artifact = api.artifact("vision/ds:v2")
assert sorted(tree(artifact.download(root="v2"))) == ["a.csv", "added.txt", "empty", "more.csv", "sub/ü b.txt"]
assert sorted(file.name for file in artifact.files()) == ["a.csv", "added.txt", "empty", "more.csv", "sub/ü b.txt"]
assert artifact.logged_by().id == "user" and [run.id for run in artifact.used_by()] == []
first = api.artifact("local/vision/ds:v0")
assert [run.id for run in first.used_by()] == ["user"] and first.logged_by().id == "maker"
maker = api.run("local/vision/maker")
assert sorted(a.name for a in maker.logged_artifacts()) == ["ds:v0", "ds:v1", "net:v0", "run-maker-words:v0"]
assert api.artifact("vision/run-maker-words:latest").get("words").data == [["a", 1], ["ü", 2.5]]
assert sorted(a.name for a in api.run("vision/user").used_artifacts()) == ["ds:v0", "ds:v1", "net:v0"]
assert [a.version for a in api.artifacts("dataset", "vision/ds")] == ["v2", "v1", "v0"]
assert sorted(kind.name for kind in api.artifact_types("vision")) == ["dataset", "model", "run_table"]
collections = api.artifact_type("dataset", "vision").collections()
assert [collection.name for collection in collections] == ["ds"]
assert api.artifact_exists("vision/ds:v1") and not api.artifact_exists("vision/ds:v7")

first.aliases.append("gold")
first.aliases.remove("raw")
first.description = "written later"
first.metadata["rows"] = 4
first.tags = ["large"]
first.save()
wandb.Api().flush()
changed = wandb.Api().artifact("vision/ds:gold")
assert changed.version == "v0" and sorted(changed.aliases) == ["again", "best", "gold"], changed.aliases
assert (changed.description, changed.tags) == ("written later", ["large"])
try:
    changed.delete()
except (wandb.Error, ValueError) as error:
    assert "aliases" in str(error), error
else:
    raise AssertionError("a version with aliases was deleted")
changed.delete(delete_aliases=True)
assert not wandb.Api().artifact_exists("vision/ds:v0")
