"""What people do with kfp.Client, against a server of ours: python kubeflow_client.py HOST TOKEN FOLDER."""

import json
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../../kfp/tests"))

import kfp
import pipelines
from kfp import compiler
from kfp_server_api import ApiException

host, token, folder = sys.argv[1:4]
client = kfp.Client(host=host, existing_token=token)


def refused(status, call, *args, **kwargs):
    """The call is answered with the status; what the answer says."""
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == status, error
        body = json.loads(error.body)
        assert body["error"] == body["message"] and isinstance(body["code"], int) and body["details"], body
        return body["message"]
    raise AssertionError(f"{call} was not refused")


def equals(key, value):
    return json.dumps({"predicates": [{"operation": 1, "key": key, "stringValue": value}]})


def until(run_id, *states):
    deadline = time.monotonic() + 60
    while (run := client.get_run(run_id)).state not in states:
        assert time.monotonic() < deadline, run.state
        time.sleep(0.05)
    return run


def all_pages(call, field, **asked):
    found, token = [], ""
    while token is not None:
        page = call(page_token=token, page_size=2, **asked)
        assert len(getattr(page, field)) <= 2
        found += getattr(page, field)
        token = page.next_page_token
    assert page.total_size == len(found)
    return found


# Experiments.
assert client.get_kfp_healthz().multi_user is False
names = ["a", "b", "c", "d%_"]
made = [client.create_experiment(name, description=f"about {name}") for name in names]
assert client.create_experiment("a").experiment_id == made[0].experiment_id, "it is not made twice"
assert client.get_experiment(experiment_name="d%_").description == "about d%_"
listed = all_pages(client.list_experiments, "experiments", sort_by="display_name desc")
assert [one.display_name for one in listed] == ["d%_", "c", "b", "a"], listed
part = json.dumps({"predicates": [{"operation": "IS_SUBSTRING", "key": "name", "string_value": "%_"}]})
assert [one.display_name for one in client.list_experiments(filter=part).experiments] == ["d%_"]
client.archive_experiment(made[1].experiment_id)
assert client.get_experiment(made[1].experiment_id).storage_state == "ARCHIVED"
assert len(client.list_experiments(filter=equals("storage_state", "AVAILABLE")).experiments) == 3
client.unarchive_experiment(made[1].experiment_id)
client.delete_experiment(made[2].experiment_id)
assert "no experiment" in refused(404, client.get_experiment, made[2].experiment_id)
assert client.create_experiment("c").experiment_id != made[2].experiment_id
assert "'colour'" in refused(400, client.list_experiments, filter=equals("colour", "x"))
assert "page_token" in refused(400, client.list_experiments, page_token="x")
elsewhere = client.create_experiment("a", namespace="team")
assert elsewhere.namespace == "team" and elsewhere.experiment_id != made[0].experiment_id
assert client.list_experiments(namespace="team").total_size == 1

# Pipelines and their versions.
file = f"{folder}/three-steps.yaml"
pipeline = client.upload_pipeline(file, pipeline_name="steps", description="three of them")
assert client.get_pipeline(pipeline.pipeline_id).description == "three of them"
assert client.get_pipeline_id("steps") == pipeline.pipeline_id and client.get_pipeline_id("none") is None
assert "already" in refused(409, client.upload_pipeline, file, pipeline_name="steps")
second = client.upload_pipeline_version_from_pipeline_func(
    pipelines.three_steps, "second", pipeline_name="steps", description="the same"
)
versions = client.list_pipeline_versions(pipeline.pipeline_id, sort_by="created_at desc").pipeline_versions
assert [version.display_name for version in versions] == ["second", "steps"], versions
got = client.get_pipeline_version(pipeline.pipeline_id, second.pipeline_version_id)
assert got.pipeline_spec["pipelineInfo"]["name"] == "three-steps"
other = client.upload_pipeline_from_pipeline_func(pipelines.waiting)
assert {one.display_name for one in all_pages(client.list_pipelines, "pipelines")} == {"steps", "waiting"}
assert "versions" in refused(400, client.delete_pipeline, other.pipeline_id)
version = client.list_pipeline_versions(other.pipeline_id).pipeline_versions[0]
client.delete_pipeline_version(other.pipeline_id, version.pipeline_version_id)
client.delete_pipeline(other.pipeline_id)
refused(404, client.get_pipeline, other.pipeline_id)

