"""The unmodified Triton client, HTTP and gRPC, against the data plane at argv[1] (host:port).

It serves `digits` (adds the two columns of X) and `echo` (gives back a tensor of each type)."""

import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ADDRESS = sys.argv[1]

TENSORS = {
    "fp32": np.array([[1.5, -0.0], [np.inf, 3e38]], dtype=np.float32),
    "fp64": np.array([[0.1, -1e300]], dtype=np.float64),
    "int64": np.array([[2**62 + 1, -(2**63)]], dtype=np.int64),
    "int32": np.array([[7, -(2**31)]], dtype=np.int32),
    "bool": np.array([[True, False, True]]),
    "bytes": np.array([["ä", ""], ["x" * 300, "0"]], dtype=object),
}


def inputs(api, binary, tensors=TENSORS):
    made = []
    for name, values in tensors.items():
        tensor = api.InferInput(name, values.shape, np_to_triton_dtype(values.dtype))
        if api is http:
            # JSON has no infinity.
            values = values if binary else np.nan_to_num(values, posinf=1.0) if values.dtype == np.float32 else values
            tensor.set_data_from_numpy(values, binary_data=binary)
        else:
            tensor.set_data_from_numpy(values)
        made.append(tensor)
    return made


def same(name, sent, got):
    if sent.dtype == object:
        sent = np.vectorize(lambda text: text.encode(), otypes=[object])(sent)
        got = np.vectorize(lambda text: text.encode() if isinstance(text, str) else text, otypes=[object])(got)
    assert got.shape == sent.shape and (got == sent).all(), (name, sent, got)


def refused(call, *words):
    try:
        call()
    except InferenceServerException as error:
        said = f"{error.status()} {error.message()}"
        assert all(word in said for word in words), said
    else:
        raise AssertionError(f"{words} was not refused")


def every_type(client, api, binary=True):
    answer = client.infer("echo", inputs(api, binary), request_id="mine")
    for name, values in TENSORS.items():
        sent = values
        if api is http and not binary and values.dtype == np.float32:
            sent = np.nan_to_num(values, posinf=1.0)
        same(name, sent, answer.as_numpy(name))
    response = answer.get_response()
    found = response["id"] if isinstance(response, dict) else response.id
    assert found == "mine", found


def check(client, api):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits") and client.is_model_ready("digits", "1")
    kwargs = {} if api is http else {"as_json": True}
    server = client.get_server_metadata(**kwargs)
    assert server["name"] == "towpath" and "binary_tensor_data" in server["extensions"], server
    model = client.get_model_metadata("digits", **kwargs)
    assert model["inputs"][0]["datatype"] == "FP32" and [int(n) for n in model["inputs"][0]["shape"]] == [-1, 2], model
    every_type(client, api)
    rows = np.array([[1, 2], [3, 4]], dtype=np.float32)
    tensor = api.InferInput("X", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    only = client.infer("digits", [tensor], outputs=[api.InferRequestedOutput("label")])
    assert only.as_numpy("label").tolist() == [3, 7] and only.as_numpy("scores") is None
    halves = api.InferInput("X", rows.shape, "FP16")
    halves.set_data_from_numpy(rows.astype(np.float16))
    assert client.infer("digits", [halves]).as_numpy("label").tolist() == [3, 7]
    refused(lambda: client.infer("nobody", [tensor]), "nobody")
    wide = api.InferInput("X", [1, 3], "FP32")
    wide.set_data_from_numpy(np.zeros((1, 3), dtype=np.float32))
    refused(lambda: client.infer("digits", [wide]), "X", "[1, 3]", "X FP32 [-1, 2]")
    refused(lambda: client.infer("digits", [tensor], outputs=[api.InferRequestedOutput("prob")]), "prob", "scores")
    # The repository.
    states = lambda: {  # noqa: E731
        entry["name"]: entry["state"]
        for entry in (
            client.get_model_repository_index()
            if api is http
            else client.get_model_repository_index(as_json=True)["models"]
        )
    }
    assert states() == {"digits": "READY", "echo": "READY", "slow": "READY"}, states()
    client.unload_model("digits")
    assert states() == {"digits": "UNAVAILABLE", "echo": "READY", "slow": "READY"}, states()
    refused(lambda: client.infer("digits", [tensor]), "digits")
    client.load_model("digits")
    assert client.infer("digits", [tensor]).as_numpy("label").tolist() == [3, 7]
    refused(lambda: client.load_model("nobody"), "nobody")


rest = http.InferenceServerClient(ADDRESS)
check(rest, http)
every_type(rest, http, binary=False)
for algorithm in ("gzip", "deflate"):
    tensors = inputs(http, True)
    answer = rest.infer("echo", tensors, request_compression_algorithm=algorithm)
    same("fp64", TENSORS["fp64"], answer.as_numpy("fp64"))

remote = grpc.InferenceServerClient(ADDRESS)
check(remote, grpc)
answer = remote.infer("echo", inputs(grpc, True), compression_algorithm="gzip")
same("bytes", TENSORS["bytes"], answer.as_numpy("bytes"))
parameters = answer.get_response().parameters
assert parameters["prediction_id"].string_param and parameters["revision"].string_param == "echo-v1-r0", parameters
refused(lambda: remote.infer("digits", inputs(grpc, True)), "INVALID_ARGUMENT", "no input 'fp32'")
refused(lambda: remote.infer("nobody", inputs(grpc, True)), "NOT_FOUND")
slow = grpc.InferInput("X", [1, 2], "FP32")
slow.set_data_from_numpy(np.ones((1, 2), dtype=np.float32))
refused(lambda: remote.infer("slow", [slow], client_timeout=0.05), "DEADLINE_EXCEEDED")
print("ok")
