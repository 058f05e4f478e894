"""Tracking beside `mlflow server`, each on a SQLite file of its own, over kept-alive connections.

The same requests to both: single points, batches, new runs, a run, a search, a history. What MLflow is
asked for (10,000 runs, 100,000 points) is put into its tables.
"""

import json
import sqlite3
import time
import urllib.parse
from http.client import HTTPConnection
from pathlib import Path

import wrk
from processes import free_port, peak_memory, run, tree
from report import Figure, median

CONCURRENCY = [1, 8]
RUNS = 10_000
MANY_RUNS = 1_000_000
POINTS = 100_000
INGESTED = 1_000_000
#: Seconds of each kind of request.
SECONDS = 4
#: A hundredth of MLflow's CPU time.
FRACTION = 100

#: Fills a database with MLflow's own tables: its API would take hours.
FILL = """\
import sqlite3, sys
path, runs, points = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(path)
run = lambda i: f"{i:032x}"
db.executemany(
    "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
    " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) values"
    " (?, ?, 'UNKNOWN', '', '', 'bench', 'FINISHED', ?, ?, '', 'active', '', 0)",
    ((run(i), f"run-{i}", i + 1, i + 2) for i in range(runs)),
)
value = lambda i: (i * 7919 % 10007) / 10007
latest = ((("acc"), value(i), 1, 0, False, run(i)) for i in range(runs))
db.executemany('insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, ?, ?, ?)', latest)
db.executemany("insert into params (key, value, run_uuid) values ('lr', ?, ?)", ((str(value(i)), run(i)) for i in range(runs)))
series = (("loss", 1 / (i + 1), 1_700_000_000_000 + i * 700, i, False, run(0)) for i in range(points))
db.executemany('insert into metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, ?, ?, ?)', series)
db.commit()
"""

SEARCH = {
    "experiment_ids": ["0"], "filter": "metrics.acc > 0.5", "order_by": ["metrics.acc DESC"], "max_results": 100,
}


#: Before each kind: the run, and a first time, so that each load logs points that are not there yet.
NEXT = """\
local run, first, i = os.getenv("RUN"), os.time() * 1000000, 0
local json = {["Content-Type"] = "application/json"}
local function post(path, ...)
  return wrk.format("POST", "/api/2.0/mlflow/" .. path, json, string.format(...))
end
local points = {}
"""
KINDS = {
    "log-metric": """\
function request()
  i = i + 1
  return post("runs/log-metric", '{"run_id":"%s","key":"loss","value":%.17g,"timestamp":%d,"step":%d}',
    run, i / 7, first + i, i)
end
""",
    "log-batch of 100": """\
function request()
  i = i + 1
  for p = 1, 100 do
    points[p] = string.format('{"key":"batch","value":%.17g,"timestamp":%d,"step":%d}', p / 7, first + i, i * 100 + p)
  end
  return post("runs/log-batch", '{"run_id":"%s","metrics":[%s]}', run, table.concat(points, ","))
end
""",
    "create-run": """\
function request()
  i = i + 1
  return post("runs/create", '{"experiment_id":"0","start_time":%d,"run_name":"r%d"}', i, i)
end
""",
    "get-run": """\
function request()
  return wrk.format("GET", "/api/2.0/mlflow/runs/get?run_id=" .. run)
end
""",
}


def measure(subject):
    wrk.install()
    ours = Towpath(subject)
    with ours.service:
        found = ours.measure()
    with Mlflow(subject) as theirs:
        peer = theirs.measure()
    name = subject.version("mlflow")
    return figures(found, peer, name)


