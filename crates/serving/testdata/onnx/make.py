"""Writes the fixtures of the ONNX interpreter's tests: NAME.onnx and NAME.json.

Every model is exported by skl2onnx (or built with onnx.helper, where an operator or a combination
does not come out of an exporter) and judged by ONNX Runtime: the JSON file holds inputs and what
ONNX Runtime answered. Needs numpy, scikit-learn, skl2onnx, onnx, onnxruntime and pandas. Run:

    PYTHONHASHSEED=0 python make.py    (skl2onnx writes sets in hash order)
"""

import itertools
import json
import math
import pathlib
import warnings

import numpy as np
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
TYPES = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "bool": "bool"}


def number(value):
    """JSON has no NaN and no infinities: they are written as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def tensor(name, array):
    array = np.asarray(array)
    if array.dtype == np.float32:
        # The shortest text that reads back as the same 32-bit number.
        array = np.array([float(str(v)) for v in array.ravel()]).reshape(array.shape)
        return tensor(name, array) | {"type": "f32"}
    kind = TYPES.get(array.dtype.name, "text")
    data = [number(v) for v in array.ravel().tolist()]
    return {"name": name, "type": kind, "shape": list(array.shape), "data": data}


def scores(output):
    """ZipMap answers a list of dictionaries; the interpreter answers their values."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([list(row.values()) for row in output], dtype=np.float32)
    return output


def save(name, model, inputs):
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers = session.run(None, inputs)
    outputs = [tensor(o.name, scores(a)) for o, a in zip(session.get_outputs(), answers)]
    case = {"inputs": [tensor(n, a) for n, a in inputs.items()], "outputs": outputs}
    (HERE / f"{name}.onnx").write_bytes(content)
    (HERE / f"{name}.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")


def export(model, rows, **options):
    if rows.dtype == np.float64 and hasattr(model, "classes_"):
        # ONNX Runtime has ZipMap for 32-bit scores only.
        options["options"] = {"zipmap": False}
    return to_onnx(model, rows[:1], **options)


def sklearn_model(name, model, rows, **options):
    save(name, export(model, rows, **options), {"X": rows})


def hostile(rows, thresholds=()):
    """Rows as given, and some with NaN, infinities and huge numbers."""
    odd = np.resize(rows, (6, rows.shape[1])).copy()
    odd[0, ::7] = np.nan
    odd[1, ::5] = np.inf
    odd[2, ::5] = -np.inf
    odd[3, :] = 3e38
    odd[4, ::2] = -0.0
    odd[5, :] = np.nan
    for column, threshold in thresholds:
        equal = rows[:1].copy()
        equal[0, column] = threshold
        odd = np.concatenate([odd, equal])
    return np.concatenate([rows, odd]).astype(rows.dtype)


def thresholds(model, limit=6):
    """(feature, threshold as float32) of the first tests of the trees in an exported model."""
    found = []
    for node in model.graph.node:
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if "nodes_values" in values:
            tests = zip(values["nodes_featureids"], values["nodes_values"], values["nodes_modes"])
            found += [(f, v) for f, v, mode in tests if mode != b"LEAF"]
    return found[:limit]


def tree_model(name, model, rows, **options):
    exported = export(model, rows, **options)
    save(name, exported, {"X": hostile(rows, thresholds(exported))})


