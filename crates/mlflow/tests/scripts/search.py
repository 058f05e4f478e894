"""Filters, orders and pages of runs and experiments."""
import math

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import ViewType
from refused import refused

client = MlflowClient()
experiment = mlflow.set_experiment("search").experiment_id
for i in range(6):
    with mlflow.start_run(run_name=f"run {i}"):
        mlflow.log_metric("acc", [0.5, 0.9, 0.7, math.nan, 0.8, 0.6][i])
        mlflow.log_param("model", "Tree" if i % 2 else "linear")
        if i < 2:
            mlflow.set_tag("a b", str(i))
        if i == 5:
            mlflow.log_input(mlflow.data.from_pandas(pd.DataFrame({"a": [1]}), name="eval"), context="test")


def names(filter_string="", order_by=None, **more):
    found = client.search_runs([experiment], filter_string, order_by=order_by, **more)
    return [run.info.run_name.removeprefix("run ") for run in found]


assert names() == ["5", "4", "3", "2", "1", "0"]
assert names("metrics.acc >= 0.7", ["metrics.acc DESC"]) == ["1", "4", "2"]
assert names("metrics.acc != 0.5", ["attributes.start_time"]) == ["1", "2", "3", "4", "5"]
assert names("params.model LIKE 'T%' and metrics.acc < 1", ["metrics.acc"]) == ["5", "1"]
assert names("params.model LIKE 't%'") == []
assert names("params.model ILIKE 't%'", ["start_time ASC"]) == ["1", "3", "5"]
assert names("tags.`a b` != '0'") == ["1"]
assert names("tags.`a b` IS NULL", ["start_time"]) == ["2", "3", "4", "5"]
assert names("attributes.run_name = 'run 3'") == ["3"]
assert names("dataset.name = 'eval' AND dataset.context = 'test'") == ["5"]
assert names("status = 'RUNNING'") == []
# NaN comes last, before what has no such metric.
assert names("", ["metrics.acc"]) == ["0", "5", "2", "4", "1", "3"]

page = client.search_runs([experiment], max_results=4)
assert len(page) == 4 and page.token
assert len(client.search_runs([experiment], max_results=4, page_token=page.token)) == 2
assert len(mlflow.search_runs([experiment])) == 6

# Beyond MLflow.
assert names("metrics.acc > 0.8 OR params.model IN ('none') OR `run name` = 'run 0'", ["start_time"]) == ["0", "1"]
assert names("(metrics.acc > 0.8 OR metrics.acc < 0.6) AND params.model = 'Tree'") == ["1"]

for bad in ["metrics.acc > 1 XOR metrics.acc < 0", "foo.a = 'x'", "metrics.acc > nan", "(metrics.acc > 1"]:
    with refused() as error:
        names(bad)
    assert error.error_code == "INVALID_PARAMETER_VALUE", bad

client.delete_run(client.search_runs([experiment], "attributes.run_name = 'run 0'")[0].info.run_id)
assert names(run_view_type=ViewType.DELETED_ONLY) == ["0"]
assert len(names(run_view_type=ViewType.ALL)) == 6

for name in ["alpha", "beta"]:
    client.create_experiment(name, tags={"kind": name})
assert [e.name for e in client.search_experiments(filter_string="tags.kind = 'beta'")] == ["beta"]
assert [e.name for e in client.search_experiments(filter_string="name LIKE 'al%'")] == ["alpha"]
assert [e.name for e in client.search_experiments(order_by=["name ASC"])] == ["Default", "alpha", "beta", "search"]
assert client.search_experiments(filter_string="name = 'nobody'") == []
