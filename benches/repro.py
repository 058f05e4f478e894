"""A `repro` that finds everything up to date: the repository of the demo, and a chain of 200 stages."""

from processes import cpu_timed, timed
from report import Figure, median, spread
from stages import dvc_yaml

STAGES = 200


def measure(subject):
    subject.run(subject.towpath, "new", "digits")
    chain = subject.repository("chain", {"0.txt": "0\n", "dvc.yaml": dvc_yaml(STAGES)})
    return [
        *nothing_to_do(subject, "the demo", subject.dir / "digits", lambda theirs: 30),
        *nothing_to_do(subject, f"{STAGES} stages", chain, lambda theirs: theirs / 30),
    ]


def nothing_to_do(subject, what, folder, target):
    """`target` of the time that dvc takes, in milliseconds."""
    subject.run(subject.towpath, "repro", cwd=folder)
    there = {"cwd": folder, "env": subject.environment}
    towpath, dvc = (subject.towpath, "repro"), (subject.peers / "dvc", "repro")
    said = subject.run(*dvc, cwd=folder)
    if "up to date" not in said:
        raise RuntimeError(f"dvc does not take Towpath's results for its own:\n{said}")
    figures = []
    rows = [(f"`towpath repro` of {what}, nothing to do", timed), (f"its CPU time, {what}", cpu_timed)]
    for row, timer in rows:
        ours, theirs = [], []
        for _ in range(3):
            theirs.append(1000 * timer(*dvc, **there))
            ours += [1000 * timer(*towpath, **there) for _ in range(10)]
        peers = {f"{subject.version('dvc')} repro": median(theirs)}
        bound = target(median(theirs)) if timer is timed else None
        figures.append(Figure(row, "ms", median(ours), spread(ours, "ms"), peers, bound))
    return figures
