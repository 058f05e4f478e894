"""What an engine adds to a stage: 50 stages in a chain, each copies the output of the one before.

The same commands run four times: by a shell one after another (what they cost by themselves), by
`towpath repro`, by `make -j2`, and as tasks of a Prefect flow. The overhead is what takes longer
than the shell, by stage. Towpath hashes inputs and outputs, keeps outputs in the cache and writes
dvc.lock; make looks at times of files; Prefect keeps the states of tasks in its local server.

Then 100 stages that need nothing of each other, two at a time, beside make.
"""

import time

from processes import run, timed
from report import Figure, median, spread
from subject import ROOT

STAGES = 50
SIDE_BY_SIDE = 100
TIMES = 5

#: An environment of its own: its server does not start with the newest FastAPI, which others get.
PREFECT = ["prefect==3.8.8", "fastapi==0.139.*"]

#: Prints the seconds that a flow takes; a first flow starts the local server, which is not measured.
FLOW = """\
import subprocess, sys, time
from prefect import flow, task

commands = sys.stdin.read().splitlines()

@task
def stage(command):
    subprocess.run(["sh", "-c", command], check=True)

@flow
def pipeline(commands):
    for command in commands:
        stage(command)

pipeline(["true"])
started = time.perf_counter()
pipeline(commands)
print("seconds", time.perf_counter() - started)
"""


def command(i):
    return f"cp {i}.txt {i + 1}.txt"


def dvc_yaml(count=STAGES):
    stages = (f"  s{i}:\n    cmd: {command(i)}\n    deps: [{i}.txt]\n    outs: [{i + 1}.txt]\n" for i in range(count))
    return "stages:\n" + "".join(stages)


def makefile():
    rules = (f"{i + 1}.txt: {i}.txt\n\t{command(i)}\n" for i in range(STAGES))
    return f"all: {STAGES}.txt\n" + "".join(rules)


def measure(subject):
    files = {
        "0.txt": "0\n", "dvc.yaml": dvc_yaml(), "Makefile": makefile(), "flow.py": FLOW,
        "towpath.yaml": "on:\n  push:\n    branches: [main]\n",
    }
    alone, ours, make = [], [], []
    for i in range(TIMES):
        folder = subject.repository(f"stages-{i}", files)
        there = {"cwd": folder, "env": subject.environment}
        ours.append(timed(subject.towpath, "repro", **there))
        script = " && ".join(map(command, range(STAGES)))
        alone.append(timed("sh", "-c", script, **there))
        for i in range(STAGES):
            (folder / f"{i + 1}.txt").unlink()
        make.append(timed("make", "--silent", "-j2", **there))
    pure = median(alone)
    overheads = [by_stage(seconds - pure) for seconds in ours]
    peers = {
        "make -j2": by_stage(median(make) - pure),
        PREFECT[0].replace("==", " "): by_stage(prefect(subject, folder) - pure),
    }
    pushed = subject.repository("pushed", files)
    served = [by_stage(seconds - pure) for seconds in by_push(subject, pushed)]
    return [
        Figure("a stage's overhead, `towpath repro`", "ms", median(overheads), spread(overheads, "ms"), peers, 5),
        Figure("a stage's overhead, pushed to the server", "ms", median(served), spread(served, "ms"), peers, 5),
        side_by_side(subject),
    ]


def side_by_side(subject):
    """Milliseconds for all; at most three times what make takes."""
    targets = [f"out-{i}.txt" for i in range(SIDE_BY_SIDE)]
    stages = (f"  s{i}: {{cmd: cp 0.txt {out}, deps: [0.txt], outs: [{out}]}}\n" for i, out in enumerate(targets))
    rules = (f"{out}: 0.txt\n\tcp 0.txt {out}\n" for out in targets)
    files = {
        "0.txt": "0\n", "dvc.yaml": "stages:\n" + "".join(stages),
        "Makefile": f"all: {' '.join(targets)}\n" + "".join(rules),
    }
    ours, make = [], []
    for i in range(TIMES):
        folder = subject.repository(f"side-by-side-{i}", files)
        there = {"cwd": folder, "env": subject.environment}
        ours.append(1000 * timed(subject.towpath, "repro", "-j2", **there))
        for out in targets:
            (folder / out).unlink()
        make.append(1000 * timed("make", "--silent", "-j2", **there))
    peers = {"make -j2": median(make)}
    what = f"{SIDE_BY_SIDE} stages side by side, `towpath repro -j2`"
    return Figure(what, "ms", median(ours), spread(ours, "ms"), peers, 3 * median(make))


def by_stage(seconds):
    return 1000 * seconds / STAGES


def prefect_python():
    """The interpreter of Prefect's environment, which is made when it is not there."""
    environment = ROOT / ".cache" / "bench" / "-".join(PREFECT).translate(str.maketrans("", "", "=*"))
    python = environment / "bin" / "python"
    if not python.exists():
        run("uv", "venv", "--quiet", environment)
        run("uv", "pip", "install", "--quiet", "--python", python, *PREFECT)
    return python


def prefect(subject, folder):
    """Seconds of the flow."""
    commands = "\n".join(command(i) for i in range(STAGES))
    printed = run(prefect_python(), "flow.py", cwd=folder, env=subject.environment, input=commands)
    return float(printed.rsplit("seconds", 1)[1])


def by_push(subject, folder):
    """Seconds from the start to the end of runs whose stages all run."""
    seconds = []
    with subject.server() as server:
        for i in range(3):
            (folder / "0.txt").write_text(f"pushed {i} {time.time()}\n")
            subject.commit(folder, f"Push {i}")
            found = server.push(folder, "stages")
            seconds.append((found["finished_at"] - found["started_at"]) / 1000)
            ran = [stage["name"] for stage in found["stages"] if stage["status"] == "succeeded"]
            if len(ran) != STAGES:
                raise RuntimeError(f"{len(ran)} of {STAGES} stages ran")
    return seconds