def digits_models():
    digits, label = load_digits(return_X_y=True)
    f32 = digits.astype(np.float32)
    rows = f32[1500:1504]
    odd = label % 2
    word = np.array([f"digit {v}" for v in label])

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(digits, label)
    sklearn_model("digits_logistic_f32", pipeline, rows)
    no_zipmap = {"options": {"zipmap": False}}
    sklearn_model("digits_logistic_f64", pipeline, rows.astype(np.float64))
    sklearn_model("digits_logistic_arrays", pipeline, rows, **no_zipmap)
    nan = hostile(rows)
    sklearn_model("digits_logistic_nan", pipeline, nan)
    binary = make_pipeline(StandardScaler(), LogisticRegression()).fit(digits, odd)
    sklearn_model("logistic_binary_f32", binary, rows)
    sklearn_model("logistic_binary_f64", binary, rows.astype(np.float64))
    text = LogisticRegression(max_iter=50).fit(digits, word)
    sklearn_model("logistic_text_labels", text, rows)
    raw = LogisticRegression(max_iter=50).fit(digits, label)
    sklearn_model("logistic_raw_scores", raw, rows, options={id(raw): {"raw_scores": True}})
    sklearn_model("linear_svc", LinearSVC(random_state=0).fit(digits, label), rows)
    sklearn_model("linear_svc_binary", LinearSVC(random_state=0).fit(digits, odd), rows)
    sgd = SGDClassifier(loss="log_loss", random_state=0).fit(digits, label)
    sklearn_model("sgd_log_loss", sgd, rows)
    sklearn_model("gaussian_nb", GaussianNB(var_smoothing=1e-2).fit(digits, label), rows)
    pca = make_pipeline(PCA(5, random_state=0), LogisticRegression(max_iter=50)).fit(digits, label)
    sklearn_model("pca_logistic", pca, rows)

    forest = RandomForestClassifier(5, max_depth=4, random_state=0)
    tree_model("forest_f32", forest.fit(digits, label), rows)
    tree_model("forest_binary", forest.fit(digits, odd), rows)
    tree_model("forest_text_labels", forest.fit(digits, word), rows)
    tree_model("forest_ml3", forest.fit(digits, label), rows, target_opset={"": 18, "ai.onnx.ml": 3})
    extra = ExtraTreesClassifier(4, max_depth=4, random_state=0).fit(digits, label)
    tree_model("extra_trees", extra, rows)
    tree_model("decision_tree", DecisionTreeClassifier(max_depth=4, random_state=0).fit(digits, label), rows)
    boosting = GradientBoostingClassifier(n_estimators=3, max_depth=3, random_state=0)
    tree_model("boosting_binary", boosting.fit(digits, odd), rows)
    tree_model("boosting_multiclass", boosting.fit(digits, label), rows)
    bagging = BaggingClassifier(
        DecisionTreeClassifier(max_depth=3, random_state=0), n_estimators=3, random_state=0
    )
    tree_model("bagging", bagging.fit(digits, label), rows)

    mlp = MLPClassifier((12,), max_iter=40, random_state=0)
    sklearn_model("mlp", mlp.fit(digits, label), rows)
    sklearn_model("mlp_f64", mlp, rows.astype(np.float64))
    sklearn_model("mlp_text_labels", mlp.fit(digits, word), rows)
    tanh = MLPClassifier((6,), activation="tanh", max_iter=40, random_state=0)
    sklearn_model("mlp_binary_tanh", tanh.fit(digits, odd), rows)
    sklearn_model("min_max_scaler", MinMaxScaler(clip=True).fit(digits), hostile(rows))
    sklearn_model("max_abs_scaler", MaxAbsScaler().fit(digits), rows)
    for norm in ["l1", "l2", "max"]:
        sklearn_model(f"normalizer_{norm}", Normalizer(norm).fit(digits), rows - 3)
    sklearn_model("binarizer", Binarizer(threshold=5.0).fit(digits), rows)
    sklearn_model("select_k_best", SelectKBest(k=5).fit(digits, label), rows)


def regressors():
    data, target = load_diabetes(return_X_y=True)
    rows = data[:8].astype(np.float32)
    both = np.stack([target, -target], axis=1)
    forest = RandomForestRegressor(6, max_depth=4, random_state=0)
    tree_model("forest_regressor", forest.fit(data, target), rows)
    tree_model("forest_regressor_two_targets", forest.fit(data, both), rows)
    boosting = GradientBoostingRegressor(n_estimators=10, random_state=0).fit(data, target)
    tree_model("boosting_regressor", boosting, rows)
    tree_model("tree_regressor", DecisionTreeRegressor(max_depth=4, random_state=0).fit(data, target), rows)
    sklearn_model("ridge", Ridge().fit(data, target), rows)
    sklearn_model("linear_regression_two_targets", LinearRegression().fit(data, both), rows)
    sklearn_model("linear_regression_f64", LinearRegression().fit(data, target), rows.astype(np.float64))
    mlp = MLPRegressor(
        hidden_layer_sizes=(6,), activation="logistic", max_iter=40, random_state=0
    ).fit(data, target)
    sklearn_model("mlp_regressor", mlp, rows)


