"""How often a candidate that is not worse is rolled back, and after how many requests one that is: simulated rollouts."""

import re

from processes import run
from report import Figure
from subject import ROOT

ROLLOUTS = 2_000
DETECTIONS = 500

LINE = re.compile(r"^(.*): judge ([\d.]+) % after ([\d-]+), threshold ([\d.]+) % after ([\d-]+)$", re.MULTILINE)


def measure(subject):
    profile = subject.profile if subject.profile in ("release", "dist") else "release"
    return [*false_rollbacks(example(profile, "false_rollback", ROLLOUTS)), *detections(example(profile, "detection", DETECTIONS))]


def example(profile, name, count):
    return run(
        "cargo", "run", "--quiet", "--profile", profile, "--package", "towpath-stats", "--example", name, "--", count,
        cwd=ROOT,
    )


def false_rollbacks(printed):
    lines = re.findall(r"^(.*): (\d+) of (\d+) rolled back \(.*alpha ([\d.]+) %\)$", printed, re.MULTILINE)
    if not lines:
        raise RuntimeError(f"not understood:\n{printed}")
    return [
        Figure(f"false rollbacks: {traffic}", "%", 100 * int(bad) / int(of), f"{bad} of {of}", target=float(alpha))
        for traffic, bad, of, alpha in lines
    ]


def detections(printed):
    """A candidate that is as good must not be found; of a worse one the median number of requests counts."""
    lines = LINE.findall(printed)
    if not lines:
        raise RuntimeError(f"not understood:\n{printed}")
    for what, found, after, threshold_found, threshold_after in lines:
        candidate, stable = re.match(r"([\d.]+) % errors against ([\d.]+) %", what).groups()
        peer = "fixed threshold of 5 % each 1,000 requests"
        if candidate == stable:
            yield Figure(f"false rollbacks: {what}", "%", float(found), f"of {DETECTIONS}", {peer: float(threshold_found)}, 1.0)
        elif after != "-":
            peers = {f"{peer} (finds {threshold_found} %)": float(threshold_after)} if threshold_after != "-" else {}
            yield Figure(f"requests until rolled back: {what}", "requests", float(after), f"median; finds {found} %", peers)