def figures(found, peer, name):
    rows = []
    for what in KINDS:
        for n in CONCURRENCY:
            ours, theirs = found[what, n], peer[what, n]

            def row(label, unit, key, what=what, n=n, ours=ours, theirs=theirs, **more):
                return Figure(f"{what}, {n} at a time: {label}", unit, ours[key], peers={name: theirs[key]}, **more)

            rows += [
                row("CPU time", "ms", "cpu", target=theirs["cpu"] / FRACTION),
                row("median", "ms", "p50"),
                row("99th percentile", "ms", "p99", target=5 if n == 8 else None),
                row("requests a second", "/s", "rate", more_is_better=True),
            ]
    for what in (f"search of {RUNS:,} runs by a metric", f"history of {POINTS:,} points"):
        cpu = peer[what]["cpu"]
        rows.append(Figure(f"{what}: CPU time", "ms", found[what]["cpu"], peers={name: cpu}, target=cpu / FRACTION))
        rows.append(Figure(f"{what}: time", "ms", found[what]["p50"], peers={name: peer[what]["p50"]}))
    many = f"search of {MANY_RUNS:,} runs by a metric"
    mib = 1 << 20
    return [
        *rows,
        Figure(f"{many}: time", "ms", found[many]["p50"], target=100),
        Figure(f"log-batch of {INGESTED:,} points", "s", found["ingest"], target=5),
        Figure("disk, a point", "bytes", found["bytes"], target=16, peers={name: peer["bytes"]}),
        Figure("start until it answers", "ms", found["start"], peers={name: peer["start"]}, target=100),
        Figure("memory when idle", "MiB", found["idle"] / mib, peers={name: peer["idle"] / mib}, target=60),
        Figure(f"peak memory after {INGESTED:,} points", "MiB", found["peak"] / mib, target=200),
    ]


class Client:
    """One kept-alive connection."""

    def __init__(self, url):
        address = urllib.parse.urlsplit(url)
        self.connection = HTTPConnection(address.hostname, address.port, timeout=300)

    def raw(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request(method, f"/api/2.0/mlflow/{path}", body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return text

    def post(self, path, body):
        return json.loads(self.raw("POST", path, json.dumps(body)))

    def get(self, path):
        return json.loads(self.raw("GET", path))


class Tracked:
    """What is measured of either server."""

    def __init__(self, subject, url, service):
        self.url, self.service = url, service
        self.folder, self.environment = subject.dir, subject.environment

    def measure(self):
        run_id = self.create(Client(self.url))
        return {(what, n): self.load(n, what, run_id) for n in CONCURRENCY for what in KINDS}

    def create(self, client):
        return client.post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]

    def load(self, concurrency, what, run_id):
        script = self.folder / "load.lua"
        script.write_text(NEXT + KINDS[what] + wrk.DONE)
        environment = dict(self.environment, RUN=run_id)
        return wrk.load(self.service, self.url, script, concurrency, SECONDS, warm_up=1, environment=environment)

    def asked(self, times, method, path, body=None):
        """Again and again over one connection."""
        client, body = Client(self.url), body and json.dumps(body)
        before, latencies = self.service.cpu_seconds(), []
        for _ in range(times):
            begun = time.perf_counter()
            client.raw(method, path, body)
            latencies.append(1000 * (time.perf_counter() - begun))
        return {"cpu": 1000 * (self.service.cpu_seconds() - before) / times, "p50": median(latencies)}

class Towpath(Tracked):
    def __init__(self, subject):
        self.data, port = subject.dir / "server", free_port()
        begun = time.perf_counter()
        command = [subject.towpath, "server", "--listen", f"127.0.0.1:{port}", "--data-dir", self.data]
        url = f"http://127.0.0.1:{port}"
        service = subject.service(*command, ready=f"{url}/readyz")
        super().__init__(subject, url, service)
        first = 1000 * (time.perf_counter() - begun)
        service.stop()
        # A second start: the database is there.
        starts = []
        for _ in range(3):
            begun = time.perf_counter()
            self.service = subject.service(*command, ready=f"{url}/readyz")
            starts.append(1000 * (time.perf_counter() - begun))
            self.service.stop()
        self.service = subject.service(*command, ready=f"{url}/readyz")
        self.start = min(first, *starts)

    def measure(self):
        idle = memory(self.service.pid)
        found = super().measure()
        client = Client(self.url)
        size = self.size()
        begun = time.perf_counter()
        self.ingest(client)
        found |= {"ingest": time.perf_counter() - begun, "idle": idle, "start": self.start}
        found["peak"] = peak_memory(self.service.pid)
        found["bytes"] = (self.size() - size) / INGESTED
        series = self.create(client)
        for first in range(0, POINTS, 1000):
            points = [
                {"key": "loss", "value": 1 / (i + 1), "timestamp": 1_700_000_000_000 + i * 700, "step": i}
                for i in range(first, first + 1000)
            ]
            client.post("runs/log-batch", {"run_id": series, "metrics": points})
        path = f"metrics/get-history?run_id={series}&metric_key=loss"
        if len(client.get(path)["metrics"]) != POINTS:
            raise RuntimeError("the history is not whole")
        found[f"history of {POINTS:,} points"] = self.asked(20, "GET", path)
        for count in (RUNS, MANY_RUNS):
            experiment = self.fill(client, count)
            search = dict(SEARCH, experiment_ids=[experiment])
            if len(client.post("runs/search", search)["runs"]) != 100:
                raise RuntimeError("the search finds too little")
            found[f"search of {count:,} runs by a metric"] = self.asked(50, "POST", "runs/search", search)
        return found

    def ingest(self, client):
        """A million points of one run through log-batch, and its end."""
        run_id = self.create(client)
        for first in range(0, INGESTED, 1000):
            points = ",".join(
                f'{{"key":"m{i % 4}","value":{i / 7},"timestamp":{1_700_000_000_000 + i * 3},"step":{i // 4}}}'
                for i in range(first, first + 1000)
            )
            client.raw("POST", "runs/log-batch", f'{{"run_id":"{run_id}","metrics":[{points}]}}')
        client.post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 5})

    def size(self):
        return sum(path.stat().st_size for path in self.data.glob("towpath.db"))

    def fill(self, client, count):
        """An experiment with so many runs, written into the tables: by the API it would take minutes."""
        name = f"runs-{count}"
        experiment = client.post("experiments/create", {"name": name})["experiment_id"]
        client.post("runs/log-metric", {"run_id": self.create(client), "key": "acc", "value": 0, "timestamp": 1})
        database = sqlite3.connect(self.data / "towpath.db", timeout=120)
        key = database.execute("select id from metric_keys where name = 'acc'").fetchone()[0]
        with database:
            first = database.execute("update sequences set value = value + ? where name = 'tracked_runs' returning value", (count,))
            first = first.fetchone()[0] - count + 1
            database.executemany(
                "insert into tracked_runs (id, run_id, experiment, name, user_id, status, start_time, end_time, artifact_uri,"
                " lifecycle_stage, created_by) values (?, ?, ?, ?, 'bench', 'FINISHED', ?, ?, '', 'active', 'local')",
                ((first + i, f"{count + i:032x}", experiment, f"run-{i}", i + 1, i + 2) for i in range(count)),
            )
            database.executemany(
                "insert into metric_latest (run, key, experiment, step, at, value, is_nan) values (?, ?, ?, 0, 1, ?, 0)",
                ((first + i, key, experiment, (i * 7919 % 10007) / 10007) for i in range(count)),
            )
            database.executemany(
                "insert into run_params (run, key, value) values (?, 'lr', ?)",
                ((first + i, str((i * 7919 % 10007) / 10007)) for i in range(count)),
            )
        database.close()
        return experiment


