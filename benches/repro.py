"""A `repro` that finds everything up to date, in the repository of the demo."""

from processes import timed
from report import Figure, median, spread


def measure(subject):
    subject.run(subject.towpath, "new", "digits")
    folder = subject.dir / "digits"
    subject.run(subject.towpath, "repro", cwd=folder)
    there = {"cwd": folder, "env": subject.environment}
    ours = [1000 * timed(subject.towpath, "repro", **there) for _ in range(30)]
    dvc = subject.peers / "dvc"
    said = subject.run(dvc, "repro", cwd=folder)
    if "up to date" not in said:
        raise RuntimeError(f"dvc does not take Towpath's results for its own:\n{said}")
    theirs = [1000 * timed(dvc, "repro", **there) for _ in range(5)]
    peers = {f"{subject.version('dvc')} repro": median(theirs)}
    return [Figure("`towpath repro`, nothing to do", "ms", median(ours), spread(ours, "ms"), peers, target=30)]