def tables():
    """ColumnTransformer over text, integers and floats, with categories never seen in training."""
    seed = np.random.RandomState(0)
    size = 60
    train = pd.DataFrame(
        {
            "age": seed.uniform(18, 80, size),
            "income": seed.uniform(1, 9, size),
            "city": seed.choice(["Bern", "Graz", "Köln"], size),
            "plan": seed.choice(["a", "b"], size),
            "rooms": seed.randint(1, 5, size),
        }
    )
    train.loc[::7, "age"] = np.nan
    label = (train["income"] + (train["city"] == "Bern") * 3 > 6).map({True: "yes", False: "no"})
    types = [
        ("age", FloatTensorType([None, 1])),
        ("income", FloatTensorType([None, 1])),
        ("city", StringTensorType([None, 1])),
        ("plan", StringTensorType([None, 1])),
        ("rooms", Int64TensorType([None, 1])),
    ]
    one = lambda values, kind: np.array(values, dtype=kind).reshape(-1, 1)
    inputs = {
        "age": one([20, np.nan, 70, 33], np.float32),
        "income": one([8, 2, 5.5, 1], np.float32),
        "city": one(["Bern", "Graz", "Nowhere", ""], object),
        "plan": one(["a", "b", "c", "a"], object),
        "rooms": one([1, 4, 99, -3], np.int64),
    }
    floats = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = ColumnTransformer(
        [
            ("floats", floats, ["age", "income"]),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city", "plan"]),
            ("integers", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["rooms"]),
        ]
    )
    for name, last in [
        ("table_logistic", LogisticRegression()),
        ("table_forest", RandomForestClassifier(5, max_depth=4, random_state=0)),
        ("table_boosting", GradientBoostingClassifier(n_estimators=5, random_state=0)),
    ]:
        model = make_pipeline(columns, last).fit(train, label)
        save(name, to_onnx(model, initial_types=types), inputs)
    ordinal = ColumnTransformer(
        [
            ("floats", StandardScaler(), ["income"]),
            (
                "texts",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                ["city", "plan"],
            ),
            ("rest", "passthrough", ["rooms"]),
        ]
    )
    model = make_pipeline(ordinal, RandomForestClassifier(5, max_depth=4, random_state=0))
    used = {k: v for k, v in inputs.items() if k != "age"}
    kept = [t for t in types if t[0] != "age"]
    save("table_ordinal", to_onnx(model.fit(train[list(used)], label), initial_types=kept), used)
    impute = SimpleImputer(strategy="most_frequent", missing_values="")
    texts = make_pipeline(impute, OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    exported = to_onnx(texts.fit(train[["city"]]), initial_types=types[2:3])
    save("impute_text", exported, {"city": inputs["city"]})
    labels = LabelEncoder().fit(train["city"])
    exported = to_onnx(labels, initial_types=[("city", StringTensorType([None]))])
    save("label_encoder", exported, {"city": np.array(["Bern", "Köln"], dtype=object)})


FLOAT, INT, TEXT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
ELEMENT = {"float32": FLOAT, "float64": TensorProto.DOUBLE, "int64": INT, "bool": BOOL}


def graph(name, nodes, inputs, outputs, constants=None, opset=18, ml=3):
    """A model of `nodes`; `outputs` are (name, element type)."""
    info = lambda n, a: helper.make_tensor_value_info(n, ELEMENT.get(a.dtype.name, TEXT), [None] * a.ndim)
    made = helper.make_graph(
        nodes,
        name,
        [info(n, a) for n, a in inputs.items()],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    save(name, helper.make_model(made, opset_imports=imports, ir_version=8), inputs)


def operators():
    """One small graph for what exporters use rarely."""
    node = helper.make_node
    x = np.array([[1, -2, 3.5], [0, -0.0, 2], [np.nan, np.inf, -np.inf]], dtype=np.float32)
    y = np.array([[2, 2, -1], [0.5, 4, 2], [1, 1, np.nan]], dtype=np.float32)
    two = {"x": x, "y": y}
    for op in ["Add", "Sub", "Mul", "Div", "Pow"]:
        graph(f"op_{op.lower()}", [node(op, ["x", "y"], ["z"])], two, [("z", FLOAT)])
    for op in ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]:
        graph(f"op_{op.lower()}", [node(op, ["x", "y"], ["z"])], two, [("z", BOOL)])
    unary = ["Abs", "Exp", "Log", "Neg", "Reciprocal", "Relu", "Sigmoid", "Sqrt", "Tanh", "Softmax"]
    graph(
        "op_unary",
        [node(op, ["x"], [op]) for op in unary],
        {"x": x},
        [(op, FLOAT) for op in unary],
    )
    reductions = ["ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceLogSumExp"]
    cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7 - 1
    for axes in [[1], [0, 2], [-1], None]:
        tag = "all" if axes is None else "_".join(str(a).replace("-", "m") for a in axes)
        for keep in [0, 1]:
            nodes = [
                node(op, ["x"] + (["axes"] if axes and op == "ReduceSum" else []), [op], keepdims=keep)
                if op == "ReduceSum"
                else node(op, ["x"], [op], keepdims=keep, **({"axes": axes} if axes else {}))
                for op in reductions
            ]
            constants = {"axes": np.array(axes)} if axes else None
            outputs = [(op, FLOAT) for op in reductions]
            graph(f"op_reduce_{tag}_{keep}", nodes, {"x": cube}, outputs, constants, opset=17)
    ties = np.array([[1, 3, 3], [np.nan, 1, 2], [2, 1, np.nan], [0, 0, 0]], dtype=np.float32)
    graph(
        "op_argmax",
        [
            node("ArgMax", ["x"], ["rows"], axis=1, keepdims=0),
            node("ArgMax", ["x"], ["columns"], axis=0),
            node("ArgMax", ["x"], ["last"], axis=-1, select_last_index=1),
        ],
        {"x": ties[:1].repeat(2, 0)},
        [("rows", INT), ("columns", INT), ("last", INT)],
    )
    graph(
        "op_softmax_old",
        [node("Softmax", ["x"], ["flat"], axis=1), node("Softmax", ["x"], ["default"])],
        {"x": cube},
        [("flat", FLOAT), ("default", FLOAT)],
        opset=11,
    )
    graph("op_softmax_middle", [node("Softmax", ["x"], ["z"], axis=1)], {"x": cube}, [("z", FLOAT)])
    graph(
        "op_where",
        [
            node("Equal", ["x", "y"], ["same"]),
            node("Not", ["same"], ["other"]),
            node("Where", ["other", "x", "fill"], ["z"]),
            node("And", ["same", "other"], ["never"]),
            node("Or", ["same", "other"], ["always"]),
        ],
        two,
        [("z", FLOAT), ("never", BOOL), ("always", BOOL)],
        {"fill": np.array([7], dtype=np.float32)},
    )
    graph(
        "op_shapes",
        [
            node("Gather", ["x", "pick"], ["gathered"], axis=1),
            node("Gather", ["x", "one"], ["column"], axis=-1),
            node("Reshape", ["x", "flat"], ["flattened"]),
            node("Reshape", ["x", "keep"], ["kept"]),
            node("Flatten", ["x"], ["flatten"]),
            node("Concat", ["x", "x"], ["joined"], axis=1),
            node("ArrayFeatureExtractor", ["x", "features"], ["extracted"], domain="ai.onnx.ml"),
            node("Sum", ["x", "row", "x"], ["sum"]),
            node("Identity", ["x"], ["same"]),
        ],
        {"x": cube},
        [
            (n, FLOAT)
            for n in "gathered column flattened kept flatten joined extracted sum same".split()
        ],
        {
            "pick": np.array([2, 0, -1]),
            "features": np.array([3, 0]),
            "one": np.array(1),
            "flat": np.array([-1]),
            "keep": np.array([0, -1]),
            "row": np.array([1, 2, 3, 4], dtype=np.float32),
        },
    )
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    rows = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
    graph(
        "op_layers",
        [
            node("Gemm", ["x", "w", "b"], ["gemm"], alpha=0.5, beta=2.0),
            node("Gemm", ["x", "wt"], ["turned"], transB=1),
            node("MatMul", ["x", "w"], ["product"]),
            node("MatMul", ["x", "v"], ["vector"]),
            node("BatchNormalization", ["product", "b", "c", "b", "c"], ["normal"]),
            node("Clip", ["product", "low", "high"], ["clipped"]),
        ],
        {"x": rows},
        [(n, FLOAT) for n in "gemm turned product vector normal clipped".split()],
        {
            "w": weights,
            "wt": weights.T.copy(),
            "v": weights[:, 0].copy(),
            "b": np.array([1, 2, 3], dtype=np.float32),
            "c": np.array([0.5, 0.25, 2], dtype=np.float32),
            "low": np.array(-0.5, dtype=np.float32),
            "high": np.array(0.75, dtype=np.float32),
        },
    )
    odd = np.array([1.9, -1.9, np.nan, np.inf, 1e20, 0], dtype=np.float32)
    graph(
        "op_cast",
        [
            node("Cast", ["x"], ["integer"], to=INT),
            node("Cast", ["x"], ["double"], to=TensorProto.DOUBLE),
            node("Cast", ["x"], ["truth"], to=BOOL),
            node("Cast", ["truth"], ["float"], to=FLOAT),
            node("Cast", ["integer"], ["text"], to=TEXT),
        ],
        {"x": odd},
        [
            ("integer", INT),
            ("double", TensorProto.DOUBLE),
            ("truth", BOOL),
            ("float", FLOAT),
            ("text", TEXT),
        ],
    )
    graph(
        "op_imputer",
        [
            node("Imputer", ["x"], ["z"], domain="ai.onnx.ml", imputed_value_floats=[9.0, 8.0, 7.0],
                 replaced_value_float=float("nan")),
            node("Imputer", ["x"], ["zero"], domain="ai.onnx.ml", imputed_value_floats=[5.0],
                 replaced_value_float=0.0),
        ],
        {"x": x},
        [("z", FLOAT), ("zero", FLOAT)],
    )
    graph(
        "op_encoders",
        [
            node("LabelEncoder", ["t"], ["number"], domain="ai.onnx.ml", keys_strings=["a", "b"],
                 values_floats=[1.5, 2.5], default_float=-7.0),
            node("LabelEncoder", ["n"], ["word"], domain="ai.onnx.ml", keys_int64s=[3, 4],
                 values_strings=["three", "four"]),
            node("LabelEncoder", ["f"], ["back"], domain="ai.onnx.ml",
                 keys_floats=[1.0, float("nan"), 0.0], values_int64s=[10, 20, 30]),
            node("OneHotEncoder", ["f"], ["hot"], domain="ai.onnx.ml", cats_int64s=[0, 1, 2]),
            node("OneHotEncoder", ["t"], ["hot_text"], domain="ai.onnx.ml", cats_strings=["b", "c"]),
        ],
        {
            "t": np.array(["a", "b", "z", ""], dtype=object),
            "n": np.array([3, 4, 5, -1]),
            "f": np.array([1, np.nan, -0.0, 2.7], dtype=np.float32),
        },
        [("number", FLOAT), ("word", TEXT), ("back", INT), ("hot", FLOAT), ("hot_text", FLOAT)],
        ml=4,
    )
    graph(
        "op_vectorizer",
        [node("FeatureVectorizer", ["x", "n"], ["z"], domain="ai.onnx.ml", inputdimensions=[3, 2])],
        {"x": x, "n": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)},
        [("z", FLOAT)],
        ml=1,
    )


