"""The same calls against a real `mlflow server` and against the server under test: same results, same errors.

Ids and times are masked. What differs for a reason is listed in DIFFERENT, and in docs/mlflow.md.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (DatasetInput, Dataset, Expectation, Feedback, InputTag, LoggedModelInput, LoggedModelOutput,
                             Metric, Param, RunTag, ViewType)
from mlflow.entities.webhook import WebhookEvent
from mlflow.exceptions import MlflowException

# Step: why it differs.
DIFFERENT = {
    "experiments: filter creation_time > 0": "`Default` comes with the database's schema, at time 0",
    "traces: filter tags.env = 'test' AND tags.n IN ('0', '1')": "OR, parentheses and IN are a superset here",
    "traces: tag of none": "the error of the database shows there",
    "runs: filter with OR": "OR, parentheses and IN are a superset here",
    "runs: filter with parentheses": "OR, parentheses and IN are a superset here",
    "runs: filter with IN of a param": "OR, parentheses and IN are a superset here",
    "runs: filter params.lr IN ('0')": "OR, parentheses and IN are a superset here",
    "versions: order ['source_path']": "whatever can be filtered by can be ordered by",
    "experiments: rename a deleted one": "INVALID_STATE is a 500 there, which clients retry for minutes; a 400 here",
    "experiments: rename to a taken name": "the error of the database shows there",
    "experiments: location with a query": "parameters of a location say nothing, and have been used to leave it",
    "registry: a long name": "a name has at most 256 characters here, on every database",
    "batch: metric with a text": "what is no number is refused, not left out in silence",
    "batch: metric with a bool": "what is no number is refused, not left out in silence",
    "runs: bad status": "an unknown status is refused, not left out in silence",
    "runs: order ['metrics.acc', 'metrics.acc']": "a 500 there",
    "logged models: filter foo = 'x'": "a 500 there",
    "logged models: filter status = 'READY'": "the words of a status find it",
    "webhooks: bad entity": "a 500 there",
    "datasets: records of none": "what is not there is said to be so",
    "datasets: records that are no JSON": "a 500 there",
    "datasets: records that are no objects": "a 500 there",
    "datasets: filter name > 'a'": "texts are not compared by size",
    "body: list": "a 500 there",
    "body: number": "a 500 there",
    "probe: server-info": "the server's own abilities",
}


def start_upstream(folder):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = open(os.path.join(folder, "server.log"), "w")
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"],
        cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
            return process, f"http://127.0.0.1:{port}"
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, open(log.name).read()[-3000:]
            time.sleep(0.2)


MASKS = [
    (re.compile(r"\b(m-|tr-|d-|a-|wh-|dr-)?[0-9a-f]{32}\b"), r"\1<id>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "<server>"),
    (re.compile(r"\b1[6-9]\d{11}\b"), "<ms>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "<time>"),
    (re.compile(r"/tmp/[^\s'\"]+/"), "<folder>/"),
]


def masked(text):
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text


def plain(value, depth=0):
    if depth > 12:
        return "..."
    if value is None or isinstance(value, (bool, int)):
        return masked(str(value)) if isinstance(value, int) and not isinstance(value, bool) and value > 10**12 else value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return masked(value.decode("utf-8", "replace"))
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {str(plain(k)): plain(v, depth + 1) for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, (list, tuple, set)):
        items = [plain(v, depth + 1) for v in value]
        return items + ["<more>"] if getattr(value, "token", None) else items
    if type(value).__name__ in ("ModelVersion", "PromptVersion"):
        # Who made a version is known here.
        return plain({**vars(value), "_user_id": None}, depth)
    if type(value).__name__ == "RunData":
        return plain({**vars(value), "_metric_objs": sorted(value._metric_objs, key=lambda m: m.key)}, depth)
    if type(value).__name__ == "Experiment" and value.experiment_id == "0":
        # `Default` comes with the database's schema here, at time 0.
        return plain({**vars(value), "_creation_time": 0, "_last_update_time": 0}, depth)
    if hasattr(value, "to_dict") and type(value).__name__ == "Trace":
        return plain(json.loads(value.to_json()), depth + 1)
    fields = getattr(value, "__dict__", None)
    if fields is None:
        return masked(str(value))
    return {"": type(value).__name__, **{k.lstrip("_"): plain(v, depth + 1) for k, v in sorted(fields.items())
                                        if not k.startswith("__") and not callable(v)}}


def code(body):
    return body.get("error_code") if isinstance(body, dict) else masked(str(body))


class Script:
    def __init__(self, uri):
        self.uri, self.steps, self.messages = uri, {}, {}
        mlflow.set_tracking_uri(uri)
        self.client = MlflowClient(uri)

    def step(self, name, call, show=lambda v: v):
        assert name not in self.steps, name
        try:
            value = call()
            self.steps[name] = {"result": plain(show(value))}
            return value
        except MlflowException as error:
            self.steps[name] = {"error": error.error_code, "status": error.get_http_status_code()}
            self.messages[name] = masked(error.message)
        except Exception as error:
            self.steps[name] = {"raised": type(error).__name__}
            self.messages[name] = masked(str(error))[:500]
        return None

    def http(self, name, method, path, body=None, headers=None, show=lambda v: v):
        def call():
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            request = urllib.request.Request(self.uri + path, data=data, method=method,
                                             headers={"Content-Type": "application/json", **(headers or {})})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    status, raw = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, raw = error.code, error.read()
            try:
                parsed = json.loads(raw)
            except ValueError:
                parsed = raw
            if isinstance(parsed, dict):
                self.messages[name] = parsed.get("message")
                parsed = {k: v for k, v in parsed.items() if k not in ("sqlstate", "error_class", "message")}
            return {"status": status, "body": show(parsed)}
        return self.step(name, call)


def experiments(s):
    c, step = s.client, s.step
    a = step("experiments: create", lambda: c.create_experiment("a", tags={"team": "x", "n": "5"}))
    step("experiments: create again", lambda: c.create_experiment("a"))
    step("experiments: create without a name", lambda: c.create_experiment(""))
    step("experiments: create with a long name", lambda: c.create_experiment("e" * 501))
    step("experiments: location with a fragment", lambda: c.create_experiment("frag", artifact_location="s3://b/x#y"))
    step("experiments: get", lambda: c.get_experiment(a))
    step("experiments: get none", lambda: c.get_experiment("777"))
    step("experiments: by name", lambda: c.get_experiment_by_name("a"))
    step("experiments: by no name", lambda: c.get_experiment_by_name("zz"))
    step("experiments: set tag", lambda: c.set_experiment_tag(a, "k", "v"))
    step("experiments: set bad tag", lambda: c.set_experiment_tag(a, "k?", "v"))
    step("experiments: set long tag", lambda: c.set_experiment_tag(a, "long", "v" * 20001))
    step("experiments: delete tag", lambda: c.delete_experiment_tag(a, "k"))
    step("experiments: delete tag again", lambda: c.delete_experiment_tag(a, "k"))
    b = step("experiments: create b", lambda: c.create_experiment("b"))
    step("experiments: rename", lambda: c.rename_experiment(b, "c"))
    step("experiments: rename to a taken name", lambda: c.rename_experiment(b, "a"))
    step("experiments: delete", lambda: c.delete_experiment(b))
    step("experiments: delete again", lambda: c.delete_experiment(b))
    step("experiments: deleted one", lambda: c.get_experiment(b))
    step("experiments: create a deleted name", lambda: c.create_experiment("c"))
    step("experiments: tag a deleted one", lambda: c.set_experiment_tag(b, "k", "v"))
    s.http("experiments: get x", "GET", "/api/2.0/mlflow/experiments/get?experiment_id=x")
    step("experiments: run in a deleted one", lambda: c.create_run(b))
    s.http("experiments: rename a deleted one", "POST", "/api/2.0/mlflow/experiments/update", {"experiment_id": b, "new_name": "d"})
    step("experiments: search", lambda: c.search_experiments())
    step("experiments: search all", lambda: c.search_experiments(view_type=ViewType.ALL, order_by=["name DESC"]))
    step("experiments: search deleted", lambda: c.search_experiments(view_type=ViewType.DELETED_ONLY))
    for i, text in enumerate(["name = 'a'", "name LIKE 'D%'", "name ILIKE 'd%'", "tags.team = 'x'", "tags.none != 'x'", "name != 'a'",
                              "experiment_id IN ('0', '1')", "experiment_id NOT IN ('0')", "creation_time > 0", "foo = 'x'", "name > 'a'",
                              "name = 'a' AND tags.team = 'y'", "tags.team IS NULL", "tags.team IS NOT NULL", "metrics.a > 1"]):
        step(f"experiments: filter {text}", lambda: c.search_experiments(filter_string=text, order_by=["experiment_id"]))
    step("experiments: pages", lambda: c.search_experiments(max_results=1))
    step("experiments: bad order", lambda: c.search_experiments(order_by=["name UP"]))
    step("experiments: restore", lambda: c.restore_experiment(b))
    s.http("experiments: restore an active one", "POST", "/api/2.0/mlflow/experiments/restore", {"experiment_id": b})
    s.http("experiments: max_results 0", "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 0})
    s.http("experiments: max_results 60000", "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 60000})
    s.http("experiments: double encoded", "POST", "/api/2.0/mlflow/experiments/create", json.dumps(json.dumps({"name": "twice"})).encode())
    return a


def runs(s, e):
    c, step = s.client, s.step
    run = step("runs: create", lambda: c.create_run(e, start_time=1700000000000, tags={"a": "1", "mlflow.user": "me"}, run_name="first"))
    assert run, s.steps
    r = run.info.run_id
    step("runs: name and tag differ", lambda: c.create_run(e, tags={"mlflow.runName": "x"}, run_name="y"))
    step("runs: name by tag", lambda: c.create_run(e, tags={"mlflow.runName": "x"}), lambda v: v.info.run_name)
    step("runs: of no experiment", lambda: c.create_run("888"))
    step("runs: bad tag", lambda: c.create_run(e, tags={"a?": "1"}, run_name="bad"))
    step("runs: get none", lambda: c.get_run("0" * 32))
    step("runs: log param", lambda: c.log_param(r, "p", 1))
    step("runs: log param again", lambda: c.log_param(r, "p", 1))
    step("runs: change param", lambda: c.log_param(r, "p", 2))
    step("runs: long param", lambda: c.log_param(r, "long", "x" * 7000))
    step("runs: bad param", lambda: c.log_param(r, "a//b", 1))
    step("runs: long key", lambda: c.log_param(r, "k" * 251, 1))
    step("runs: set tag", lambda: c.set_tag(r, "t", "v"))
    step("runs: long tag", lambda: c.set_tag(r, "longtag", "x" * 9000))
    step("runs: rename by tag", lambda: c.set_tag(r, "mlflow.runName", "renamed"))
    step("runs: delete tag", lambda: c.delete_tag(r, "t"))
    step("runs: delete tag again", lambda: c.delete_tag(r, "t"))
    step("metrics: one", lambda: c.log_metric(r, "m", 0.5, timestamp=1700000000001, step=3))
    step("metrics: the same again", lambda: c.log_metric(r, "m", 0.5, timestamp=1700000000001, step=3))
    step("metrics: negative step", lambda: c.log_metric(r, "m", 0.25, timestamp=1700000000002, step=-3))
    step("metrics: NaN", lambda: c.log_metric(r, "nan", float("nan"), timestamp=1))
    step("metrics: log infinities", lambda: [c.log_metric(r, "inf", v, timestamp=5) for v in (float("inf"), float("-inf"))] and None)
    step("metrics: infinities", lambda: c.get_metric_history(r, "inf"))
    step("metrics: largest and smallest", lambda: [c.log_metric(r, "big", v, timestamp=5, step=2**62) for v in (1e308, 5e-324, -0.0)] and None)
    step("metrics: history of big", lambda: c.get_metric_history(r, "big"))
    step("metrics: bad key", lambda: c.log_metric(r, "a?b", 1))
    step("metrics: text", lambda: c.log_metric(r, "m", "abc"))
    step("metrics: history", lambda: c.get_metric_history(r, "m"))
    step("metrics: no history", lambda: c.get_metric_history(r, "none"))
    step("metrics: history of no run", lambda: c.get_metric_history("0" * 32, "m"))
    step("batch: all", lambda: c.log_batch(r, [Metric("b", i / 2, 1700000000000 + i, i) for i in range(5)], [Param("q", "x")], [RunTag("z", "y")]))
    step("batch: duplicate params", lambda: c.log_batch(r, params=[Param("d", "1"), Param("d", "2")]))
    step("batch: bad metric key", lambda: c.log_batch(r, metrics=[Metric("ok", 1, 1, 1), Metric("a?", 1, 1, 1)]))
    step("batch: conflict", lambda: c.log_batch(r, metrics=[Metric("ok", 1, 1, 1)], params=[Param("q", "other")]))
    aside = c.create_run("0").info.run_id
    for name, body in [("no run id", {}), ("too many", {"run_id": r, "tags": [{"key": f"t{i}", "value": "v"} for i in range(101)]}),
                       ("metric without value", {"run_id": aside, "metrics": [{"key": "a", "timestamp": 1, "step": 1}]}),
                       ("metric with a text", {"run_id": aside, "metrics": [{"key": "a", "value": "b", "timestamp": 1, "step": 1}]}),
                       ("metric with a bool", {"run_id": aside, "metrics": [{"key": "a", "value": True, "timestamp": 1, "step": 1}]}),
                       ("metrics no list", {"run_id": r, "metrics": 5}), ("negative time", {"run_id": r, "metrics": [{"key": "a", "value": 1, "timestamp": -1, "step": 1}]}),
                       ("unknown field", {"run_id": r, "surprise": 1})]:
        s.http(f"batch: {name}", "POST", "/api/2.0/mlflow/runs/log-batch", body)
    step("runs: update", lambda: c.update_run(r, status="FAILED", name="again"))
    s.http("runs: bad status", "POST", "/api/2.0/mlflow/runs/update", {"run_id": r, "status": "GONE"})
    child = step("runs: child", lambda: c.create_run(e, start_time=1700000000005, tags={"mlflow.parentRunId": r, "mlflow.user": "me"}, run_name="child")).info.run_id
    step("runs: parent", lambda: c.get_parent_run(child), lambda v: v.info.run_name)
    step("runs: no parent", lambda: c.get_parent_run(r))
    dataset = Dataset("iris", "abc", "local", "{}", "schema", "profile")
    step("inputs: log", lambda: c.log_inputs(r, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])]))
    step("inputs: log again", lambda: c.log_inputs(r, [DatasetInput(dataset, [InputTag("mlflow.data.context", "eval")])]))
    step("inputs: without digest", lambda: c.log_inputs(r, [DatasetInput(Dataset("iris", "", "local", "{}"), [])]))
    step("inputs: long digest", lambda: c.log_inputs(r, [DatasetInput(Dataset("iris", "d" * 37, "local", "{}"), [])]))
    step("inputs: nothing", lambda: c.log_inputs(r))
    step("runs: terminated", lambda: c.set_terminated(r, end_time=1700000000900))
    step("runs: get", lambda: c.get_run(r))
    for i in range(3):
        made = c.create_run(e, start_time=1700000001000 + i, run_name=f"s{i}", tags={"n": str(i), "mlflow.user": "me"}).info.run_id
        c.log_batch(made, [Metric("acc", [0.5, float("nan"), 0.9][i], 1, 0), Metric("m", i, 1, 0)], [Param("lr", str(i)), Param("model", "Cat")])
        c.set_terminated(made, end_time=1700000002000 + i)
    names = lambda found: [x.info.run_name for x in found]
    for text in ["", "metrics.acc > 0.6", "metrics.acc != 0.5", "metrics.acc >= 0.5 and params.lr = '0'", "params.lr IN ('0')", "params.lr LIKE '%'",
                 "params.model ILIKE 'c%'", "params.model LIKE 'c%'", "tags.n IS NULL", "tags.n IS NOT NULL", "tags.n != '1'", "run_name LIKE 's%'",
                 "`run name` = 's1'", "attributes.status = 'FINISHED'", "status = 'finished'", "start_time > 1700000001000", "created <= 1700000001001",
                 "end_time < 1700000002001", "run_id IN ('x')", "run_id NOT IN ('x')", "dataset.name = 'iris'", "datasets.digest LIKE 'a%'",
                 "dataset.context = 'train'", "dataset.context IN ('train', 'x')", "user_id = 'me'", "artifact_uri LIKE '%artifacts'", "metrics.`acc` < 0.6",
                 'metrics."acc" < 0.6', "foo.a = 1", "metrics.acc", "metrics.acc > 'x'", "params.lr > '1'", "params.lr = 1", "acc > 1", "metrics.acc > nan",
                 "status = 'FINISHED' AND", "status = 'FINISHED';", "NOT status = 'x'", "metrics.m = 1 AND metrics.m = 2", "tag.n = \"2\"", "parameter.lr != '9'",
                 "tags.`mlflow.user` = 'me'", "run.run_name = 's1'", "params.model = 'it''s'", "metrics.acc IS NULL", "dataset.size = '1'", "end_time IS NULL"]:
        step(f"runs: filter {text}", lambda: c.search_runs([e], text), names)
    step("runs: filter with OR", lambda: c.search_runs([e], "metrics.m = 1 OR metrics.m = 2"), names)
    step("runs: filter with parentheses", lambda: c.search_runs([e], "(metrics.m = 1)"), names)
    step("runs: filter with IN of a param", lambda: c.search_runs([e], "params.lr IN ('0', '1')"), names)
    for order in [["metrics.acc DESC"], ["metrics.acc"], ["params.lr DESC", "start_time"], ["tags.n"], ["start_time ASC"], ["attributes.end_time DESC"],
                  ["metrics.acc", "metrics.acc"], ["run_name"], ["status", "run_name DESC"], ["nothing"], ["metrics.acc UP"], ["metrics.acc DESC DESC"], ["`run name`"]]:
        step(f"runs: order {order}", lambda: c.search_runs([e], order_by=order), names)
    step("runs: pages", lambda: c.search_runs([e], max_results=2, order_by=["start_time"]), lambda f: [names(f), bool(f.token)])
    step("runs: bad page token", lambda: c.search_runs([e], page_token="!!!"))
    step("runs: max_results 0", lambda: c.search_runs([e], max_results=0))
    step("runs: max_results 50001", lambda: c.search_runs([e], max_results=50001))
    step("runs: of no experiments", lambda: c.search_runs([]), names)
    step("runs: of unknown experiments", lambda: c.search_runs(["999", "x"]), names)
    step("runs: delete", lambda: c.delete_run(child))
    step("runs: write a deleted one", lambda: c.log_param(child, "x", 1))
    step("runs: tag a deleted one", lambda: c.set_tag(child, "x", 1))
    step("runs: end a deleted one", lambda: c.set_terminated(child))
    step("runs: deleted ones", lambda: c.search_runs([e], run_view_type=ViewType.DELETED_ONLY), names)
    step("runs: delete again", lambda: c.delete_run(child))
    step("runs: restore", lambda: c.restore_run(child))
    step("runs: restore again", lambda: c.restore_run(child))
    s.http("runs: get without id", "GET", "/api/2.0/mlflow/runs/get")
    s.http("runs: get by uuid", "GET", f"/api/2.0/mlflow/runs/get?run_uuid={r}", show=lambda b: b["run"]["info"]["run_name"])
    s.http("runs: log-model", "POST", "/api/2.0/mlflow/runs/log-model", {"run_id": r, "model_json": json.dumps({
        "run_id": r, "artifact_path": "model", "utc_time_created": "2026-01-01 00:00:00", "flavors": {"python_function": {}}})})
    s.http("runs: log-model that is none", "POST", "/api/2.0/mlflow/runs/log-model", {"run_id": r, "model_json": "{"}, show=code)
    bulk = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    s.http("bulk: history", "GET", f"{bulk}?run_id={r}&metric_key=b")
    s.http("bulk: of no run", "GET", f"{bulk}?metric_key=b")
    s.http("bulk: without a key", "GET", f"{bulk}?run_id={r}")
    s.http("bulk: interval", "GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={r}&metric_key=b&max_results=3")
    s.http("bulk: interval of steps", "GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={r}&metric_key=b&start_step=1&end_step=3")
    s.http("bulk: half an interval", "GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={r}&metric_key=b&start_step=1")
    s.http("bulk: interval of no runs", "GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?metric_key=b", show=code)
    s.http("datasets of experiments", "POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": [e]},
           show=lambda b: sorted(b["dataset_summaries"], key=lambda d: d["digest"]))
    return r


def artifacts(s, e, r):
    c, step = s.client, s.step
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    step("artifacts: figure", lambda: c.log_figure(r, Figure(), "plots/empty.png"))
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, "sub"))
        for name, text in [("one.txt", "one"), ("sub/two.txt", "two")]:
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
        step("artifacts: log one", lambda: c.log_artifact(r, os.path.join(folder, "one.txt"), "here"))
        step("artifacts: log folder", lambda: c.log_artifacts(r, folder, "folder"))
    step("artifacts: text", lambda: c.log_text(r, "hello", "notes/a.txt"))
    step("artifacts: dict", lambda: c.log_dict(r, {"a": 1}, "notes/b.json"))
    import io
    step("artifacts: stream", lambda: c.log_stream(r, io.BytesIO(b"stream"), "notes/stream.bin"))
    step("artifacts: table", lambda: c.log_table(r, {"a": [1, 2], "b": ["x", "y"]}, "table.json"))
    step("artifacts: load table", lambda: c.load_table(e, "table.json", run_ids=[r]).to_dict("list"))
    import numpy
    step("artifacts: image", lambda: c.log_image(r, numpy.zeros((4, 4, 3), dtype=numpy.uint8), "img.png"))
    for path in [None, "notes", "folder", "folder/sub", "nothing", "notes/a.txt", "../x"]:
        step(f"artifacts: list {path}", lambda: c.list_artifacts(r, path))
    step("artifacts: download", lambda: open(c.download_artifacts(r, "notes/a.txt")).read())
    step("artifacts: download a folder", lambda: sorted(os.listdir(c.download_artifacts(r, "folder"))))
    step("artifacts: download nothing", lambda: c.download_artifacts(r, "nothing"), lambda v: None)
    s.http("get-artifact", "GET", f"/get-artifact?run_id={r}&path=notes/a.txt")
    s.http("get-artifact: by uuid", "GET", f"/get-artifact?run_uuid={r}&path=notes/a.txt")
    s.http("get-artifact: outside", "GET", f"/get-artifact?run_id={r}&path=../../x", show=code)
    s.http("get-artifact: of no run", "GET", f"/get-artifact?run_id={'0' * 32}&path=notes/a.txt")
    for name, path in [("dots", "..%2f..%2fx"), ("absolute", "%2fetc%2fpasswd"), ("twice encoded", "%252e%252e%252fx")]:
        s.http(f"proxy: {name}", "GET", f"/api/2.0/mlflow-artifacts/artifacts/{path}", show=code)


def logged_models(s, e, r):
    c, step = s.client, s.step
    m = step("logged models: create", lambda: c.create_logged_model(e, "net", r, tags={"a": "b"}, params={"lr": "1"}, model_type="nn")).model_id
    step("logged models: bad name", lambda: c.create_logged_model(e, "a/b"))
    step("logged models: of no experiment", lambda: c.create_logged_model("888", "x"))
    step("logged models: get", lambda: c.get_logged_model(m))
    step("logged models: get none", lambda: c.get_logged_model("m-" + "0" * 32))
    step("logged models: params", lambda: c.log_model_params(m, {"extra": "5"}))
    step("logged models: tags", lambda: c.set_logged_model_tags(m, {"t": "u"}))
    step("logged models: delete tag", lambda: c.delete_logged_model_tag(m, "t"))
    step("logged models: delete tag again", lambda: c.delete_logged_model_tag(m, "t"))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "w.txt")
        open(path, "w").write("weights")
        step("logged models: log file", lambda: c.log_model_artifact(m, path))
        step("logged models: log files", lambda: c.log_model_artifacts(m, folder, "more"))
    step("logged models: list files", lambda: c.list_logged_model_artifacts(m))
    step("logged models: metric", lambda: c.log_metric(r, "acc", 0.75, timestamp=5, step=1, model_id=m, dataset_name="d", dataset_digest="x"))
    step("logged models: input", lambda: c.log_inputs(r, models=[LoggedModelInput(m)]))
    step("logged models: output", lambda: c.log_outputs(r, [LoggedModelOutput(m, 4)]))
    step("logged models: finalize", lambda: c.finalize_logged_model(m, "READY"))
    step("logged models: run", lambda: c.get_run(r), lambda v: [v.inputs, v.outputs])
    failed = step("logged models: create another", lambda: c.create_logged_model(e, "other")).model_id
    step("logged models: failed", lambda: c.finalize_logged_model(failed, "FAILED"))
    names = lambda found: [x.name for x in found]
    for text in ["", "name = 'net'", "metrics.acc > 0.5", "metrics.acc > 0.9", "params.lr = '1'", "tags.a = 'b'", "status = 'READY'", "model_type = 'nn'",
                 f"source_run_id = '{r}'", "creation_timestamp > 0", "name LIKE 'o%'", "name IN ('net')", "foo = 'x'", "name > 'a'", "creation_time < 5"]:
        step(f"logged models: filter {text.replace(r, 'RUN')}", lambda: c.search_logged_models([e], text), names)
    step("logged models: on a dataset", lambda: c.search_logged_models([e], "metrics.acc > 0.5", datasets=[{"dataset_name": "d", "dataset_digest": "x"}]), names)
    step("logged models: on another dataset", lambda: c.search_logged_models([e], "metrics.acc > 0.5", datasets=[{"dataset_name": "z"}]), names)
    step("logged models: order", lambda: c.search_logged_models([e], order_by=[{"field_name": "metrics.acc", "ascending": False}]), names)
    step("logged models: bad order", lambda: c.search_logged_models([e], order_by=[{"field_name": "nope"}]), names)
    step("logged models: pages", lambda: c.search_logged_models([e], max_results=1), lambda f: [len(f), bool(f.token)])
    step("logged models: delete", lambda: c.delete_logged_model(failed))
    step("logged models: deleted", lambda: c.get_logged_model(failed))
    return m


def registry(s, r, m):
    c, step = s.client, s.step
    step("registry: create", lambda: c.create_registered_model("net", tags={"a": "b"}, description="words"))
    step("registry: create again", lambda: c.create_registered_model("net"))
    for bad in ["", " ", "a/b", "a:b", ".."]:
        step(f"registry: name {bad[:20]!r}", lambda: c.create_registered_model(bad))
    step("registry: get none", lambda: c.get_registered_model("none"))
    step("registry: update", lambda: c.update_registered_model("net", "other words"))
    step("registry: set tag", lambda: c.set_registered_model_tag("net", "k", "v"))
    step("registry: bad tag", lambda: c.set_registered_model_tag("net", "k?", "v"))
    step("registry: delete tag", lambda: c.delete_registered_model_tag("net", "k"))
    step("versions: create", lambda: c.create_model_version("net", f"models:/{m}", r, tags={"x": "y"}, description="one", model_id=m))
    step("versions: from a run", lambda: c.create_model_version("net", f"mlflow-artifacts:/1/{r}/artifacts/model", r, run_link="http://x"))
    step("versions: of no model", lambda: c.create_model_version("none", "s3://bucket/x"))
    step("versions: local source", lambda: c.create_model_version("net", "/etc"))
    step("versions: file source", lambda: c.create_model_version("net", "file:///etc/passwd"))
    step("versions: dotted source", lambda: c.create_model_version("net", "mlflow-artifacts:/1/../../x"))
    step("versions: third", lambda: c.create_model_version("net", "s3://bucket/x"))
    step("versions: get", lambda: c.get_model_version("net", "1"))
    step("versions: get none", lambda: c.get_model_version("net", "9"))
    step("versions: get x", lambda: c.get_model_version("net", "x"))
    step("versions: uri", lambda: c.get_model_version_download_uri("net", "1"))
    step("versions: update", lambda: c.update_model_version("net", "1", "changed"))
    step("versions: set tag", lambda: c.set_model_version_tag("net", "1", "k", "v"))
    step("versions: delete tag", lambda: c.delete_model_version_tag("net", "1", "k"))
    step("versions: tag of none", lambda: c.set_model_version_tag("net", "9", "k", "v"))
    step("versions: stages", lambda: c.get_model_version_stages("net", "1"))
    step("aliases: set", lambda: c.set_registered_model_alias("net", "best", "1"))
    step("aliases: move", lambda: c.set_registered_model_alias("net", "best", "2"))
    step("aliases: second", lambda: c.set_registered_model_alias("net", "also", "2"))
    for bad in ["latest", "v1", "a b", ""]:
        step(f"aliases: named {bad!r}", lambda: c.set_registered_model_alias("net", bad, "1"))
    step("aliases: to no version", lambda: c.set_registered_model_alias("net", "best", "9"))
    step("aliases: get", lambda: c.get_model_version_by_alias("net", "best"))
    step("aliases: get none", lambda: c.get_model_version_by_alias("net", "none"))
    step("aliases: delete", lambda: c.delete_registered_model_alias("net", "also"))
    step("aliases: delete again", lambda: c.delete_registered_model_alias("net", "also"))
    step("stages: staging", lambda: c.transition_model_version_stage("net", "1", "staging"))
    step("stages: archive", lambda: c.transition_model_version_stage("net", "2", "Staging", archive_existing_versions=True))
    step("stages: bad", lambda: c.transition_model_version_stage("net", "1", "Live"))
    step("stages: latest", lambda: c.get_latest_versions("net", ["Staging"]))
    step("stages: latest of all", lambda: c.get_latest_versions("net"))
    step("stages: latest of a bad stage", lambda: c.get_latest_versions("net", ["Live"]))
    step("registry: get", lambda: c.get_registered_model("net"))
    c.create_registered_model("zoo")
    names = lambda found: [x.name for x in found]
    for text in ["", "name = 'net'", "name LIKE 'n%'", "name ILIKE 'N%'", "name != 'net'", "tags.a = 'b'", "name IN ('net', 'zoo')", "foo = 'x'", "name > 'a'", "tags.a != 'b'"]:
        step(f"registry: filter {text}", lambda: c.search_registered_models(text), names)
    for order in [["name DESC"], ["last_updated_timestamp"], ["timestamp DESC"], ["creation_timestamp"], ["nope"], ["name UP"]]:
        step(f"registry: order {order}", lambda: c.search_registered_models(order_by=order), names)
    step("registry: pages", lambda: c.search_registered_models(max_results=1), lambda f: [names(f), bool(f.token)])
    step("registry: max_results 1001", lambda: c.search_registered_models(max_results=1001))
    numbers = lambda found: [[x.name, x.version, x.aliases] for x in found]
    for text in ["", "name = 'net'", f"run_id = '{r}'", "source_path LIKE 's3%'", "version_number > 1", "version_number = 1", "tags.x = 'y'",
                 "name IN ('net')", f"run_id IN ('{r}', 'x')", "foo = 'x'", "name LIKE 'n%' AND version_number < 3"]:
        step(f"versions: filter {text.replace(r, 'RUN')}", lambda: c.search_model_versions(text), numbers)
    for order in [["version_number ASC"], ["name", "version_number"], ["creation_timestamp DESC"], ["last_updated_timestamp"], ["source_path"], ["nope"]]:
        step(f"versions: order {order}", lambda: c.search_model_versions("", order_by=order), numbers)
    step("versions: pages", lambda: c.search_model_versions("", max_results=2), lambda f: [len(f), bool(f.token)])
    step("versions: copy", lambda: c.copy_model_version("models:/net/1", "copied"))
    step("versions: copy none", lambda: c.copy_model_version("models:/net/9", "copied"))
    step("registry: rename", lambda: c.rename_registered_model("zoo", "zoo2"))
    step("registry: rename to a taken name", lambda: c.rename_registered_model("zoo2", "net"))
    step("registry: rename none", lambda: c.rename_registered_model("none", "x"))
    step("versions: delete", lambda: c.delete_model_version("net", "3"))
    step("versions: deleted", lambda: c.get_model_version("net", "3"))
    step("versions: delete again", lambda: c.delete_model_version("net", "3"))
    step("versions: next number", lambda: c.create_model_version("net", "s3://bucket/y"), lambda v: v.version)
    step("registry: delete", lambda: c.delete_registered_model("zoo2"))
    step("registry: delete again", lambda: c.delete_registered_model("zoo2"))
    s.http("model-versions/get-artifact: of none", "GET", "/model-versions/get-artifact?name=net&version=9&path=x", show=code)
    s.http("model-versions/get-artifact", "GET", "/model-versions/get-artifact?name=net&version=1&path=w.txt")


def prompts(s, r, m):
    c, step = s.client, s.step
    step("prompts: register", lambda: c.register_prompt("ask", "Say {{what}}", commit_message="first", tags={"a": "b"}))
    step("prompts: register again", lambda: c.register_prompt("ask", "Say {{what}} now"))
    step("prompts: get", lambda: c.get_prompt("ask"))
    step("prompts: load", lambda: c.load_prompt("ask", 1))
    step("prompts: load none", lambda: c.load_prompt("none", 1))
    step("prompts: load none, allowed", lambda: c.load_prompt("none", 1, allow_missing=True))
    step("prompts: version", lambda: c.get_prompt_version("ask", 2))
    step("prompts: alias", lambda: c.set_prompt_alias("ask", "prod", 1))
    step("prompts: by alias", lambda: c.get_prompt_version_by_alias("ask", "prod"))
    step("prompts: tag", lambda: c.set_prompt_tag("ask", "k", "v"))
    step("prompts: version tag", lambda: c.set_prompt_version_tag("ask", 1, "k", "v"))
    step("prompts: delete version tag", lambda: c.delete_prompt_version_tag("ask", 1, "k"))
    step("prompts: delete tag", lambda: c.delete_prompt_tag("ask", "k"))
    step("prompts: search", lambda: c.search_prompts())
    step("prompts: search by name", lambda: c.search_prompts("name = 'ask'"))
    step("prompts: search versions", lambda: c.search_prompt_versions("ask"))
    step("prompts: models without prompts", lambda: [x.name for x in c.search_registered_models()])
    step("prompts: as a model", lambda: c.get_registered_model("ask"))
    step("prompts: link to run", lambda: c.link_prompt_version_to_run(r, c.get_prompt_version("ask", 1)))
    step("prompts: link to model", lambda: c.link_prompt_version_to_model("ask", "1", m))
    step("prompts: of a run", lambda: c.list_logged_prompts(r))
    step("prompts: detach", lambda: c.detach_prompt_from_run(r, "prompts:/ask/1"))
    step("prompts: drop alias", lambda: c.delete_prompt_alias("ask", "prod"))
    step("prompts: create", lambda: c.create_prompt("bare", "words", {"t": "u"}))
    step("prompts: create version", lambda: c.create_prompt_version("bare", [{"role": "user", "content": "hi {{x}}"}]))
    step("prompts: delete version", lambda: c.delete_prompt_version("ask", "2"))
    step("prompts: delete", lambda: c.delete_prompt("bare"))
    step("prompts: create a model of that name", lambda: c.create_registered_model("ask"))


def webhooks(s):
    c, step = s.client, s.step
    url = "https://93.184.216.34/hook"
    a = step("webhooks: create", lambda: c.create_webhook("tell.me", url, ["model_version.created", "registered_model.created"], "words", "secret"))
    b = step("webhooks: create disabled", lambda: c.create_webhook("b", url, [WebhookEvent("prompt_tag", "set")], status="DISABLED"))
    for name, args in [("bad name", ("-x", url, ["prompt.created"])), ("empty name", ("", url, ["prompt.created"])), ("long name", ("n" * 64, url, ["prompt.created"])),
                       ("http", ("x", "http://93.184.216.34/", ["prompt.created"])), ("loopback", ("x", "https://127.0.0.1/", ["prompt.created"])),
                       ("metadata", ("x", "https://169.254.169.254/latest", ["prompt.created"])), ("mapped", ("x", "https://[::ffff:10.0.0.1]/", ["prompt.created"])),
                       ("localhost", ("x", "https://localhost/", ["prompt.created"])), ("no host", ("x", "https:///x", ["prompt.created"])),
                       ("file", ("x", "file:///etc/passwd", ["prompt.created"])), ("no events", ("x", url, [])), ("bad event", ("x", url, ["model_version.set"]))]:
        step(f"webhooks: {name}", lambda: c.create_webhook(*args))
    s.http("webhooks: bad action", "POST", "/api/2.0/mlflow/webhooks", {"name": "x", "url": url, "events": [{"entity": "PROMPT", "action": "SET"}]})
    s.http("webhooks: bad entity", "POST", "/api/2.0/mlflow/webhooks", {"name": "x", "url": url, "events": [{"entity": "NOTHING", "action": "SET"}]}, show=lambda b: None)
    s.http("webhooks: events no list", "POST", "/api/2.0/mlflow/webhooks", {"name": "x", "url": url, "events": 5})
    step("webhooks: get", lambda: c.get_webhook(a.webhook_id))
    step("webhooks: get none", lambda: c.get_webhook("none"))
    step("webhooks: list", lambda: c.list_webhooks(), lambda f: sorted(w.name for w in f))
    step("webhooks: pages", lambda: c.list_webhooks(max_results=1), lambda f: [len(f), bool(f.token)])
    step("webhooks: max_results 1001", lambda: c.list_webhooks(max_results=1001))
    step("webhooks: update", lambda: c.update_webhook(a.webhook_id, name="other", events=["prompt.created"], status="DISABLED"))
    step("webhooks: update description", lambda: c.update_webhook(a.webhook_id, description="new", secret="s"))
    step("webhooks: update nothing", lambda: c.update_webhook(a.webhook_id))
    step("webhooks: update to inside", lambda: c.update_webhook(a.webhook_id, url="https://10.0.0.1/"))
    step("webhooks: update none", lambda: c.update_webhook("none", name="x"))
    step("webhooks: test none", lambda: c.test_webhook("none"))
    step("webhooks: delete", lambda: c.delete_webhook(b.webhook_id))
    step("webhooks: delete again", lambda: c.delete_webhook(b.webhook_id))
    step("webhooks: left", lambda: c.list_webhooks(), lambda f: sorted(w.name for w in f))


def datasets(s, e):
    c, step = s.client, s.step
    shape = lambda d: {"name": d.name, "tags": d.tags, "schema": json.loads(d.schema or "null"), "profile": json.loads(d.profile or "null"),
                       "by": [d.created_by, d.last_updated_by], "digest": len(d.digest), "experiments": sorted(d.experiment_ids)}
    d = step("datasets: create", lambda: c.create_dataset("questions", e, {"team": "x", "mlflow.user": "me"}), shape)
    other = step("datasets: create another", lambda: c.create_dataset("more"), shape)
    step("datasets: create without a name", lambda: c.create_dataset(""))
    step("datasets: get", lambda: c.get_dataset(d.dataset_id), shape)
    step("datasets: get none", lambda: c.get_dataset("d-" + "0" * 32))
    # There the order of records of one request is that of random ids.
    rows = lambda d: sorted(([r.inputs, r.outputs, r.expectations, r.tags, r.source and r.source.to_dict(), r.source_id, r.source_type, r.created_by]
                             for r in d.records), key=lambda r: r[0]["q"])
    step("datasets: no records", lambda: c.get_dataset(d.dataset_id), rows)
    step("datasets: records", lambda: d.merge_records([
        {"inputs": {"q": "one", "n": 1, "deep": {"a": [1, None]}}, "expectations": {"a": "1"}, "tags": {"k": "v", "mlflow.user": "me"}},
        {"inputs": {"q": "two"}, "outputs": {"a": 2.5}, "source": {"source_type": "HUMAN", "source_data": {"source_id": "someone"}}},
        {"inputs": {"q": "three"}, "outputs": "plain text"}]), shape)
    step("datasets: all records", lambda: c.get_dataset(d.dataset_id), rows)
    step("datasets: records again", lambda: d.merge_records([{"inputs": {"q": "two"}, "expectations": {"b": True}, "outputs": [1]}, {"inputs": {"q": "four"}}]), shape)
    step("datasets: merged", lambda: c.get_dataset(d.dataset_id), lambda d: [shape(d), rows(d)])
    step("datasets: pages", lambda: c.get_dataset(d.dataset_id).to_df(), lambda f: sorted(f.columns))
    path = f"/api/3.0/mlflow/datasets/{d.dataset_id}"
    s.http("datasets: a page", "GET", f"{path}/records?max_results=2", show=lambda b: [len(json.loads(b["records"])), "next_page_token" in b])
    s.http("datasets: records of none", "GET", "/api/3.0/mlflow/datasets/d-none/records", show=lambda b: None)
    s.http("datasets: records that are no JSON", "POST", f"{path}/records", {"records": "{"}, show=lambda b: None)
    s.http("datasets: records that are no objects", "POST", f"{path}/records", {"records": "[5]"}, show=lambda b: None)
    s.http("datasets: a source of no kind", "POST", f"{path}/records", {"records": json.dumps([{"inputs": {"z": 1}, "source": {"source_type": "MAGIC"}}])}, show=code)
    s.http("datasets: no records given", "POST", f"{path}/records", {}, show=code)
    step("datasets: delete records", lambda: d.delete_records([r.dataset_record_id for r in d.records if r.inputs["q"] == "four"] + ["dr-none"]))
    step("datasets: left", lambda: c.get_dataset(d.dataset_id), shape)
    step("datasets: set tags", lambda: c.set_dataset_tags(d.dataset_id, {"team": "y", "new": "z"}))
    step("datasets: delete tag", lambda: c.delete_dataset_tag(d.dataset_id, "new"))
    step("datasets: delete tag again", lambda: c.delete_dataset_tag(d.dataset_id, "new"))
    step("datasets: tags of none", lambda: c.set_dataset_tags("d-none", {"a": "b"}))
    step("datasets: tagged", lambda: c.get_dataset(d.dataset_id).tags)
    step("datasets: add experiments", lambda: c.add_dataset_to_experiments(d.dataset_id, ["0"]), shape)
    step("datasets: add an unknown experiment", lambda: c.add_dataset_to_experiments(d.dataset_id, ["777"]))
    step("datasets: add to none", lambda: c.add_dataset_to_experiments("d-none", ["0"]))
    step("datasets: remove experiments", lambda: c.remove_dataset_from_experiments(d.dataset_id, ["0", "777"]), shape)
    names = lambda f: [x.name for x in f]
    step("datasets: search", lambda: c.search_datasets(), names)
    step("datasets: search by experiment", lambda: c.search_datasets([e]), names)
    for text in ["name = 'more'", "name LIKE 'q%'", "tags.team = 'y'", "tags.team != 'x'", "created_by = 'me'", "created_time > 0", "foo = 'x'", "name = 'a' AND name = 'b'",
                 "name IN ('more', 'x')", "last_update_time < 5", "metrics.a = 1", "name > 'a'"]:
        step(f"datasets: filter {text}", lambda: c.search_datasets(filter_string=text), names)
    for order in [["name"], ["name DESC"], ["created_time ASC"], ["last_update_time DESC"], ["created_by"], ["nope"]]:
        step(f"datasets: order {order}", lambda: c.search_datasets(order_by=order), names)
    step("datasets: search pages", lambda: c.search_datasets(max_results=1), lambda f: [len(f), bool(f.token)])
    step("datasets: delete", lambda: c.delete_dataset(other.dataset_id))
    step("datasets: delete again", lambda: c.delete_dataset(other.dataset_id))
    return d


def scorers(s, e):
    path = "/api/3.0/mlflow/scorers"
    word = json.dumps({"name": "good", "instructions_judge_pydantic_data": {"model": "openai:/x", "instructions": "{{ outputs }}"}})
    register = lambda name, body: s.http(f"scorers: {name}", "POST", f"{path}/register", body)
    register("register", {"experiment_id": e, "name": "good", "serialized_scorer": word})
    register("register again", {"experiment_id": e, "name": "good", "serialized_scorer": word})
    register("register another", {"experiment_id": e, "name": "fair", "serialized_scorer": word})
    register("of no experiment", {"experiment_id": "777", "name": "good", "serialized_scorer": word})
    register("blank", {"experiment_id": e, "name": "  ", "serialized_scorer": word})
    register("no JSON", {"experiment_id": e, "name": "x", "serialized_scorer": "{"})
    register("code", {"experiment_id": e, "name": "x", "serialized_scorer": json.dumps({"name": "x", "call_source": "return 1", "call_signature": "()", "original_func_name": "x"})})
    register("nothing", {"experiment_id": e})
    for name, query in [("list", f"list?experiment_id={e}"), ("list all", "list"), ("list of no experiment", "list?experiment_id=777"), ("versions", f"versions?experiment_id={e}&name=good"),
                        ("versions of none", f"versions?experiment_id={e}&name=none"), ("get", f"get?experiment_id={e}&name=good"), ("get 1", f"get?experiment_id={e}&name=good&version=1"),
                        ("get 9", f"get?experiment_id={e}&name=good&version=9"), ("get none", f"get?experiment_id={e}&name=none")]:
        s.http(f"scorers: {name}", "GET", f"{path}/{query}")
    for name, body in [("delete 1", {"name": "good", "version": 1}), ("delete 1 again", {"name": "good", "version": 1}), ("delete", {"name": "good"}), ("delete none", {"name": "none"})]:
        s.http(f"scorers: {name}", "DELETE", f"{path}/delete", {"experiment_id": e, **body})
    s.http("scorers: left", "GET", f"{path}/list?experiment_id={e}")


def traces(s, e, r):
    c, step = s.client, s.step
    mlflow.set_experiment(experiment_id=e)
    ids = []
    for i in range(3):
        root = c.start_trace(f"root{i}", inputs={"q": i}, tags={"env": "test", "n": str(i)}, experiment_id=e)
        child = c.start_span("step", root.trace_id, root.span_id, span_type="LLM", inputs={"x": 1})
        c.end_span(root.trace_id, child.span_id, outputs={"y": 2}, attributes={"z": "w"})
        c.end_trace(root.trace_id, outputs={"a": i}, status="ERROR" if i == 2 else "OK")
        mlflow.flush_trace_async_logging()
        ids.append(root.trace_id)
    a = ids[0]
    shape = lambda t: None if t is None else {
        "state": str(t.info.state), "tags": {k: v for k, v in t.info.tags.items() if k != "mlflow.artifactLocation"},
        "metadata": sorted(t.info.trace_metadata), "request": t.info.request_preview, "response": t.info.response_preview,
        "spans": [[x.name, x.span_type, x.inputs, x.outputs, str(x.status.status_code), x.parent_id is None] for x in t.data.spans]}
    step("traces: get", lambda: c.get_trace(a, display=False), shape)
    step("traces: get none", lambda: c.get_trace("tr-" + "0" * 32, display=False), shape)
    step("traces: search", lambda: c.search_traces(experiment_ids=[e], order_by=["timestamp ASC"]), lambda f: [shape(t) for t in f])
    some = lambda f: sorted(t.info.tags.get("n") for t in f)
    for text in ["tags.n = '1'", "tags.n != '1'", "trace.status = 'ERROR'", "status = 'OK'", "trace.name = 'root1'", "name LIKE 'root%'", "timestamp > 0", "timestamp_ms < 5",
                 "execution_time_ms >= 0", "tags.env = 'test' AND tags.n IN ('0', '1')", "foo = 'x'", "metadata.none = 'x'", "tag.n LIKE '%'", f"trace_id = '{a}'",
                 "span.name = 'step'", "span.type = 'LLM'", "tags.none IS NULL", "trace.text LIKE '%root%'", "status > 'OK'",
                 "request_id = 'x'", f"trace_id IN ('{a}')", "attributes.status = 'OK'"]:
        step(f"traces: filter {text.replace(a, 'ID')}", lambda: c.search_traces(experiment_ids=[e], filter_string=text), some)
    for order in [["timestamp DESC"], ["execution_time"], ["status", "timestamp"], ["nope"], ["name DESC"], ["tag.n DESC"]]:
        step(f"traces: order {order}", lambda: c.search_traces(experiment_ids=[e], order_by=order),
             (lambda f: [t.info.tags.get("n") for t in f]) if "execution_time" not in order else some)
    step("traces: pages", lambda: c.search_traces(experiment_ids=[e], max_results=2), lambda f: [len(f), bool(f.token)])
    step("traces: max_results 501", lambda: c.search_traces(experiment_ids=[e], max_results=501), lambda f: len(f))
    step("traces: without spans", lambda: c.search_traces(experiment_ids=[e], include_spans=False), lambda f: [len(t.data.spans) for t in f])
    step("traces: set tag", lambda: c.set_trace_tag(a, "k", "v"))
    step("traces: tagged", lambda: c.get_trace(a, display=False).info.tags.get("k"))
    step("traces: tag of none", lambda: c.set_trace_tag("tr-none", "k", "v"))
    step("traces: delete tag", lambda: c.delete_trace_tag(a, "k"))
    step("traces: delete tag again", lambda: c.delete_trace_tag(a, "k"))
    step("traces: link to run", lambda: c.link_traces_to_run(ids[:2], r))
    step("traces: of a run", lambda: c.search_traces(experiment_ids=[e], run_id=r), some)
    step("traces: unlink", lambda: c.unlink_traces_from_run(ids[:1], r))
    step("traces: of a run after", lambda: c.search_traces(experiment_ids=[e], filter_string=f"attributes.run_id = '{r}'"), some)
    step("traces: link prompts", lambda: c.link_prompt_versions_to_trace([c.get_prompt_version("ask", 1)], a))
    step("traces: linked prompts", lambda: c.get_trace(a, display=False).info.tags.get("mlflow.linkedPrompts"))
    feedback = step("assessments: feedback", lambda: mlflow.log_feedback(trace_id=a, name="good", value=True, rationale="because", metadata={"a": "b"}))
    expected = step("assessments: expectation", lambda: mlflow.log_expectation(trace_id=a, name="truth", value={"x": [1, "y"]}))
    if feedback and expected:
        step("assessments: get", lambda: mlflow.get_assessment(a, feedback.assessment_id))
        step("assessments: update", lambda: mlflow.update_assessment(a, feedback.assessment_id, Feedback(name="good", value=0.5, rationale="no")))
        step("assessments: override", lambda: mlflow.override_feedback(trace_id=a, assessment_id=feedback.assessment_id, value="new"))
        step("assessments: of the trace", lambda: sorted(([x.name, x.valid, x.value] for x in c.get_trace(a, display=False).info.assessments), key=str))
        step("assessments: delete", lambda: mlflow.delete_assessment(a, expected.assessment_id))
        step("assessments: deleted", lambda: mlflow.get_assessment(a, expected.assessment_id))
        step("assessments: delete again", lambda: mlflow.delete_assessment(a, expected.assessment_id))
        step("traces: filter by feedback", lambda: c.search_traces(experiment_ids=[e], filter_string="feedback.good = 'new'"), some)
    step("assessments: of no trace", lambda: mlflow.log_feedback(trace_id="tr-" + "0" * 32, name="x", value=1))
    step("assessments: get none", lambda: mlflow.get_assessment(a, "a-" + "0" * 32))
    step("traces: delete by ids", lambda: c.delete_traces(e, trace_ids=ids[1:2]))
    step("traces: delete by time", lambda: c.delete_traces(e, max_timestamp_millis=int(time.time() * 1000) + 60_000, max_traces=1))
    step("traces: left", lambda: len(c.search_traces(experiment_ids=[e])))
    step("traces: delete without a choice", lambda: c.delete_traces(e))
    otlp = {"x-mlflow-experiment-id": e, "Content-Type": "application/x-protobuf"}
    s.http("otlp: no protobuf", "POST", "/v1/traces", b"\xff\xff\xff", otlp, show=lambda b: None)
    s.http("otlp: nothing", "POST", "/v1/traces", b"", otlp, show=lambda b: None)
    s.http("otlp: wrong type", "POST", "/v1/traces", b"x", {**otlp, "Content-Type": "text/plain"}, show=lambda b: None)


def probes(s):
    s.http("probe: health", "GET", "/health")
    s.http("probe: version", "GET", "/version")
    s.http("probe: server-info", "GET", "/api/3.0/mlflow/server-info")
    for name, body in [("list", b"[]"), ("text", b"hello"), ("broken", b"{"), ("number", b"5"), ("bad utf-8", b'{"name": "\xff"}')]:
        s.http(f"body: {name}", "POST", "/api/2.0/mlflow/experiments/create", body, show=code)
    s.http("body: a form", "POST", "/api/2.0/mlflow/experiments/create", b"name=x", {"Content-Type": "application/x-www-form-urlencoded"})
    for value in [5, True, None, ["x"], {"a": 1}]:
        s.http(f"body: name {value!r}", "POST", "/api/2.0/mlflow/experiments/create", {"name": value})
    s.http("body: no such endpoint", "GET", "/api/2.0/mlflow/experiments/list", show=lambda b: None)


def last(s):
    """What leaves different things behind."""
    c, step = s.client, s.step
    step("experiments: location with a query", lambda: c.create_experiment("query", artifact_location="s3://b/x?y=1"))
    step("registry: a long name", lambda: c.create_registered_model("n" * 300))


def play(uri):
    s = Script(uri)
    mlflow.set_experiment(experiment_id="0")
    e = experiments(s)
    r = runs(s, e)
    artifacts(s, e, r)
    m = logged_models(s, e, r)
    registry(s, r, m)
    prompts(s, r, m)
    probes(s)
    traces(s, e, r)
    webhooks(s)
    datasets(s, e)
    scorers(s, e)
    last(s)
    return s.steps, s.messages


def main():
    ours = os.environ["MLFLOW_TRACKING_URI"]
    with tempfile.TemporaryDirectory() as folder:
        process, upstream = start_upstream(folder)
        try:
            theirs, their_words = play(upstream)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    mine, my_words = play(ours)
    if os.environ.get("DIFFERENTIAL_DUMP"):
        with open(os.environ["DIFFERENTIAL_DUMP"], "w") as f:
            json.dump({"theirs": theirs, "mine": mine, "their_words": their_words, "my_words": my_words}, f, indent=1)
    wrong = []
    for name in theirs | mine:
        a, b = theirs.get(name), mine.get(name)
        if (a == b) == (name in DIFFERENT):
            wrong.append(f"{name}{' (listed as different, but the same)' if a == b else ''}\n  mlflow: {json.dumps(a)[:1500]}\n  ours:   {json.dumps(b)[:1500]}")
    print(f"{len(theirs)} steps, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)
    assert len(theirs) > 400, len(theirs)


main()
