"""The client of MLflow 3.1 (its small package) against this server: what it asks for is answered."""

import math
import os

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

assert mlflow.__version__.startswith("3.1."), mlflow.__version__
client = MlflowClient()
experiment = client.create_experiment("old client", tags={"team": "a"})
mlflow.set_experiment("old client")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_params({"lr": "0.1"})
    mlflow.log_metrics({"loss": 0.5, "odd": math.nan}, step=1)
    mlflow.log_metric("loss", 0.25, step=2)
    mlflow.set_tag("note", "x")
    mlflow.log_dict({"a": [1]}, "notes/a.json")
    with mlflow.start_run(nested=True):
        mlflow.log_param("fold", 1)
client.log_batch(
    run.info.run_id,
    [Metric("many", i, 1000 + i, i) for i in range(1000)], [Param("p", "1")], [RunTag("t", "2")],
)
found = client.get_run(run.info.run_id)
assert found.data.metrics["loss"] == 0.25 and math.isnan(found.data.metrics["odd"]), found.data.metrics
assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
assert len(client.get_metric_history(run.info.run_id, "many")) == 1000
[only] = client.search_runs([experiment], "metrics.loss < 0.3 AND params.lr = '0.1'")
assert only.info.run_id == run.info.run_id
assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/notes/a.json") == {"a": [1]}
assert [f.path for f in client.list_artifacts(run.info.run_id, "notes")] == ["notes/a.json"]
try:
    client.log_param(run.info.run_id, "lr", "0.2")
    raise AssertionError("a parameter was changed")
except MlflowException as error:
    assert error.error_code == "INVALID_PARAMETER_VALUE", error.error_code

# A logged model, registered, named, and its files.
model = client.create_logged_model(experiment, name="line", source_run_id=run.info.run_id, params={"k": "1"})
with open("model.txt", "w") as file:
    file.write("weights")
client.log_model_artifacts(model.model_id, ".")
client.finalize_logged_model(model.model_id, "READY")
assert client.search_logged_models([experiment])[0].model_id == model.model_id
client.create_registered_model("line", description="words")
version = client.create_model_version("line", f"models:/{model.model_id}", run.info.run_id, model_id=model.model_id)
client.set_registered_model_alias("line", "champion", version.version)
client.set_model_version_tag("line", version.version, "k", "v")
assert client.get_model_version_by_alias("line", "champion").tags == {"k": "v"}
assert client.search_model_versions("name = 'line'")[0].version == version.version
path = mlflow.artifacts.download_artifacts("models:/line@champion")
assert open(os.path.join(path, "model.txt")).read() == "weights"
prompt = mlflow.genai.register_prompt("greet", "Hello {{name}}") if hasattr(mlflow, "genai") else None
if prompt is not None:
    assert mlflow.genai.load_prompt("prompts:/greet/1").template == "Hello {{name}}"


# Traces: searched by version 2 of the API, as this client does it. It is not what writes this one.
trace_id = "tr-" + 32 * "a"
told = {
    "trace_id": trace_id, "state": "OK", "request_time": "2026-01-01T00:00:00.123Z", "execution_duration": "0.250s",
    "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
    "trace_metadata": {"mlflow.traceInputs": "why"}, "tags": {"seen": "yes"},
}
written = requests.post(f"{mlflow.get_tracking_uri()}/api/3.0/mlflow/traces", json={"trace": {"trace_info": told}})
assert written.status_code == 200, written.text
[trace] = client.search_traces([experiment], filter_string="tags.seen = 'yes'", include_spans=False)
info = trace.info
assert (info.trace_id, str(info.state), info.request_time, info.execution_duration) == (
    trace_id, "TraceState.OK", 1767225600123, 250,
), info
assert info.trace_metadata["mlflow.traceInputs"] == "why" and info.tags["seen"] == "yes", info
# An id of the client's own is asked for under version 2.
own = dict(told, trace_id="mine-1")
requests.post(f"{mlflow.get_tracking_uri()}/api/3.0/mlflow/traces", json={"trace": {"trace_info": own}}).raise_for_status()
store = client._tracking_client.store
info = store.get_trace_info("mine-1")
assert (info.request_id, str(info.status), info.timestamp_ms, info.execution_time_ms, info.tags["seen"]) == (
    "mine-1", "TraceStatus.OK", 1767225600123, 250, "yes",
), info
try:
    store.get_trace_info("mine-2")
    raise AssertionError("a trace that is not there was found")
except MlflowException as error:
    assert error.error_code == "RESOURCE_DOES_NOT_EXIST", error
assert client.delete_traces(experiment, trace_ids=["mine-1"]) == 1
client.set_trace_tag(trace_id, "seen", "no")
assert client.search_traces([experiment], filter_string="tags.seen = 'yes'", include_spans=False) == []
assert client.delete_traces(experiment, trace_ids=[trace_id]) == 1

client.delete_run(run.info.run_id)
assert run.info.run_id in [r.info.run_id for r in client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)]
client.restore_run(run.info.run_id)
client.delete_experiment(experiment)
assert client.get_experiment(experiment).lifecycle_stage == "deleted"
