"""Logs points to the server at argv[1] (host:port) until its disk is full, frees `ballast`, and goes on."""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = f"http://{sys.argv[1]}/api/2.0/mlflow/"


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def log(batch):
    points = [
        {"key": f"m{i % 50}", "value": batch + i / 7, "timestamp": batch * 1000 + i, "step": batch * 20 + i // 50}
        for i in range(1000)
    ]
    return call("runs/log-batch", {"run_id": run, "metrics": points})


for _ in range(300):
    try:
        _, made = call("runs/create", {"experiment_id": "0", "start_time": 1})
        break
    except urllib.error.URLError:
        time.sleep(0.1)
run = made["run"]["info"]["run_id"]
acknowledged, said = 0, {}
for batch in range(5000):
    status, said = log(batch)
    if status != 200:
        break
    acknowledged += 1
assert status == 507 and said["error_code"] == "RESOURCE_EXHAUSTED", (status, said)
print(said["message"])
status, found = call(f"runs/get?run_id={run}")
assert status == 200, found
os.remove("ballast")
deadline = time.monotonic() + 30
while log(batch)[0] != 200:
    assert time.monotonic() < deadline, "it does not go on when there is room again"
    time.sleep(0.2)
status, page = call(f"metrics/get-history?run_id={run}&metric_key=m7")
assert len(page["metrics"]) == (acknowledged + 1) * 20, (len(page["metrics"]), acknowledged)
