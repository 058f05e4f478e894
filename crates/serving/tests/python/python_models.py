"""Saves models that only Python runs, and writes what they answer themselves.

    python python_models.py FOLDER

FOLDER/expected.json holds the rows that were asked and the answers of each model.
"""

import json
import pathlib
import sys
import warnings

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(sys.argv[1])
dice = np.random.default_rng(5)
towns = ["Ulm", "Bonn", "Kiel"]
frame = pd.DataFrame({"town": dice.choice(towns, 80), "age": dice.integers(1, 90, 80), "height": dice.normal(size=80)})
label = np.where(frame["age"] + 10 * frame["height"] > 45, "old", "young")

# A town that was never seen is an error of the model: a poisoned request.
columns = make_column_transformer((OneHotEncoder(), ["town"]), (StandardScaler(), ["age", "height"]))
forest = make_pipeline(columns, RandomForestClassifier(n_estimators=5, random_state=1)).fit(frame, label)
kind = {"signature": infer_signature(frame, label), "input_example": frame.head(2), "pip_requirements": ["mlflow"]}
mlflow.sklearn.save_model(forest, FOLDER / "forest", serialization_format="cloudpickle", **kind)
plain = RandomForestClassifier(n_estimators=5, random_state=1).fit(frame[["age", "height"]].to_numpy(), label == "old")
mlflow.sklearn.save_model(plain, FOLDER / "plain", serialization_format="pickle", pip_requirements=["mlflow"])


class Moody(mlflow.pyfunc.PythonModel):
    """Twice what it is given, and what its first number says: -1 raises, -2 crashes, -3 hangs, -4 takes all memory,
    -5 keeps a little for ever, -6 tells its process, -7 writes a file elsewhere."""

    kept = []

    def predict(self, context, model_input, params=None):
        import os
        import signal
        import time

        mood = int(model_input["x"].iloc[0])
        if mood == -1:
            raise ValueError("takes no -1")
        if mood == -2:
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == -3:
            time.sleep(600)
        if mood == -4:
            self.kept.append(np.ones(1 << 28))
        if mood == -5:
            self.kept.append(np.ones(1 << 20))
        if mood == -6:
            return pd.DataFrame({"y": [float(os.getpid())]})
        if mood == -7:
            with open(OUTSIDE, "w") as file:
                file.write("x")
        return pd.DataFrame({"y": model_input["x"] * 2})


OUTSIDE = str(FOLDER / "outside")
numbers = pd.DataFrame({"x": [1.0, 2.0]})
kind = {"signature": infer_signature(numbers, numbers.rename(columns={"x": "y"})), "pip_requirements": ["mlflow"]}
mlflow.pyfunc.save_model(FOLDER / "moody", python_model=Moody(), **kind)

asked = frame.iloc[:20]
(FOLDER / "expected.json").write_text(
    json.dumps(
        {
            "rows": json.loads(asked.to_json(orient="split", index=False)),
            "forest": forest.predict(asked).tolist(),
            "plain": plain.predict(asked[["age", "height"]].to_numpy()).tolist(),
        }
    )
)
