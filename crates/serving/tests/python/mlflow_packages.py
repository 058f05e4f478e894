"""Saves models in MLflow's folders, and writes what MLflow itself answers to scoring requests.

    python mlflow_packages.py FOLDER

FOLDER/cases.json lists {model, request, status, predictions, error}.
"""

import json
import pathlib
import sys
import warnings

import lightgbm
import mlflow
import mlflow.onnx
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from mlflow.pyfunc.scoring_server import infer_and_parse_data
from mlflow.utils.proto_json_utils import dataframe_from_parsed_json
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(sys.argv[1])
dice = np.random.default_rng(3)
# Columns that are not in the order of the alphabet: their order is the model's.
frame = pd.DataFrame({"width": dice.normal(size=60), "age": dice.integers(1, 90, size=60), "height": dice.normal(size=60)})
target = frame["width"] * 3 + frame["age"] - frame["height"]
example = frame.head(2)
signature = infer_signature(frame, target.to_numpy())

# Requirements are named, so that MLflow does not start a process for each model to find them.
kind = {"signature": signature, "input_example": example, "pip_requirements": ["mlflow"]}
mlflow.xgboost.save_model(xgboost.XGBRegressor(n_estimators=5).fit(frame, target), FOLDER / "xgboost", **kind)
booster = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(frame, target).booster_
mlflow.lightgbm.save_model(booster, FOLDER / "lightgbm", **kind)
linear = LinearRegression().fit(frame, target)
mlflow.sklearn.save_model(linear, FOLDER / "sklearn", **kind)
matrix = frame.to_numpy().astype(np.float32)
exported = to_onnx(LinearRegression().fit(matrix, target), matrix[:1])
kind |= {"signature": infer_signature(matrix, target.to_numpy()), "input_example": matrix[:2]}
mlflow.onnx.save_model(exported, FOLDER / "onnx", **kind)

rows = [[0.5, 30, 1.5], [-1.0, 71, 0.25]]
split = lambda columns, data: {"dataframe_split": {"columns": columns, "data": data}}
frames = [
    split(["width", "age", "height"], rows),
    split(["height", "width", "age"], [[r[2], r[0], r[1]] for r in rows]),
    split(["more", "height", "width", "age"], [["x", r[2], r[0], r[1]] for r in rows]),
    {"dataframe_records": [{"height": 1.5, "age": 30, "width": 0.5}, {"age": 71, "width": -1.0, "height": 0.25}]},
    {"inputs": {"width": [0.5], "height": [1.5], "age": [30]}},
    split(["width", "height"], [[0.5, 1.5]]),
    split(["width", "height", "more", "most"], [[0.5, 1.5, 1, 2]]),
    split(["width", "age", "height"], [["wide", 30, 1.5]]),
    split(["width", "age", "height"], [[1, 30, 2]]),
]
arrays = [{"inputs": rows}, {"instances": rows}]
cases = []
for model, requests in [("xgboost", frames), ("lightgbm", frames), ("onnx", arrays)]:
    loaded = mlflow.pyfunc.load_model(str(FOLDER / model))
    for request in requests:
        case = {"model": model, "request": request, "predictions": None, "error": None}
        try:
            schema = loaded.metadata.get_input_schema()
            form, data = next(iter(request.items()))
            if form.startswith("dataframe_"):
                data = dataframe_from_parsed_json(data, form.removeprefix("dataframe_"), schema)
            else:
                data = infer_and_parse_data(request, schema)
            answer = loaded.predict(data)
            answer = next(iter(answer.values())) if isinstance(answer, dict) else answer
            case["predictions"] = np.asarray(answer).tolist()
        except Exception as error:
            case["error"] = getattr(error, "message", str(error))
        cases.append(case)
(FOLDER / "cases.json").write_text(json.dumps(cases))
