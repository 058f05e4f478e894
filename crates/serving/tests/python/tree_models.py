"""Writes models of XGBoost and LightGBM into the folder argv[1], with rows and what the libraries themselves
answer: values equal to thresholds, missing values, infinities, categories seen and unseen; and how they, and the
package `shap`, explain their answers."""

import json
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import shap
import xgboost as xgb

FOLDER = Path(sys.argv[1])
rng = np.random.default_rng(1)
cases = []


def data(rows, columns=6):
    x = rng.normal(size=(rows, columns))
    x[:, 1] = rng.integers(0, 5, size=rows)  # many equal values
    x[:, 2] = np.where(rng.random(rows) < 0.3, 0.0, x[:, 2])
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def hard(x, thresholds):
    """Rows to ask about: seen ones, thresholds themselves and their neighbours, what nobody has seen."""
    asked = [x[:40]]
    for column, value in thresholds:
        row = x[0].copy()
        for near in (value, np.nextafter(np.float32(value), np.float32(np.inf)), np.nextafter(np.float32(value), -np.float32(np.inf))):
            row = row.copy()
            row[column] = near
            asked.append(row[None])
    columns = x.shape[1]
    asked.append(np.full((1, columns), np.nan))
    asked.append(np.full((1, columns), np.inf))
    asked.append(np.full((1, columns), -np.inf))
    asked.append(np.zeros((1, columns)))
    return np.concatenate(asked)


def case(file, rows, expected, contributions, margins):
    """`contributions`: for each row, and each of its outputs, one for each column and the mean."""
    contributions = np.asarray(contributions, dtype=np.float64).reshape(len(rows), -1)
    margins = np.asarray(margins, dtype=np.float64).reshape(len(rows), -1)
    sums = contributions.reshape(len(rows), margins.shape[1], -1).sum(axis=2)
    assert np.allclose(sums, margins, rtol=1e-4, atol=1e-4), file
    number = lambda v: None if np.isnan(v) else str(v) if np.isinf(v) else float(v)  # noqa: E731
    cases.append({
        "file": file,
        "rows": [[number(v) for v in row] for row in rows],
        "expected": np.asarray(expected, dtype=np.float64).tolist(),
        "contributions": contributions.tolist(),
    })


def xgb_thresholds(booster):
    table = booster.trees_to_dataframe()
    splits = table[table["Feature"] != "Leaf"].dropna(subset=["Split"])
    return [(int(f[1:]), np.float32(s)) for f, s in zip(splits["Feature"][:40], splits["Split"][:40])]


def train_xgb(name, params, y, x, kinds=None, rounds=12):
    matrix = xgb.DMatrix(x, y, feature_types=kinds, enable_categorical=kinds is not None)
    booster = xgb.train({"max_depth": 4, "seed": 1, "nthread": 1, **params}, matrix, rounds)
    rows = hard(x, [] if kinds else xgb_thresholds(booster)).astype(np.float32)
    # The library takes no infinities.
    rows = rows[~np.isinf(rows).any(axis=1)]
    if kinds:
        # Not a number of a category, and categories that nobody has seen.
        rows = np.concatenate([rows, rows[:4]])
        rows[-1, 1] = 37
        rows[-2, 1] = 4
    asked = xgb.DMatrix(rows, feature_types=kinds, enable_categorical=kinds is not None)
    expected = booster.predict(asked)
    explained = booster.predict(asked, pred_contribs=True), booster.predict(asked, output_margin=True)
    for extension in ("json", "ubj"):
        booster.save_model(FOLDER / f"{name}.{extension}")
        case(f"{name}.{extension}", rows, expected, *explained)