STUMPS = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2],
    "nodes_featureids": [0, 0, 0, 1, 0, 0],
    "nodes_values": [0.5, 0, 0, -1.0, 0, 0],
    "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
}
ROWS = np.array(
    [[0.5, -1], [0.4, -2], [0.6, 3], [np.nan, 0], [1, np.nan], [np.inf, -np.inf], [0, 0]],
    dtype=np.float32,
)


def two_classes():
    """The cases that the specification leaves open, as ONNX Runtime decides them."""
    transforms = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
    nodes, outputs = [], []
    weights = {"positive": [0.1, 0.3, 0.2, 0.45], "mixed": [-1.0, 0.5, 0.25, -0.3]}
    ids = {"first": [0] * 4, "second": [1] * 4, "both": [0, 1, 1, 0]}
    bases = {"none": None, "one": [0.15], "two": [0.15, 0.15]}
    for kind, which, base, transform in itertools.product(weights, ids, bases, transforms):
        if (which, base) == ("both", "one"):
            continue  # ONNX Runtime leaves a score of the row before
        tag = f"{kind}_{which}_{base}_{transform}"
        attributes = dict(
            STUMPS,
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
            class_treeids=[0, 0, 1, 1],
            class_nodeids=[1, 2, 1, 2],
            class_ids=ids[which],
            class_weights=weights[kind],
            classlabels_int64s=[0, 1],
            post_transform=transform,
        )
        if bases[base]:
            attributes["base_values"] = bases[base]
        made = helper.make_node(
            "TreeEnsembleClassifier", ["x"], [f"label_{tag}", f"score_{tag}"], domain="ai.onnx.ml",
            **attributes,
        )
        nodes.append(made)
        outputs += [(f"label_{tag}", INT), (f"score_{tag}", FLOAT)]
    graph("trees_two_classes", nodes, {"x": ROWS}, outputs)
    # skl2onnx declares 64-bit scores for 64-bit inputs, which ONNX Runtime refuses: built by hand.
    graph("trees_two_classes_f64", nodes[::8], {"x": ROWS.astype(np.float64) + 1e-9},
          [o for n in range(0, len(nodes), 8) for o in outputs[2 * n : 2 * n + 2]])

    nodes, outputs = [], []
    for transform in transforms:
        made = helper.make_node(
            "LinearClassifier", ["x"], [f"label_{transform}", f"score_{transform}"],
            domain="ai.onnx.ml", coefficients=[0.3, 0.1], intercepts=[0.2],
            classlabels_strings=["no", "yes"], post_transform=transform,
        )
        nodes.append(made)
        outputs += [(f"label_{transform}", TEXT), (f"score_{transform}", FLOAT)]
    graph("linear_two_classes", nodes, {"x": ROWS[:3]}, outputs)


