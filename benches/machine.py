"""Where and when something was measured."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from processes import run


@dataclass
class Conditions:
    """The circumstances of one measurement, as a sentence."""

    date: str
    program: str
    load_before: float
    load_after: float | None = None

    @classmethod
    def now(cls, subject):
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return cls(date, f"{subject.profile} build of commit {commit(subject.towpath)}", os.getloadavg()[0])

    def ended(self):
        self.load_after = os.getloadavg()[0]

    def __str__(self):
        cpus = os.cpu_count()
        busy = "" if self.load_before < 0.5 * cpus else "; **the machine was busy with other work**"
        load = f"load average {self.load_before:.1f} before, {self.load_after:.1f} after{busy}"
        return f"Measured {self.date} on {cpus} x {processor()}, {memory_gib():.0f} GiB, Linux {kernel()}; {self.program}; {load}."


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def kernel():
    return ".".join(platform.release().split(".")[:2])


def commit(program):
    """The newest commit when the program was built."""
    built = int(program.stat().st_mtime)
    log = ["git", "log", "-1", f"--before={built}", "--format=%h"]
    return run(*log, cwd=Path(__file__).resolve().parent).strip()
