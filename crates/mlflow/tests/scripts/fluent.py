"""The fluent API: autologging, loading by alias, evaluation, and projects."""

import os
import sys

import mlflow
import numpy
import pandas
from mlflow import MlflowClient
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

client = MlflowClient()
x, y = make_classification(120, 4, random_state=1)
frame = pandas.DataFrame(x, columns=list("abcd"))
experiment = mlflow.set_experiment("fluent").experiment_id

mlflow.sklearn.autolog(log_input_examples=True)
with mlflow.start_run(run_name="sklearn") as run:
    fitted = LogisticRegression(C=0.5).fit(frame, y)
logged = client.get_run(run.info.run_id)
assert logged.data.params["C"] == "0.5" and logged.data.metrics["training_score"] > 0.5, logged.data
assert logged.outputs.model_outputs, "the model is an output of its run"
mlflow.sklearn.autolog(disable=True)

mlflow.xgboost.autolog(log_models=False)
with mlflow.start_run(run_name="xgboost") as boosted:
    XGBClassifier(n_estimators=3).fit(frame, y, eval_set=[(frame, y)], verbose=False)
assert len(client.get_metric_history(boosted.info.run_id, "validation_0-logloss")) == 3
mlflow.xgboost.autolog(disable=True)

model_id = logged.outputs.model_outputs[0].model_id
version = mlflow.register_model(f"models:/{model_id}", "fluent")
client.set_registered_model_alias("fluent", "champion", version.version)
loaded = mlflow.pyfunc.load_model("models:/fluent@champion")
assert numpy.array_equal(loaded.predict(frame), fitted.predict(frame))
assert loaded.metadata.signature is not None

data = mlflow.data.from_pandas(frame.assign(label=y), targets="label", name="held out")
with mlflow.start_run(run_name="evaluation") as evaluated:
    result = mlflow.models.evaluate(
        "models:/fluent@champion", data, model_type="classifier", evaluator_config={"log_explainer": False},
        model_id=model_id,
    )
assert result.metrics["accuracy_score"] > 0.5
measured = client.get_run(evaluated.info.run_id)
assert measured.data.metrics["accuracy_score"] == result.metrics["accuracy_score"]
assert measured.inputs.dataset_inputs[0].dataset.name == "held out"
of_model = client.get_logged_model(model_id).metrics
assert any(m.key == "accuracy_score" and m.dataset_name == "held out" for m in of_model), of_model

os.makedirs("project")
with open("project/MLproject", "w") as file:
    file.write(
        "name: adder\nentry_points:\n  main:\n    parameters:\n      n: {type: float, default: 1}\n"
        f"    command: {sys.executable} add.py {{n}}\n"
    )
with open("project/add.py", "w") as file:
    file.write("import sys, mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('sum', float(sys.argv[1]) + 1)\n")
done = mlflow.projects.run("project", parameters={"n": 41}, env_manager="local", experiment_name="fluent")
assert done.wait()
of_project = client.get_run(done.run_id)
assert of_project.data.metrics == {"sum": 42.0} and of_project.data.params == {"n": "41"}, of_project.data
assert of_project.info.status == "FINISHED" and of_project.data.tags["mlflow.project.entryPoint"] == "main"
