"""From the decision to roll back to the router sending nobody to the candidate.

A client asks without a pause, always with a key of the candidate's share. By order: an operator says
so in the middle of it. By the judge: every answer of the candidate to other clients is labelled as
wrong until the data plane decides for itself. The client's figure is the time from the order (the
deciding label) being sent to the stable revision's first answer; no request may fail.
"""

import http.client
import json
import threading
import time
from dataclasses import dataclass

import digits
from processes import free_port
from report import Figure, median, spread

TIMES = 20
TOKEN = "bench"
IMAGE = digits.v2_request()

METRIC = {"share": 1.0, "required": False, "safe": {"margin": 0.1}, "over": []}
JUDGE = {
    "alpha": 0.01, "alpha_advance": 0.05, "errors": METRIC, "latency": None, "labels": METRIC, "min_bad_events": 3,
}


def measure(subject):
    model = digits.train(subject.dir / "model").onnx
    token = subject.dir / "token"
    token.write_text(TOKEN)
    port = free_port()
    address = ("127.0.0.1", port)
    arguments = [
        "--listen", f"127.0.0.1:{port}", "--state-dir", subject.dir / "state", "--control-token-file", token,
    ]
    found = {"an order": ([], []), "the judge": ([], [])}
    with subject.service(subject.towpath, "serve", *arguments, ready=f"http://127.0.0.1:{port}/healthz"):
        for number in range(TIMES):
            for by, decide in (("an order", order), ("the judge", label_as_wrong)):
                rollout = f"{by.split()[-1]}-{number}"
                Client(address).control("PUT", "/control/table", table(model, 2 * number + (by == "the judge") + 1, rollout))
                seen, effective = decide(address, rollout)
                found[by][0].append(effective / 1000)
                found[by][1].append(1000 * seen)
    figures = []
    for by, (effective, seen) in found.items():
        for what, times in (("decision to the candidate's weight 0", effective), ("as a client sees it", seen)):
            figures.append(Figure(f"by {by}: {what}", "ms", median(times), spread(times, "ms"), target=100))
    return figures


def table(model, version, rollout):
    def revision(number):
        return {"id": f"digits-v{number}-r{number}", "release": number, "model_version": number, "path": str(model)}

    return {
        "version": version, "project": "digits", "environment": "production", "model": "digits",
        "stable": revision(1), "warm": None, "accepted_tokens": None,
        "rollout": {"id": rollout, "candidate": revision(2), "weight": 0.5, "step": 0, "judge": JUDGE},
    }


@dataclass
class Prediction:
    id: str
    by_candidate: bool
    digit: int


class Client:
    """One connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(*address, timeout=30)

    def ask(self, method, path, body=None, **headers):
        headers |= {"Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return answer.headers, json.loads(text)

    def control(self, method, path, body=None):
        return self.ask(method, path, body, Authorization=f"Bearer {TOKEN}")[1]

    def predict(self, key):
        headers, answer = self.ask("POST", "/v2/models/digits/infer", IMAGE, **{"x-towpath-key": key})
        by_candidate = headers["x-towpath-revision"].endswith("-r2")
        return Prediction(headers["x-towpath-prediction-id"], by_candidate, answer["outputs"][0]["data"][0])

    def state(self):
        return self.control("GET", "/control/state")["rollout"]


class Watcher(threading.Thread):
    """A client of the candidate's share that asks until it is told to end."""

    def __init__(self, address):
        super().__init__()
        self.client = Client(address)
        self.key = next(key for key in map(str, range(1000)) if self.client.predict(key).by_candidate)
        self.over = threading.Event()
        #: Of each request: when it was sent, when it was answered, by the candidate or not.
        self.answers = []
        self.error = None

    def run(self):
        try:
            while not self.over.is_set():
                sent = time.perf_counter()
                by_candidate = self.client.predict(self.key).by_candidate
                self.answers.append((sent, time.perf_counter(), by_candidate))
        except (OSError, RuntimeError) as error:
            self.error = error

    def stable_after(self, decided):
        """Seconds from `decided` to the first answer of the stable revision."""
        time.sleep(0.1)
        self.over.set()
        self.join()
        if self.error:
            raise RuntimeError(f"a request failed around a rollback: {self.error}")
        after = [(answered, by_candidate) for sent, answered, by_candidate in self.answers if sent > decided]
        first = next(i for i, (_, by_candidate) in enumerate(after) if not by_candidate)
        if any(by_candidate for _, by_candidate in after[first:]):
            raise RuntimeError("the candidate answered after the stable revision had taken over")
        return after[first][0] - decided


def order(address, rollout):
    client, watcher = Client(address), Watcher(address)
    watcher.start()
    time.sleep(0.1)
    decided = time.perf_counter()
    client.control("POST", "/control/rollback", {"rollout": rollout, "reason": "measured"})
    seen = watcher.stable_after(decided)
    return seen, client.state()["rolled_back"]["effective_micros"]


def label_as_wrong(address, rollout):
    client, watcher = Client(address), Watcher(address)
    watcher.start()
    for i in range(1000):
        prediction = client.predict(f"{rollout}-{i}")
        label = (prediction.digit + 1) % 10 if prediction.by_candidate else prediction.digit
        decided = time.perf_counter()
        client.ask("POST", "/feedback", {"prediction_id": prediction.id, "label": label})
        rolled_back = client.state()["rolled_back"] if prediction.by_candidate else None
        if rolled_back:
            return watcher.stable_after(decided), rolled_back["effective_micros"]
    watcher.over.set()
    raise RuntimeError("a thousand wrong labels did not make the judge roll back")