# Runs: of a function, of a file, of a version; what was done is not done again.
of_function = client.create_run_from_pipeline_func(
    pipelines.three_steps, arguments={"rows": 7}, run_name="first", experiment_name="a"
)
ended = client.wait_for_run_completion(of_function.run_id, timeout=120, sleep_duration=0.1)
assert ended.state == "SUCCEEDED", ended
assert ended.runtime_config.parameters == {"rows": 7} and ended.experiment_id == made[0].experiment_id
assert ended.pipeline_spec["pipelineInfo"]["name"] == "three-steps"
assert [entry.state for entry in ended.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
tasks = {task.task_id: task.state for task in ended.run_details.task_details}
assert tasks["train"] == tasks["for-loop-3[2]/say-2"] == tasks["condition-1/say"] == "SUCCEEDED", tasks
of_file = client.create_run_from_pipeline_package(
    file, arguments={"rows": 7, "rate": 0.1}, run_name="file", experiment_id=made[0].experiment_id
)
ended = client.wait_for_run_completion(of_file.run_id, timeout=120, sleep_duration=0.1)
tasks = {task.task_id: task.state for task in ended.run_details.task_details}
assert ended.state == "SUCCEEDED" and tasks["condition-1"] == "SKIPPED", tasks
of_version = client.run_pipeline(
    made[0].experiment_id, "version", params={"rows": 7}, pipeline_id=pipeline.pipeline_id,
    version_id=second.pipeline_version_id,
)
ended = client.wait_for_run_completion(of_version.run_id, timeout=120, sleep_duration=0.1)
assert ended.state == "SUCCEEDED" and ended.pipeline_version_reference.pipeline_id == pipeline.pipeline_id

# What cannot run is refused at once.
assert "'rows' must be a whole number" in refused(
    400, client.create_run_from_pipeline_package, file, arguments={"rows": "many"}
)
assert "no parameter 'x'" in refused(400, client.create_run_from_pipeline_package, file, arguments={"x": 1})
image = f"{folder}/image.yaml"
compiler.Compiler().compile(pipelines.three_steps, image)
text = open(image).read()
with open(image, "w") as out:
    out.write(text.replace(f"image: {pipelines.PYTHON}-slim", "image: nobody/knows:1"))
why = refused(400, client.create_run_from_pipeline_package, image)
assert "exec-shell: it runs in a container of the image nobody/knows:1, and podman" in why, why
with open(image, "w") as out:
    out.write(text.replace("executorLabel: exec-say-2", "executorLabel: exec-none"))
assert "exec-none" in refused(400, client.create_run_from_pipeline_package, image)
assert "exec-none" in refused(400, client.upload_pipeline, image, pipeline_name="broken")

# A run that failed is tried again, and goes on after what it had done.
counter = f"{folder}/counter"
failing = client.create_run_from_pipeline_func(
    pipelines.stubborn, arguments={"counter": counter, "fail": True}, run_name="stubborn", experiment_name="b"
)
ended = client.wait_for_run_completion(failing.run_id, timeout=120, sleep_duration=0.1)
assert ended.state == "FAILED" and "fail-if: it exited with 1" in ended.error.message, ended
assert open(counter).read() == "3"
client.runs.run_service_retry_run(failing.run_id)
ended = until(failing.run_id, "FAILED")
assert open(counter).read() == "3", "what had ended well is not run again"
assert "SUCCEEDED" in refused(400, client.runs.run_service_retry_run, of_file.run_id)

# Cancelled; a run that is over is not.
held = client.create_run_from_pipeline_func(
    pipelines.waiting, arguments={"folder": folder}, run_name="held", experiment_name="b"
)
until(held.run_id, "RUNNING")
while not os.path.exists(f"{folder}/began"):
    time.sleep(0.02)
client.terminate_run(held.run_id)
assert until(held.run_id, "CANCELED").error is None
assert "cancelled" in refused(400, client.terminate_run, held.run_id)

# Lists, and what becomes of runs.
names = [run.display_name for run in all_pages(client.list_runs, "runs", sort_by="created_at desc")]
assert names == ["held", "stubborn", "version", "file", "first"], names
assert client.list_runs(experiment_id=made[1].experiment_id).total_size == 2
assert [run.display_name for run in client.list_runs(filter=equals("state", "FAILED")).runs] == ["stubborn"]
client.archive_run(held.run_id)
assert [run.display_name for run in client.list_runs(filter=equals("storage_state", "ARCHIVED")).runs] == ["held"]
client.unarchive_run(held.run_id)
client.delete_run(held.run_id)
refused(404, client.get_run, held.run_id)
assert client.list_runs().total_size == 4
print(json.dumps({"run": of_function.run_id}))