class Mlflow(Tracked):
    def __init__(self, subject):
        self.database, port = subject.dir / "mlflow.db", free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            subject.peers / "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.database}", "--port", port,
            "--artifacts-destination", subject.dir / "mlflow-artifacts",
        ]
        # The first start makes the tables.
        subject.service(*command, ready=f"{url}/health").stop()
        self.empty = self.database.stat().st_size
        begun = time.perf_counter()
        service = subject.service(*command, ready=f"{url}/health")
        self.start = 1000 * (time.perf_counter() - begun)
        super().__init__(subject, url, service)
        self.subject = subject

    def measure(self):
        idle = sum(memory(pid) for pid in tree(self.service.pid))
        found = super().measure() | {"idle": idle, "start": self.start}
        fill = self.subject.dir / "fill.py"
        fill.write_text(FILL)
        before = self.database.stat().st_size
        run(self.subject.peers / "python", fill, self.database, 0, POINTS)
        found["bytes"] = (self.database.stat().st_size - before) / POINTS
        run(self.subject.peers / "python", fill, self.database, RUNS, 0)
        found[f"search of {RUNS:,} runs by a metric"] = self.asked(3, "POST", "runs/search", SEARCH)
        path = f"metrics/get-history?run_id={0:032x}&metric_key=loss"
        found[f"history of {POINTS:,} points"] = self.asked(2, "GET", path)
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.service.stop()


def memory(pid):
    """VmRSS in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
