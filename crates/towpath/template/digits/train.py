"""Trains a classifier of handwritten digits and exports it as ONNX."""

from pathlib import Path

import mlflow
import yaml
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import images

params = yaml.safe_load(Path("params.yaml").read_text())["train"]
pixels, digits = images.read("build/train.csv")

with mlflow.start_run():
    mlflow.log_params(params)
    classifier = LogisticRegression(C=params["C"], max_iter=params["max_iter"])
    model = make_pipeline(StandardScaler(), classifier).fit(pixels, digits)
    mlflow.log_metric("train_accuracy", model.score(pixels, digits))
    mlflow.log_metric("iterations", int(classifier.n_iter_.max()))

    folder = Path("model")
    folder.mkdir(exist_ok=True)
    exported = to_onnx(model, pixels[:1], options={"zipmap": False})
    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    mlflow.log_artifact(str(folder / "model.onnx"))

print(f"trained on {len(digits)} images")
