"""One digit at a time over HTTP: Towpath's v2 REST beside `mlflow models serve`.

Both serve the same trained pipeline: Towpath its ONNX export, with every prediction logged; MLflow
the pipeline itself (its scikit-learn flavour) and the ONNX export (its ONNX flavour, on ONNX
Runtime).
"""

import json
import urllib.request

import digits
import mlflow
import onnx
import wrk
from processes import free_port
from report import Figure

CONCURRENCY = [1, 8, 32]
SECONDS = 8
#: A fiftieth of MLflow's CPU time for a request.
FRACTION = 50

#: Posts the body of a file.
POST = """\
wrk.method = "POST"
wrk.body = io.open(os.getenv("BODY")):read("a")
wrk.headers["Content-Type"] = "application/json"
"""


def measure(subject):
    wrk.install()
    trained = digits.train(subject.dir / "model")
    mlflow.sklearn.save_model(trained.pipeline, subject.dir / "sklearn")
    mlflow.onnx.save_model(onnx.load(trained.onnx / "model.onnx"), subject.dir / "onnx")
    ours = load(subject, *towpath(subject, trained), digits.v2_request())
    mlflow_version = subject.version("mlflow")
    peers = {
        f"{mlflow_version}, {flavour}": load(subject, *models_serve(subject, flavour), digits.mlflow_request())
        for flavour in ("sklearn", "onnx")
    }
    return [figure for n in CONCURRENCY for figure in rows(n, ours[n], {name: found[n] for name, found in peers.items()})]


def rows(n, ours, peers):
    def row(what, unit, key, **more):
        theirs = {name: found[key] for name, found in peers.items()}
        return Figure(f"{what}, {n} at a time", unit, ours[key], peers=theirs, **more)

    return [
        row("CPU time of a request", "ms", "cpu", target=min(found["cpu"] for found in peers.values()) / FRACTION),
        row("median", "ms", "p50"),
        row("99th percentile", "ms", "p99"),
        row("requests a second", "/s", "rate", more_is_better=True),
    ]


def towpath(subject, trained):
    """Service and URL."""
    port = free_port()
    service = subject.service(
        subject.towpath, "serve", "--listen", f"127.0.0.1:{port}", "--model", f"digits={trained.onnx}",
        "--state-dir", subject.dir / "state", ready=f"http://127.0.0.1:{port}/v2/health/ready",
    )
    return service, f"http://127.0.0.1:{port}/v2/models/digits/infer"


def models_serve(subject, flavour):
    port = free_port()
    service = subject.service(
        subject.peers / "mlflow", "models", "serve", "--model-uri", subject.dir / flavour, "--port", port,
        "--env-manager", "local", ready=f"http://127.0.0.1:{port}/ping",
    )
    return service, f"http://127.0.0.1:{port}/invocations"


def load(subject, service, url, body):
    """By concurrency: CPU milliseconds of a request, quantiles in milliseconds, requests a second."""
    script, request = subject.dir / "post.lua", subject.dir / "request.json"
    script.write_text(POST + wrk.DONE)
    request.write_text(json.dumps(body))
    found = {}
    with service:
        answered = json.load(urllib.request.urlopen(
            urllib.request.Request(url, request.read_bytes(), {"Content-Type": "application/json"}), timeout=60
        ))
        if 0 not in digits_of(answered):
            raise RuntimeError(f"{url} does not take the image for a zero: {answered}")
        environment = dict(subject.environment, BODY=str(request))
        for n in CONCURRENCY:
            found[n] = wrk.load(service, url, script, n, SECONDS, environment=environment)
    return found


def digits_of(answer):
    """The labels of an answer, in either protocol."""
    if "outputs" in answer:
        return answer["outputs"][0]["data"]
    predictions = answer["predictions"]
    return predictions["label"] if isinstance(predictions, dict) else predictions
