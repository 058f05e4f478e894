"""log_model, register_model, aliases, stages, load_model: equal predictions at the end."""
import mlflow
import numpy as np
from mlflow import MlflowClient
from refused import refused
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skl2onnx import to_onnx

client = MlflowClient()
x, y = load_iris(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
expected = model.predict(x)

experiment = mlflow.set_experiment("models").experiment_id
with mlflow.start_run() as run:
    # Named requirements: inferring them would import the model in a process of its own.
    logged = mlflow.sklearn.log_model(model, name="iris", params={"c": 1.0}, pip_requirements=["scikit-learn"])
    as_onnx = to_onnx(model, x[:1].astype(np.float32), options={"zipmap": False})
    onnx_info = mlflow.onnx.log_model(as_onnx, name="iris_onnx", pip_requirements=["onnxruntime"])
    mlflow.log_metric("accuracy", 0.97, model_id=logged.model_id)

read = mlflow.get_logged_model(logged.model_id)
assert read.status == "READY" and read.params["c"] == "1.0" and read.source_run_id == run.info.run_id
assert [m.key for m in read.metrics] == ["accuracy"]
assert client.get_run(run.info.run_id).outputs.model_outputs[0].model_id in {logged.model_id, onnx_info.model_id}
found = mlflow.search_logged_models([experiment], "metrics.accuracy > 0.9 AND name = 'iris'", output_format="list")
assert [m.model_id for m in found] == [logged.model_id]

one = mlflow.register_model(logged.model_uri, "iris", tags={"by": "test"})
two = mlflow.register_model(f"runs:/{run.info.run_id}/iris", "iris")
assert (str(one.version), str(two.version)) == ("1", "2")
assert client.get_model_version("iris", "1").run_id == run.info.run_id
assert client.get_model_version_download_uri("iris", "1") == read.artifact_location

client.set_registered_model_alias("iris", "champion", 1)
assert client.get_model_version_by_alias("iris", "champion").aliases == ["champion"]
assert (mlflow.pyfunc.load_model("models:/iris@champion").predict(x) == expected).all()
assert (mlflow.sklearn.load_model("models:/iris/2").predict(x) == expected).all()
assert np.allclose(mlflow.sklearn.load_model(logged.model_uri).predict_proba(x), model.predict_proba(x))
by_onnx = mlflow.pyfunc.load_model(onnx_info.model_uri).predict(x.astype(np.float32))
assert (by_onnx["label"] == expected).all()
client.delete_registered_model_alias("iris", "champion")
with refused("Registered model alias champion not found") as missing:
    client.get_model_version_by_alias("iris", "champion")
assert missing.error_code == "INVALID_PARAMETER_VALUE"

client.transition_model_version_stage("iris", 1, "staging")
assert [str(v.version) for v in client.get_latest_versions("iris", ["Staging"])] == ["1"]
client.update_model_version("iris", 1, description="first")
client.set_model_version_tag("iris", 1, "checked", "yes")
version = client.get_model_version("iris", 1)
assert version.description == "first" and version.tags == {"by": "test", "checked": "yes"}
client.delete_model_version_tag("iris", 1, "checked")
assert {str(v.version) for v in client.search_model_versions("name = 'iris'")} == {"1", "2"}
assert [str(v.version) for v in client.search_model_versions("name = 'iris' AND tags.by = 'test'")] == ["1"]

client.update_registered_model("iris", description="flowers")
client.set_registered_model_tag("iris", "k", "v")
[model_entry] = client.search_registered_models("name ILIKE 'IR%'")
assert model_entry.description == "flowers" and model_entry.tags == {"k": "v"}
with refused() as exists:
    client.create_registered_model("iris")
assert exists.error_code == "RESOURCE_ALREADY_EXISTS"
client.delete_model_version("iris", 2)
third = mlflow.register_model(logged.model_uri, "iris")
assert str(third.version) == "3", "a deleted number is not given again"
client.rename_registered_model("iris", "flowers")
assert {str(v.version) for v in client.search_model_versions("name = 'flowers'")} == {"1", "3"}
client.delete_registered_model("flowers")
assert client.search_registered_models() == []
for bad in ["..", "a/b", "a:b", " "]:
    with refused():
        client.create_registered_model(bad)

# Prompts are registered models with a tag; a model without it is none.
client.create_registered_model("plain")
mlflow.genai.register_prompt(name="greeting", template="Hello {{name}}")
assert [m.name for m in client.search_registered_models()] == ["plain"]
assert mlflow.genai.load_prompt("prompts:/greeting/1").template == "Hello {{name}}"
