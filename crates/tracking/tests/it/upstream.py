"""MLflow's own store: holds the runs of the first line of stdin, and answers a search for each line that follows."""

import json
import os
import sys

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

store = SqlAlchemyStore("sqlite:///upstream.db", "files")
for run in json.loads(sys.stdin.readline()):
    made = store.create_run("0", run["user"], run["start"], [RunTag(k, v) for k, v in run["tags"].items()], run["name"])
    store.log_batch(
        made.info.run_id,
        [Metric(key, float(value), 1, 0) for key, value in run["metrics"].items()],
        [Param(k, v) for k, v in run["params"].items()],
        [],
    )
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        found = store.search_runs(["0"], asked["filter"], ViewType.ACTIVE_ONLY, 1000, asked["order"])
        answer = [run.info.run_name for run in found]
    except MlflowException:
        answer = None
    print(json.dumps(answer), flush=True)
