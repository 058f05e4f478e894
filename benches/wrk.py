"""Load by `wrk` from the same machine over kept-alive connections, and what the serving processes took.

One thread asks, so the other core is the server's. CPU time is that of the service with its children,
from /proc, and does not depend on how busy the machine is as latencies do.
"""

import json
import os
import shutil

from processes import run

#: At the end of a script: prints JSON, times in microseconds.
DONE = """\
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "micros": %d, "p50": %d, "p99": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def install():
    if shutil.which("wrk") is None:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk")


def load(service, url, script, connections, seconds, warm_up=2, environment=None):
    """CPU milliseconds of a request, quantiles in milliseconds, requests a second."""
    environment = environment or os.environ
    wrk = ["wrk", "--threads", 1, "--connections", connections, "--script", script, "--timeout", "60s"]
    if warm_up:
        run(*wrk, "--duration", f"{warm_up}s", url, env=environment)
    before = service.cpu_seconds()
    printed = run(*wrk, "--duration", f"{seconds}s", url, env=environment)
    used = service.cpu_seconds() - before
    summary = json.loads(printed[printed.index('{"requests"'):])
    if summary["failed"] or not summary["requests"]:
        raise RuntimeError(f"{url} at {connections}: {summary}")
    return {
        "cpu": 1000 * used / summary["requests"],
        "p50": summary["p50"] / 1000,
        "p99": summary["p99"] / 1000,
        "rate": 1e6 * summary["requests"] / summary["micros"],
    }
