"""A `repro` that finds everything up to date, in the repository of the demo."""

from processes import cpu_timed, timed
from report import Figure, median, spread


def measure(subject):
    subject.run(subject.towpath, "new", "digits")
    folder = subject.dir / "digits"
    subject.run(subject.towpath, "repro", cwd=folder)
    there = {"cwd": folder, "env": subject.environment}
    towpath = (subject.towpath, "repro")
    ours = [1000 * timed(*towpath, **there) for _ in range(30)]
    ours_cpu = [1000 * cpu_timed(*towpath, **there) for _ in range(30)]
    dvc = subject.peers / "dvc"
    said = subject.run(dvc, "repro", cwd=folder)
    if "up to date" not in said:
        raise RuntimeError(f"dvc does not take Towpath's results for its own:\n{said}")
    theirs = median([1000 * timed(dvc, "repro", **there) for _ in range(5)])
    theirs_cpu = median([1000 * cpu_timed(dvc, "repro", **there) for _ in range(3)])
    name = f"{subject.version('dvc')} repro"
    return [
        Figure("`towpath repro`, nothing to do", "ms", median(ours), spread(ours, "ms"), {name: theirs}, 30),
        Figure("its CPU time", "ms", median(ours_cpu), spread(ours_cpu, "ms"), {name: theirs_cpu}),
    ]
