"""The most memory that server and data planes ever had resident while the demo runs."""

import subprocess
import sys
import time

import processes
from report import Figure
from subject import ROOT

PORT = 4400
MEBIBYTE = 2**20


def measure(subject):
    if processes.answers(f"http://127.0.0.1:{PORT}/healthz"):
        raise SystemExit(f"a server of an earlier demo listens on port {PORT}: end it first")
    log = subject.dir / "demo.log"
    with log.open("wb") as sink:
        demo = subprocess.Popen(
            [sys.executable, ROOT / "scripts/demo.py", "--towpath", subject.towpath, "--exit", "--port", str(PORT)],
            env=subject.environment, stdout=sink, stderr=sink,
        )
    peaks = {}
    try:
        while demo.poll() is None:
            for pid in processes.tree(demo.pid):
                role = role_of(processes.command_line(pid), subject)
                peak = role and processes.peak_memory(pid)
                if peak:
                    peaks[role] = max(peak, peaks.get(role, 0))
            time.sleep(0.2)
    finally:
        demo.kill()
    if demo.returncode != 0:
        raise RuntimeError(f"the demo failed:\n{log.read_text()[-3000:]}")
    server = peaks["server"] / MEBIBYTE
    planes = {role: peak / MEBIBYTE for role, peak in peaks.items() if role != "server"}
    largest = max(planes.values())
    note = f"server {server:.0f}, " + ", ".join(f"{role} {peak:.0f}" for role, peak in sorted(planes.items()))
    return [
        Figure("server and one data plane", "MiB", server + largest, note, target=120),
        Figure("server and the data planes of both environments", "MiB", server + sum(planes.values())),
    ]


def role_of(words, subject):
    """`server`, `serve <environment>`; nothing for what else the demo starts."""
    if len(words) < 2 or not words[0].endswith(subject.towpath.name):
        return None
    if words[1] == "server":
        return "server"
    if words[1] == "serve":
        state = words[words.index("--state-dir") + 1] if "--state-dir" in words else "-"
        # `.../<project>/<environment>/state`; the gate on latency has one of its own for a moment.
        if "/.tmp" in state:
            return None
        return f"serve {state.rstrip('/').removesuffix('/state').split('/')[-1]}"
    return None
