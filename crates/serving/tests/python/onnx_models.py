"""Exports estimators of scikit-learn and small graphs as ONNX, and writes what ONNX Runtime answers.

    python onnx_models.py FOLDER

FOLDER/cases.json lists {file, inputs, outputs, refused}: tensors as {name, type, shape, data}, in which
numbers that JSON lacks are text. `refused` is the operator for which we refuse the graph.
"""

import json
import math
import pathlib
import sys
import warnings

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    BayesianRidge,
    GammaRegressor,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection
from sklearn.svm import SVC, SVR, LinearSVR, NuSVC, NuSVR, OneClassSVM

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(sys.argv[1])
TYPES = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i64", "bool": "bool"}
CASES = []


def number(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def tensor(name, array):
    array = np.asarray(array)
    data = [number(v) for v in array.ravel().tolist()]
    return {"name": name, "type": TYPES.get(array.dtype.name, "text"), "shape": list(array.shape), "data": data}


def scores(output):
    """ZipMap answers dictionaries; we answer their values."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([list(row.values()) for row in output], dtype=np.float32)
    return output


def save(name, model, inputs, refused=None):
    content = model.SerializeToString()
    (FOLDER / f"{name}.onnx").write_bytes(content)
    case = {"file": f"{name}.onnx", "inputs": [], "outputs": [], "refused": refused}
    if refused is None:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        answers = session.run(None, inputs)
        case["inputs"] = [tensor(n, a) for n, a in inputs.items()]
        case["outputs"] = [tensor(o.name, scores(a)) for o, a in zip(session.get_outputs(), answers)]
    CASES.append(case)


def export(model, rows, kind):
    if kind == np.float64 and hasattr(model, "classes_"):
        try:
            # ONNX Runtime has ZipMap for 32-bit scores only.
            return to_onnx(model, rows[:1], options={"zipmap": False})
        except NameError:
            pass  # an estimator without that option
    return to_onnx(model, rows[:1])


def estimators():
    flowers, kind = load_iris(return_X_y=True)
    body, progress = load_diabetes(return_X_y=True)
    body, progress = body[:150], progress[:150]
    two = (kind > 0).astype(int)
    words = np.array(["setosa", "versicolor", "virginica"])[kind]
    counts = np.abs(flowers).round(0)
    both = [("a", LogisticRegression()), ("b", GaussianNB())]
    fitted = [
        (SVC(), flowers, kind),
        (SVC(), flowers, two),
        (SVC(kernel="linear"), flowers, words),
        (SVC(kernel="poly", degree=2, coef0=0.5), flowers, kind),
        (SVC(kernel="sigmoid"), flowers / 10, kind),
        (SVC(probability=True), flowers, kind),
        (SVC(probability=True), flowers, two),
        (NuSVC(nu=0.3), flowers, kind),
        (SVR(), body * 10, progress),
        (NuSVR(kernel="linear"), body * 10, progress),
        (LinearSVR(), body * 10, progress),
        (OneClassSVM(), flowers, None),
        (KNeighborsClassifier(3), flowers, kind),
        (KNeighborsClassifier(4, weights="distance"), flowers, words),
        (KNeighborsRegressor(3), body * 10, progress),
        (KNeighborsTransformer(n_neighbors=2), flowers, None),
        (LocalOutlierFactor(novelty=True), flowers, None),
        (GaussianNB(), flowers, kind),
        (MultinomialNB(), counts, kind),
        (BernoulliNB(binarize=3.0), flowers, kind),
        (ComplementNB(), counts, kind),
        (CategoricalNB(), counts, kind),
        (Perceptron(), flowers, kind),
        (RidgeClassifier(), flowers, kind),
        (SGDClassifier(loss="modified_huber", random_state=1), flowers, kind),
        (BayesianRidge(), body, progress),
        (PoissonRegressor(), body, progress),
        (GammaRegressor(), body, progress),
        (TweedieRegressor(power=1.5), body, progress),
        (RANSACRegressor(random_state=1), body, progress),
        (RobustScaler(), flowers, None),
        (PolynomialFeatures(3), flowers, None),
        (KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"), flowers, None),
        (PowerTransformer(), flowers, None),
        (QuantileTransformer(n_quantiles=20), flowers, None),
        (IncrementalPCA(2), flowers, None),
        (KernelPCA(2, kernel="rbf", gamma=0.1), flowers, None),
        (TruncatedSVD(2), flowers, None),
        (GaussianRandomProjection(2, random_state=1), flowers, None),
        (PLSRegression(2), body, progress),
        (AdaBoostClassifier(n_estimators=5, random_state=1), flowers, kind),
        (AdaBoostRegressor(n_estimators=5, random_state=1), body, progress),
        (BaggingRegressor(n_estimators=3, random_state=1), body, progress),
        (StackingClassifier(both), flowers, kind),
        (StackingRegressor([("a", Ridge()), ("b", BayesianRidge())]), body, progress),
        (VotingRegressor([("a", Ridge()), ("b", BayesianRidge())]), body, progress),
        (LinearDiscriminantAnalysis(), flowers, kind),
        (QuadraticDiscriminantAnalysis(), flowers, kind),
        (KMeans(3, n_init=1, random_state=1), flowers, None),
        (MiniBatchKMeans(3, n_init=1, random_state=1), flowers, None),
        (GaussianProcessRegressor(alpha=1.0), body * 10, progress),
        (GaussianMixture(2, random_state=1), flowers, None),
        (BayesianGaussianMixture(n_components=2, random_state=1), flowers, None),
        (OneVsRestClassifier(LogisticRegression()), flowers, kind),
        (OneVsOneClassifier(LogisticRegression()), flowers, kind),
        (CalibratedClassifierCV(GaussianNB(), method="isotonic"), flowers, kind),
        (CalibratedClassifierCV(GaussianNB()), flowers, kind),
        (MultiOutputRegressor(Ridge()), body, np.c_[progress, -progress]),
        (make_pipeline(StandardScaler(), SVC()), flowers, kind),
        (make_pipeline(StandardScaler(), KNeighborsClassifier(3)), flowers, kind),
    ]
    for place, (model, rows, target) in enumerate(fitted):
        model.fit(rows, target)
        name = f"{place:02}_{type(model).__name__}"
        for kind_of in [np.float32, np.float64]:
            some = rows[3::15].astype(kind_of)
            if name.endswith("OneClassSVM"):
                some = some + kind_of(0.37)  # support vectors lie on the margin, where the sign is noise
            # At least one row is unlike all that were learnt.
            if "Process" not in name and "Categorical" not in name:
                some = np.concatenate([some, np.full((1, rows.shape[1]), 1e4, dtype=kind_of)])
            try:
                save(f"{name}_{kind_of.__name__}", export(model, some, kind_of), {"X": some})
            except Exception:
                # Not every estimator has a 64-bit export that ONNX Runtime takes.
                if kind_of == np.float32:
                    raise
    many = MultiOutputClassifier(LogisticRegression()).fit(flowers, np.c_[kind, two])
    save("refused_sequence", to_onnx(many, flowers[:1].astype(np.float32)), {}, "SequenceConstruct")
    # Distances as an operator of ONNX Runtime's own.
    near = KNeighborsRegressor(3).fit(body, progress)
    rows = body[:8].astype(np.float32)
    save("cdist", to_onnx(near, rows[:1], options={"optim": "cdist"}), {"X": rows})


ROWS = np.array([[-3, 0.5, np.nan, 2], [0, -0.0, np.inf, -np.inf], [1.5, 2.5, -2.5, 7]], dtype=np.float32)


def graph(name, nodes, outputs, constants=(), rows=ROWS):
    shape = [None, *rows.shape[1:]]
    made = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(rows.dtype), shape)],
        [helper.make_tensor_value_info(o, kind, None) for o, kind in outputs],
        [numpy_helper.from_array(np.array(value), n) for n, value in constants],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save(name, model, {"x": rows})


def operators():
    f, i, b = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    node = helper.make_node
    plain = ["Ceil", "Erf", "Floor", "Round", "Sign", "Softplus", "Softsign", "LogSoftmax", "HardSwish", "Abs", "Neg"]
    nodes = [node(op, ["x"], [op]) for op in plain]
    tuned = [("LeakyRelu", 0.1), ("Elu", 0.5), ("Selu", 1.2), ("Celu", 2.0), ("HardSigmoid", 0.3), ("ThresholdedRelu", 0.7)]
    nodes += [node(op, ["x"], [op], alpha=alpha) for op, alpha in tuned]
    outputs = [(n.output[0], f) for n in nodes]
    graph("op_activations", nodes + [node("IsNaN", ["x"], ["IsNaN"])], [*outputs, ("IsNaN", b)])

    constants = [("k", np.array([2])), ("one", np.array([1])), ("three", np.array([3])), ("axis", np.array(1))]
    constants += [("minus", np.array([-1])), ("far", np.array([-100])), ("both", np.array([0, 1])), ("zero", np.array([0]))]
    constants += [("other", np.array([[1.0], [np.nan], [-2.0]], dtype=np.float32)), ("place", np.array([[0, 3], [1, -1], [2, 2]]))]
    table = np.array([[3, 1, 2, 1], [0, -5, 9, 9], [1.5, 2.5, -2.5, 7]], dtype=np.float32)
    nodes = [
        node("TopK", ["x", "k"], ["top", "top_place"], axis=1),
        node("TopK", ["x", "k"], ["low", "low_place"], axis=0, largest=0),
        node("CumSum", ["x", "axis"], ["cum"]),
        node("CumSum", ["x", "axis"], ["cum_back"], exclusive=1, reverse=1),
        node("GatherElements", ["x", "place"], ["gathered"], axis=1),
        node("Slice", ["x", "one", "three", "one"], ["slice"]),
        node("Slice", ["x", "minus", "far", "one", "minus"], ["slice_back"]),
        node("Slice", ["x", "zero", "minus"], ["slice_rows"]),
        node("Transpose", ["x"], ["transposed"]),
        node("Unsqueeze", ["x", "one"], ["unsqueezed"]),
        node("Transpose", ["unsqueezed"], ["turned"], perm=[1, 2, 0]),
        node("Squeeze", ["turned", "zero"], ["squeezed"]),
        node("Shape", ["x"], ["shape"]),
        node("Shape", ["unsqueezed"], ["shape_end"], start=-2),
        node("ConstantOfShape", ["shape"], ["filled"], value=numpy_helper.from_array(np.array([7], dtype=np.int64))),
        node("Expand", ["other", "shape"], ["expanded"]),
        node("Max", ["x", "other"], ["max"]),
        node("Min", ["x", "other", "x"], ["min"]),
        node("ArgMin", ["x"], ["arg_min"], axis=1),
        node("ReduceSumSquare", ["x", "one"], ["squares"]),
        node("ReduceL1", ["x", "one"], ["l1"], keepdims=0),
        node("ReduceL2", ["x", "both"], ["l2"]),
        node("Dropout", ["x"], ["dropped"]),
    ]
    integers = {"top_place", "low_place", "shape", "shape_end", "filled", "arg_min"}
    outputs = [(o, i if o in integers else f) for n in nodes for o in n.output]
    graph("op_order_and_layout", nodes, outputs, constants, table)


def network():
    """Dense layers as PyTorch exports them, with batch normalisation and a GELU by Erf."""
    dice = np.random.default_rng(7)
    real = lambda *shape: dice.normal(size=shape).astype(np.float32)
    constants = [("w1", real(16, 8)), ("b1", real(16)), ("w2", real(16, 16)), ("b2", real(16)), ("w3", real(3, 16)), ("b3", real(3))]
    constants += [("scale", real(16)), ("shift", real(16)), ("mean", real(16)), ("var", np.abs(real(16)) + 0.5)]
    constants += [("root", np.float32(1.4142135)), ("one", np.float32(1)), ("half", np.float32(0.5))]
    node = helper.make_node
    nodes = [
        node("Flatten", ["x"], ["flat"], axis=1),
        node("Gemm", ["flat", "w1", "b1"], ["h1"], transB=1),
        node("BatchNormalization", ["h1", "scale", "shift", "mean", "var"], ["n1"]),
        node("LeakyRelu", ["n1"], ["a1"]),
        node("MatMul", ["a1", "w2"], ["m2"]),
        node("Add", ["m2", "b2"], ["h2"]),
        node("Div", ["h2", "root"], ["scaled"]),
        node("Erf", ["scaled"], ["error"]),
        node("Add", ["error", "one"], ["plus"]),
        node("Mul", ["h2", "plus"], ["times"]),
        node("Mul", ["times", "half"], ["gelu"]),
        node("Gemm", ["gelu", "w3", "b3"], ["h3"], transB=1),
        node("Softmax", ["h3"], ["probability"], axis=1),
        node("ArgMax", ["probability"], ["label"], axis=1, keepdims=0),
    ]
    graph("network", nodes, [("label", TensorProto.INT64), ("probability", TensorProto.FLOAT)], constants, real(9, 2, 4))


estimators()
operators()
network()
(FOLDER / "cases.json").write_text(json.dumps(CASES))
