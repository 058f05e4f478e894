"""The unmodified KServe client, REST (v1 and v2) and gRPC, against the data plane at argv[1] (host:port).

It serves `digits` (adds the two columns of X)."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

ADDRESS = sys.argv[1]
URL = f"http://{ADDRESS}"


def request():
    tensor = InferInput("X", [2, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32), binary_data=False)
    return InferRequest(model_name="digits", infer_inputs=[tensor], request_id="mine")


async def main():
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    assert await v1.is_model_ready(URL, "digits")
    answer = await v1.infer(URL, {"instances": [[1, 2], [3, 4]], "signature_name": "any"}, model_name="digits")
    assert answer == {"predictions": [3, 7]}, answer
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await v2.is_server_live(URL) and await v2.is_server_ready(URL) and await v2.is_model_ready(URL, "digits")
    answer = await v2.infer(URL, request(), model_name="digits")
    assert answer.id == "mine" and answer.outputs[0].as_numpy().tolist() == [3, 7], answer.to_dict()
    grpc = InferenceGRPCClient(url=ADDRESS, retries=0)
    assert await grpc.is_server_live() and await grpc.is_server_ready() and await grpc.is_model_ready("digits")
    answer = await grpc.infer(request())
    assert answer.id == "mine" and answer.outputs[0].as_numpy().tolist() == [3, 7], answer.to_dict()
    await grpc.close()


asyncio.run(main())
