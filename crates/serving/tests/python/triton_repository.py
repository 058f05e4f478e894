"""The unmodified Triton client against a model of a Triton repository: argv[1] is host:port, argv[2] a file with
inputs and the answers of ONNX Runtime."""

import json
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http

ADDRESS, CASE = sys.argv[1], json.load(open(sys.argv[2]))
rows = np.array(CASE["inputs"][0]["data"], dtype=np.float32).reshape(CASE["inputs"][0]["shape"])
labels, scores = (np.array(output["data"]).reshape(output["shape"]) for output in CASE["outputs"])


def ask(api, client, rows):
    tensor = api.InferInput("X", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    answer = client.infer("digits", [tensor])
    return answer.as_numpy(CASE["outputs"][0]["name"]), answer.as_numpy(CASE["outputs"][1]["name"])


over_http, over_grpc = http.InferenceServerClient(ADDRESS, concurrency=8), grpc.InferenceServerClient(ADDRESS)
metadata = over_http.get_model_metadata("digits")
assert metadata["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, rows.shape[1]]}], metadata
assert metadata["properties"]["owner"] == "vision", metadata
for api, client in [(http, over_http), (grpc, over_grpc)]:
    got = ask(api, client, rows)
    assert np.array_equal(got[0], labels) and np.allclose(got[1], scores, atol=1e-5), got

# Requests that come together run together.
tensors = []
for at in range(4):
    tensors.append(http.InferInput("X", [1, rows.shape[1]], "FP32"))
    tensors[at].set_data_from_numpy(rows[at : at + 1])
asked = [over_http.async_infer("digits", [tensor]) for tensor in tensors]
got = [one.get_result().as_numpy(CASE["outputs"][0]["name"])[0] for one in asked]
assert got == list(labels), got
