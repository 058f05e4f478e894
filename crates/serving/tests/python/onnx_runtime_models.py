"""Writes graphs that only ONNX Runtime runs, and what it answers in Python.

    python onnx_runtime_models.py FOLDER

FOLDER/cases.json has the form of that of onnx_models.py; tensors have the type that they are carried as.
FOLDER/library names the shared library.
"""

import glob
import json
import math
import os
import pathlib
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, save_model

FOLDER = pathlib.Path(sys.argv[1])
DICE = np.random.default_rng(7)
F, I64 = TensorProto.FLOAT, TensorProto.INT64
CASES = []
node = helper.make_node


def real(*shape):
    return DICE.normal(size=shape).astype(np.float32)


def described(name, array):
    kind = {"f": "f32", "i": "i64", "u": "i64", "b": "bool"}.get(array.dtype.kind, "text")
    if array.dtype == np.float64:
        kind = "f64"
    flat = array.astype(np.float32 if array.dtype == np.float16 else array.dtype).ravel().tolist()
    flat = [str(v) if isinstance(v, float) and not math.isfinite(v) else v for v in flat]
    return {"name": name, "type": kind, "shape": list(array.shape), "data": flat}


def graph(name, nodes, inputs, outputs, constants, given, **how):
    """`inputs` and `outputs` are (name, type, shape)."""
    declared = lambda values: [helper.make_tensor_value_info(n, t, s) for n, t, s in values]
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    body = helper.make_graph(nodes, name, declared(inputs), declared(outputs), initializers)
    model = helper.make_model(body, opset_imports=opsets, ir_version=8)
    file = FOLDER / f"{name}.onnx"
    save_model(model, file, **how)
    session = onnxruntime.InferenceSession(str(file))
    answers = session.run(None, given)
    CASES.append({
        "file": file.name,
        "inputs": [described(n, given[n]) for n, _, _ in inputs],
        "outputs": [described(o[0], np.asarray(a)) for o, a in zip(outputs, answers)],
    })


def convolution():
    """A small picture classifier on bytes, as they come from a camera."""
    nodes = [
        node("Cast", ["image"], ["real"], to=F),
        node("Conv", ["real", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], group=2),
        node("GlobalAveragePool", ["c2"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["scores"], transB=1),
        node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    constants = {"w1": real(4, 3, 3, 3), "b1": real(4), "w2": real(6, 2, 3, 3), "w3": real(5, 6), "b3": real(5)}
    given = {"image": DICE.integers(0, 256, size=(3, 3, 8, 8)).astype(np.uint8)}
    graph("convolution", nodes, [("image", TensorProto.UINT8, [None, 3, 8, 8])],
          [("label", I64, [None]), ("scores", F, [None, 5])], constants, given)


def recurrent():
    nodes = [node("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=4)]
    constants = {"w": real(1, 16, 3), "r": real(1, 16, 4), "b": real(1, 32)}
    outputs = [("y", F, [None, 1, None, 4]), ("h", F, [1, None, 4]), ("c", F, [1, None, 4])]
    graph("recurrent", nodes, [("x", F, [None, None, 3])], outputs, constants, {"x": real(5, 2, 3)})


def transformer():
    """One layer with attention over token ids, the mask as truth values, the numbers in a file beside the graph."""
    nodes = [
        node("Gather", ["table", "tokens"], ["e"]),
        node("LayerNormalization", ["e", "scale", "shift"], ["n"]),
        node("MatMul", ["n", "wq"], ["q"]),
        node("MatMul", ["n", "wk"], ["k"]),
        node("MatMul", ["n", "wv"], ["v"]),
        node("Einsum", ["q", "k"], ["dots"], equation="bid,bjd->bij"),
        node("Unsqueeze", ["mask", "one"], ["wide"]),
        node("Where", ["wide", "dots", "never"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["attended"]),
        node("Add", ["attended", "e"], ["sum"]),
        node("Gelu", ["sum"], ["hidden"], domain="com.microsoft"),
        node("ReduceMean", ["hidden"], ["pooled"], axes=[1], keepdims=0),
    ]
    constants = {"table": real(11, 8), "scale": real(8), "shift": real(8), "wq": real(8, 8), "wk": real(8, 8),
                 "wv": real(8, 8), "one": np.array([1]), "never": np.float32(-1e9)}
    given = {"tokens": DICE.integers(0, 11, size=(2, 6)), "mask": np.array([[1] * 6, [1, 1, 1, 0, 0, 0]], dtype=bool)}
    graph("transformer", nodes, [("tokens", I64, [None, None]), ("mask", TensorProto.BOOL, [None, None])],
          [("pooled", F, [None, 8])], constants, given,
          save_as_external_data=True, location="transformer.weights", size_threshold=64)


def types():
    """One tensor of each type goes through, and a scalar; `Mod` and `Trilu` are none of the interpreter's operators."""
    nodes, inputs, outputs, given = [], [], [], {}
    for name, kind, array in [
        ("i8", TensorProto.INT8, np.array([[-128, 127]], dtype=np.int8)),
        ("i16", TensorProto.INT16, np.array([[-32768, 3]], dtype=np.int16)),
        ("i32", TensorProto.INT32, np.array([[-7, 5]], dtype=np.int32)),
        ("u16", TensorProto.UINT16, np.array([[65535, 3]], dtype=np.uint16)),
        ("u32", TensorProto.UINT32, np.array([[4294967295, 3]], dtype=np.uint32)),
        ("u64", TensorProto.UINT64, np.array([[2**63 - 1, 3]], dtype=np.uint64)),
        ("f16", TensorProto.FLOAT16, np.array([[1.5, -np.inf]], dtype=np.float16)),
        ("f64", TensorProto.DOUBLE, np.array([[1.1, np.nan]])),
        ("text", TensorProto.STRING, np.array([["a", "Zürich"]], dtype=object)),
        ("truth", TensorProto.BOOL, np.array([[True, False]])),
    ]:
        nodes.append(node("Identity", [name], [name + "_out"]))
        inputs.append((name, kind, [None, 2]))
        outputs.append((name + "_out", kind, [None, 2]))
        given[name] = array
    nodes.append(node("Mod", ["scalar", "three"], ["scalar_out"]))
    inputs.append(("scalar", I64, []))
    outputs.append(("scalar_out", I64, []))
    given["scalar"] = np.array(11)
    graph("types", nodes, inputs, outputs, {"three": np.array(3)}, given)


convolution()
recurrent()
transformer()
types()
(FOLDER / "cases.json").write_text(json.dumps(CASES))
(FOLDER / "library").write_text(glob.glob(os.path.join(os.path.dirname(onnxruntime.__file__), "capi", "libonnxruntime.so*"))[0])
unknown = helper.make_graph([node("Frobnicate", ["x"], ["y"])], "unknown", [helper.make_tensor_value_info("x", F, [None, 2])],
                            [helper.make_tensor_value_info("y", F, [None, 2])])
save_model(helper.make_model(unknown, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), FOLDER / "unknown.onnx")
