"""A series of a million points in the page: from the click on its run to the chart in the browser, and from
dragging over a twentieth of it to the finer points.

The browser is the real one, driven by `web/scripts/chart.mjs`. Times are taken inside of the page, from the event
to the second frame after the numbers have changed.
"""

import json
import math
import time
import urllib.request

from report import Figure, median, spread
from subject import ROOT

POINTS = 1_000_000
BATCH = 1_000
TIMES = 7


def measure(subject):
    with subject.server() as server:
        run = ingest(server.url)
        answer = subject.run(
            "node", "scripts/chart.mjs", server.url, "0", run, "loss", TIMES, cwd=ROOT / "web"
        )
        found = json.loads(answer)
        whole = asked(server.url, run, "")
        part = asked(server.url, run, "&from=500000&to=550000")
    kb = 1000
    return [
        Figure("click on the run to the chart", "ms", median(found["open"]), spread(found["open"], "ms"), target=1000),
        Figure("data of the chart", "kB", found["open_bytes"] / kb, found["open_points"]),
        Figure("drag to the finer chart", "ms", median(found["zoom"]), spread(found["zoom"], "ms"), target=1000),
        Figure("data of the finer chart", "kB", found["zoom_bytes"] / kb, found["zoom_points"]),
        Figure("the server alone: the whole series", "ms", median(whole), spread(whole, "ms")),
        Figure("the server alone: a twentieth of it", "ms", median(part), spread(part, "ms")),
    ]


def post(url, path, body):
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def ingest(url):
    """The run; a falling loss with noise and one peak."""
    made = post(url, "runs/create", {"experiment_id": "0", "start_time": 1_700_000_000_000, "run_name": "long"})
    run = made["run"]["info"]["run_id"]
    for first in range(0, POINTS, BATCH):
        points = [
            {"key": "loss", "value": value(step), "timestamp": 1_700_000_000_000 + 20 * step, "step": step}
            for step in range(first, first + BATCH)
        ]
        post(url, "runs/log-batch", {"run_id": run, "metrics": points})
    post(url, "runs/update", {"run_id": run, "status": "FINISHED", "end_time": 1_700_020_000_000})
    return run


def value(step):
    noise = ((step * 7919) % 10007) / 10007 - 0.5
    return 9.0 if step == 777_777 else 2 * math.exp(-step / 250_000) + 0.2 * noise + 0.2


def asked(url, run, stretch):
    """Milliseconds of requests for what the chart draws."""
    found = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        address = f"{url}/api/v1/tracking/metrics?runs={run}&key=loss&axis=step&points=800{stretch}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            answer.read()
        found.append(1000 * (time.perf_counter() - begun))
    return found