def tree_tests():
    """Every test of a branch, NaN tracking, aggregates and transforms of regressors."""
    nodes, outputs = [], []

    def regressor(tag, **attributes):
        given = dict(
            STUMPS,
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
            target_treeids=[0, 0, 1, 1],
            target_nodeids=[1, 2, 1, 2],
            target_ids=[0] * 4,
            target_weights=[0.1, 0.7, 0.2, 0.05],
            n_targets=1,
        )
        given.update(attributes)
        nodes.append(
            helper.make_node("TreeEnsembleRegressor", ["x"], [tag], domain="ai.onnx.ml", **given)
        )
        outputs.append((tag, FLOAT))

    for mode in ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]:
        for missing in [0, 1]:
            regressor(
                f"{mode}_{missing}",
                nodes_modes=[mode, "LEAF", "LEAF"] * 2,
                nodes_missing_value_tracks_true=[missing, 0, 0] * 2,
            )
    regressor("mixed", nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_GT", "LEAF", "LEAF"])
    for aggregate in ["SUM", "AVERAGE", "MIN", "MAX"]:
        regressor(aggregate, aggregate_function=aggregate, base_values=[0.125])
        regressor(
            f"{aggregate}_two", aggregate_function=aggregate, base_values=[0.125, -1.0],
            n_targets=2, target_ids=[0, 1, 1, 0],
        )
    for transform in ["LOGISTIC", "SOFTMAX", "PROBIT"]:
        regressor(f"one_{transform}", post_transform=transform)
        if transform != "PROBIT":
            regressor(f"two_{transform}", post_transform=transform, n_targets=2, target_ids=[0, 1, 1, 0])
    graph("trees_tests", nodes, {"x": ROWS}, outputs)
    graph("trees_tests_f64", nodes, {"x": ROWS.astype(np.float64) + 1e-9}, outputs)


def ensemble_v5():
    """TreeEnsemble of ai.onnx.ml opset 5: branches and leaves in lists of their own."""
    nodes, outputs = [], []
    for aggregate, transform in [(1, 0), (0, 0), (2, 0), (3, 0), (1, 3)]:
        tag = f"ensemble_{aggregate}_{transform}"
        made = helper.make_node(
            "TreeEnsemble", ["x"], [tag], domain="ai.onnx.ml",
            aggregate_function=aggregate,
            post_transform=transform,
            n_targets=2,
            tree_roots=[0, 2],
            nodes_modes=numpy_helper.from_array(np.array([0, 3, 1], dtype=np.uint8)),
            nodes_splits=numpy_helper.from_array(np.array([0.5, -1, 0.45], dtype=np.float32)),
            nodes_featureids=[0, 1, 0],
            nodes_truenodeids=[1, 0, 2],
            nodes_trueleafs=[0, 1, 1],
            nodes_falsenodeids=[1, 2, 3],
            nodes_falseleafs=[1, 1, 1],
            nodes_missing_value_tracks_true=[1, 0, 0],
            leaf_targetids=[0, 1, 0, 1],
            leaf_weights=numpy_helper.from_array(np.array([0.5, -0.25, 1, 2], dtype=np.float32)),
        )
        nodes.append(made)
        outputs.append((tag, FLOAT))
    graph("trees_ensemble_v5", nodes, {"x": ROWS}, outputs, ml=5)


if __name__ == "__main__":
    for old in [*HERE.glob("*.onnx"), *HERE.glob("*.json")]:
        old.unlink()
    digits_models()
    regressors()
    tables()
    operators()
    two_classes()
    tree_tests()
    ensemble_v5()
