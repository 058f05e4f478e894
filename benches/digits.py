"""The classifier of the demo, trained here, and one image to ask it about."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


@dataclass
class Trained:
    pipeline: Pipeline
    #: The folder of `model.onnx`.
    onnx: Path


def train(folder):
    pixels, answers = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300)).fit(pixels, answers)
    folder.mkdir(parents=True)
    exported = to_onnx(pipeline, pixels[:1], options={"zipmap": False})
    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    return Trained(pipeline, folder)


def image():
    """The first of them: a zero."""
    return load_digits().data[0].tolist()


def v2_request():
    """Open Inference Protocol v2, `POST /v2/models/digits/infer`."""
    return {"inputs": [{"name": "X", "shape": [1, 64], "datatype": "FP32", "data": image()}]}


def mlflow_request():
    """MLflow's scoring protocol, `POST /invocations`."""
    return {"inputs": [image()]}
