"""A server that holds much and does nothing: 10,000 stages wait, 1,000 schedules are planned.

Two runs of 5,000 stages each stand behind one stage that sleeps; ten projects have 100 schedules
each, of which none is due. What the server and nothing else takes meanwhile is measured.
"""

import time
from pathlib import Path

from processes import TICKS
from report import Figure

STAGES = 5_000
RUNS = 2
PROJECTS = 10
SCHEDULES = 100
SECONDS = 30


def measure(subject):
    stages = "".join(f"  s{i}: {{cmd: cp 0.txt out-{i}.txt, deps: [0.txt], outs: [out-{i}.txt]}}\n" for i in range(1, STAGES))
    held = f"stages:\n  s0: {{cmd: sleep 600 && echo > 0.txt, outs: [0.txt]}}\n{stages}"
    push = "on:\n  push:\n    branches: [main]\n"
    # Half past some hour of a day half a year away.
    planned = "".join(f"    s{i}: {{cron: '{i % 60} 4 1 6 *'}}\n" for i in range(SCHEDULES))
    with subject.server() as server:
        for i in range(PROJECTS):
            files = {"towpath.yaml": f"on:\n  schedule:\n{planned}", "dvc.yaml": "stages: {}\n"}
            folder = subject.repository(f"planned-{i}", files)
            subject.run("git", "push", "--quiet", f"{server.url}/git/planned-{i}.git", "HEAD:main", cwd=folder)
        for i in range(RUNS):
            folder = subject.repository(f"held-{i}", {"towpath.yaml": push, "dvc.yaml": held})
            subject.run("git", "push", "--quiet", f"{server.url}/git/held-{i}.git", "HEAD:main", cwd=folder)
        waiting = until_all_wait(server)
        schedules = sum(len(server.get(f"/projects/planned-{i}/schedules")) for i in range(PROJECTS))
        if schedules != PROJECTS * SCHEDULES:
            raise RuntimeError(f"{schedules} schedules are known")
        time.sleep(5)
        before = ticks(server.service.pid)
        time.sleep(SECONDS)
        share = 100 * (ticks(server.service.pid) - before) / TICKS / SECONDS
        resident = resident_bytes(server.service.pid)
        for i in range(RUNS):
            subject.run(subject.towpath, "run", "cancel", "1", "--project", f"held-{i}", "--server", server.url)
    what = f"{waiting:,} stages wait, {schedules:,} schedules are planned"
    return [
        Figure(f"memory of the server, {what}", "MB", resident / 1e6, "", {}, 100),
        Figure(f"share of a core that it takes, {what}", "%", share, f"over {SECONDS} s", {}, 5),
    ]


def until_all_wait(server):
    """How many stages wait, once both runs are planned."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        waiting = 0
        for i in range(RUNS):
            runs = server.get(f"/projects/held-{i}/runs")["items"]
            if runs and runs[0]["status"] == "running":
                stages = server.get(f"/projects/held-{i}/runs/1")["stages"]
                waiting += sum(stage["status"] == "queued" for stage in stages)
        if waiting >= RUNS * (STAGES - 1):
            return waiting
        time.sleep(0.5)
    raise RuntimeError("the runs were not planned within 300 s")


def ticks(pid):
    """Of the process alone: what a stage takes is not the server's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_bytes(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