def train_lgb(name, params, y, x, categorical="auto", rounds=12):
    dataset = lgb.Dataset(x, y, categorical_feature=categorical, free_raw_data=False)
    booster = lgb.train({"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, "seed": 1, **params}, dataset, rounds)
    table = booster.trees_to_dataframe()
    splits = table[(table["decision_type"] == "<=")][["split_feature", "threshold"]].head(40)
    thresholds = [(int(f.split("_")[1]), float(t)) for f, t in splits.itertuples(index=False)]
    rows = hard(x, thresholds)
    if categorical != "auto":
        rows = np.concatenate([rows, rows[:3]])
        rows[-1, 1], rows[-2, 1], rows[-3, 1] = 37, -1, np.nan
        rows = rows[~np.isinf(rows).any(axis=1)]
    booster.save_model(FOLDER / f"{name}.txt")
    explained, margins = booster.predict(rows, pred_contrib=True), booster.predict(rows, raw_score=True)
    if params.get("boosting") == "rf":
        # The library adds up here what it averages in its answers.
        explained, margins = explained / rounds, margins / rounds
    case(f"{name}.txt", rows, booster.predict(rows), explained, margins)
    if name in ("l_regression", "l_multiclass"):
        explainer = shap.TreeExplainer(booster, feature_perturbation="tree_path_dependent")
        values = np.asarray(explainer.shap_values(rows)).reshape(len(rows), x.shape[1], -1)
        means = np.broadcast_to(np.atleast_1d(explainer.expected_value), (len(rows), values.shape[2]))
        values = np.concatenate([values, means[:, None]], axis=1).transpose(0, 2, 1).reshape(len(rows), -1)
        assert np.allclose(values, explained, rtol=1e-6, atol=1e-8), name


x = data(400)
clean = np.nan_to_num(x)
score = clean[:, 0] + clean[:, 1] * 0.5 - clean[:, 3] ** 2
binary, three, positive = (score > 0).astype(float), np.digitize(score, [-1, 1]).astype(float), np.exp(score / 3)

train_xgb("squared", {"objective": "reg:squarederror"}, score, x)
train_xgb("logistic", {"objective": "binary:logistic"}, binary, x)
train_xgb("raw", {"objective": "binary:logitraw"}, binary, x)
train_xgb("hinge", {"objective": "binary:hinge"}, binary, x)
train_xgb("softprob", {"objective": "multi:softprob", "num_class": 3}, three, x)
train_xgb("softmax", {"objective": "multi:softmax", "num_class": 3}, three, x)
train_xgb("poisson", {"objective": "count:poisson"}, np.floor(positive), x)
train_xgb("gamma", {"objective": "reg:gamma"}, positive, x)
train_xgb("based", {"objective": "binary:logistic", "base_score": 0.2}, binary, x)
train_xgb("dart", {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.5}, score, x)
train_xgb("forest", {"objective": "reg:squarederror", "num_parallel_tree": 3, "subsample": 0.5}, score, x, rounds=3)
train_xgb("two", {"objective": "reg:squarederror"}, np.stack([score, -score], axis=1), x)
train_xgb("categories", {"objective": "binary:logistic", "max_cat_to_onehot": 1}, binary, x, kinds=["q", "c", "q", "q", "q", "q"])
train_xgb("onehot", {"objective": "binary:logistic", "max_cat_to_onehot": 9}, binary, x, kinds=["q", "c", "q", "q", "q", "q"])

train_lgb("l_regression", {"objective": "regression"}, score, x)
train_lgb("l_sqrt", {"objective": "regression", "reg_sqrt": True}, score, x)
train_lgb("l_binary", {"objective": "binary", "sigmoid": 0.7}, binary, x)
train_lgb("l_multiclass", {"objective": "multiclass", "num_class": 3}, three, x)
train_lgb("l_ova", {"objective": "multiclassova", "num_class": 3}, three, x)
train_lgb("l_poisson", {"objective": "poisson"}, np.floor(positive), x)
train_lgb("l_zero", {"objective": "regression", "zero_as_missing": True}, score, x)
train_lgb("l_nothing", {"objective": "regression", "use_missing": False}, score, x)
train_lgb("l_forest", {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, score, x)
train_lgb("l_dart", {"objective": "regression", "boosting": "dart"}, score, x)
train_lgb("l_categories", {"objective": "binary", "min_data_per_group": 1, "cat_smooth": 1}, binary, x, categorical=[1])
train_lgb("l_stump", {"objective": "regression", "min_data_in_leaf": 300}, score, x)

(FOLDER / "cases.json").write_text(json.dumps(cases))
