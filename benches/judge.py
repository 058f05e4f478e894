"""How often a candidate that is not worse is rolled back: simulated rollouts, 20,000 requests each."""

import re

from processes import run
from report import Figure
from subject import ROOT

ROLLOUTS = 2_000


def measure(subject):
    profile = subject.profile if subject.profile in ("release", "dist") else "release"
    printed = run(
        "cargo", "run", "--quiet", "--profile", profile, "--package", "towpath-stats", "--example", "false_rollback",
        "--", ROLLOUTS, cwd=ROOT,
    )
    lines = re.findall(r"^(.*): (\d+) of (\d+) rolled back \(.*alpha ([\d.]+) %\)$", printed, re.MULTILINE)
    if not lines:
        raise RuntimeError(f"not understood:\n{printed}")
    return [
        Figure(f"false rollbacks: {traffic}", "%", 100 * int(bad) / int(of), f"{bad} of {of}", target=float(alpha))
        for traffic, bad, of, alpha in lines
    ]
