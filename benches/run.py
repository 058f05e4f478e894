"""Measures Towpath and, side by side on the same work, what people use today.

    run.py --towpath PATH [--write] [NAME...]

NAME is a module of this folder that measures; without one, all of them. `--write` puts what was
measured into docs/benchmarks.md. The peers are those of the Python environment that runs this.
"""

import argparse
import importlib
import sys
from pathlib import Path

import report
from machine import Conditions
from subject import Subject

NAMES = ["trigger", "stages", "windmill", "waiting", "repro", "rollback", "serving", "memory", "judge", "data", "tracking", "charts"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--towpath", required=True, type=Path, help="the program to measure")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)}")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")

    missed = []
    for name in options.names or NAMES:
        print(f"\n{name}", flush=True)
        with Subject(options.towpath.resolve(), name) as subject:
            conditions = Conditions.now(subject)
            figures = importlib.import_module(name).measure(subject)
            conditions.ended()
        print(report.text(figures), conditions, sep="\n", flush=True)
        missed += [figure.what for figure in figures if figure.met is False]
        if options.write:
            report.write(name, figures, conditions)
    if missed:
        print(f"\ntargets missed: {'; '.join(missed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
