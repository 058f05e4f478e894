"""The two flows that Windmill publishes for comparisons (docs, "Benchmarks"): 40 light tasks and 10 long ones.

A light task computes fibonacci(10), a long one fibonacci(33), in Python, one after another. As a
stage of Towpath each is a process with a cached result; as a task of Prefect it is a call in one
process whose state a local server keeps. The same numbers computed by one Python process, without
an engine, stand beside both.
"""

from processes import run, timed
from report import Figure, median, spread
from stages import prefect_python

FLOWS = [("40 light tasks, fibonacci(10)", 40, 10), ("10 long tasks, fibonacci(33)", 10, 33)]
TIMES = 3

FIBONACCI = """\
import sys

def fibonacci(n):
    return n if n <= 1 else fibonacci(n - 1) + fibonacci(n - 2)

if __name__ == "__main__":
    for _ in range(int(sys.argv[2])):
        print(fibonacci(int(sys.argv[1])))
"""

FLOW = """\
import sys, time
from prefect import flow, task
from fibonacci import fibonacci

light = task(fibonacci)

@flow
def pipeline(tasks, n):
    for _ in range(tasks):
        light(n)

pipeline(1, 1)
started = time.perf_counter()
pipeline(int(sys.argv[1]), int(sys.argv[2]))
print("seconds", time.perf_counter() - started)
"""


def measure(subject):
    return [figure(subject, *flow) for flow in FLOWS]


def figure(subject, what, tasks, n):
    previous = lambda i: f"deps: [fibonacci.py, {i - 1}.txt]" if i else "deps: [fibonacci.py]"
    stages = (
        f"  t{i}: {{cmd: python3 -S -E fibonacci.py {n} 1 > {i}.txt, {previous(i)}, outs: [{i}.txt]}}\n"
        for i in range(tasks)
    )
    files = {"dvc.yaml": "stages:\n" + "".join(stages), "fibonacci.py": FIBONACCI, "flow.py": FLOW}
    there = {"env": subject.environment}
    ours, alone, theirs = [], [], []
    python = prefect_python()
    for i in range(TIMES):
        folder = subject.repository(f"flow-{n}-{i}", files)
        ours.append(timed(subject.towpath, "repro", "--no-run-cache", cwd=folder, **there))
        alone.append(timed("python3", "fibonacci.py", n, tasks, cwd=folder, **there))
        theirs.append(float(run(python, "flow.py", tasks, n, cwd=folder, **there).rsplit("seconds", 1)[1]))
    peers = {"one Python process": median(alone), "prefect 3.8.8": median(theirs)}
    return Figure(f"{what}, one after another", "s", median(ours), spread(ours, "s"), peers)
