"""Measures the exported model on the fixed evaluation set."""

import json
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime

evaluation = np.load("build/evaluation.npz")
pixels, digits = evaluation["pixels"], evaluation["digits"]
session = onnxruntime.InferenceSession("model/model.onnx", providers=["CPUExecutionProvider"])
labels, probabilities = session.run(None, {session.get_inputs()[0].name: pixels})

chosen = probabilities[np.arange(len(digits)), digits]
metrics = {
    "accuracy": float(np.mean(labels == digits)),
    "log_loss": float(-np.mean(np.log(np.clip(chosen, 1e-7, 1.0)))),
}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")

with mlflow.start_run():
    mlflow.log_metrics(metrics)

print(f"accuracy {metrics['accuracy']:.4f} on {len(digits)} images")
