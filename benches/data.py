"""What versioning many files costs: the same tree added, looked at and checked out by Towpath and DVC.

FILES files of 1-10 KB in folders of 1,000. Beside each figure stands what the machine can do at
best (`crates/data/examples/floors.rs`): copy, hash, or walk the same tree on all cores. The caches
of the operating system are warm for all of them. `TOWPATH_BENCH_FILES` sets FILES,
`TOWPATH_BENCH_DVC=0` leaves the real dvc out.
"""

import os
import random
import shutil

from processes import run, timed
from report import Figure, median, spread
from subject import ROOT

FILES = int(os.environ.get("TOWPATH_BENCH_FILES", "100000"))
WITH_DVC = os.environ.get("TOWPATH_BENCH_DVC", "1") != "0"
TIMES = 5


def write_tree(folder):
    rng = random.Random(1)
    noise = rng.randbytes(1 << 20)
    for i in range(FILES):
        if i % 1000 == 0:
            (folder / f"{i // 1000:04}").mkdir(parents=True)
        start = rng.randrange(len(noise) - 10_240)
        content = i.to_bytes(8) + noise[start:start + rng.randrange(1016, 10_232)]
        (folder / f"{i // 1000:04}" / f"{i:06}.bin").write_bytes(content)


class Tool:
    """A repository of its own with a copy of the tree."""

    def __init__(self, subject, tree, name, program):
        self.subject, self.program = subject, program
        self.folder = subject.repository(name, {"README": "data\n"})
        shutil.copytree(tree, self.folder / "data")

    def seconds(self, *args):
        return timed(self.program, *args, cwd=self.folder, env=self.subject.environment)

    def link(self, kind):
        self.subject.run(self.program, "config", "cache.type", kind, cwd=self.folder)

    def forget(self):
        """As if the data had never been added."""
        for path in [".dvc/cache", ".dvc/tmp"]:
            shutil.rmtree(self.folder / path, ignore_errors=True)
        (self.folder / "data.dvc").unlink(missing_ok=True)


def measure(subject):
    run("cargo", "build", "--quiet", "--release", "-p", "towpath-data", "--example", "floors", cwd=ROOT)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    tree = subject.dir / "tree"
    write_tree(tree)
    ours = Tool(subject, tree, "ours", subject.towpath)
    theirs = Tool(subject, tree, "theirs", subject.peers / "dvc") if WITH_DVC else None

    def floor(work, *paths):
        return float(subject.run(f"{target}/release/examples/floors", work, *paths).strip())

    def copy():
        shutil.rmtree(subject.dir / "copied", ignore_errors=True)
        return floor("copy", tree, subject.dir / "copied")

    def add():
        ours.forget()
        return ours.seconds("add", "data")

    def checkout():
        shutil.rmtree(ours.folder / "data")
        return ours.seconds("checkout")

    def figure(what, work, best, limit, *command, prepare=lambda: None):
        values = sorted((work(), best()) for _ in range(TIMES))
        seconds, floors = [value for value, _ in values], [value for _, value in values]
        peers = {"at best on this machine": median(floors)}
        if theirs:
            prepare()
            peers[subject.version("dvc")] = theirs.seconds(*command)
        return Figure(what, "s", median(seconds), spread(seconds, "s"), peers, target=limit * median(floors))

    walk = lambda: floor("walk", tree)
    figures = [
        figure(f"add of {FILES:,} files, copied", add, copy, 1.3, "add", "data"),
        figure("status of them, unchanged", lambda: ours.seconds("status"), walk, 1.5, "status"),
        figure(
            "checkout of them", checkout, copy, 1.5, "checkout",
            prepare=lambda: shutil.rmtree(theirs.folder / "data"),
        ),
    ]
    for tool in filter(None, [ours, theirs]):
        tool.link("hardlink")
    hardlinked = figure(
        "add of them, hard links", add, lambda: floor("hash", tree), 2, "add", "data",
        prepare=lambda: theirs.forget(),
    )
    empty = subject.repository("empty", {"README": "nothing\n"})
    starts = {
        "start: --version": lambda: timed(subject.towpath, "--version", env=subject.environment),
        "start: status of an empty repository": lambda: timed(
            subject.towpath, "status", cwd=empty, env=subject.environment
        ),
    }
    for what, work in starts.items():
        values = [work() for _ in range(4 * TIMES)]
        figures.append(Figure(what, "s", median(values), spread(values, "s"), target=0.010))
    return [*figures, hardlinked]
