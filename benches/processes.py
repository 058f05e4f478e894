"""Processes under measurement, as /proc tells of them."""

import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def run(*command, **options):
    """Runs a command to its good end; its standard output."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=900, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def timed(*command, **options):
    """Seconds that a command takes from its start to its good end."""
    started = time.perf_counter()
    run(*command, **options)
    return time.perf_counter() - started


def cpu_timed(*command, **options):
    """CPU seconds that a command and its children take."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*command, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peak_memory_of(*command, **options):
    """The largest resident set of a command that ends well, in bytes."""
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, **options) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return used.ru_maxrss * 1024


class Service:
    """A process of its own group that listens; ended with all its children."""

    def __init__(self, *command, log, ready, seconds=120, **options):
        """`ready`: the URL that answers 200 once it serves."""
        self.log = Path(log)
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [str(c) for c in command], stdout=sink, stderr=sink, start_new_session=True, **options
            )
        try:
            self._await(ready, seconds)
        except BaseException:
            self.stop()
            raise

    def _await(self, url, seconds):
        deadline = time.monotonic() + seconds
        while not answers(url):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{url} does not answer; {self.log} ends with:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    @property
    def pid(self):
        return self.process.pid

    def cpu_seconds(self):
        """User and system time of the process, its living descendants and those it has reaped."""
        return sum(_cpu_seconds(pid) for pid in tree(self.pid))

    def stop(self):
        for sign, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
            if self.process.poll() is None:
                os.killpg(self.pid, sign)
                try:
                    self.process.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
        # Workers that outlive their parent.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def tree(root):
    """The process and its living descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(entry.name)
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += parents.get(pid, [])
    return found


def peak_memory(pid):
    """VmHWM in bytes: the most that was ever resident; `None` when the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _stat(pid):
    """The fields of /proc/PID/stat from the state on (proc(5) counts it as the third)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def _cpu_seconds(pid):
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICKS if fields else 0.0
