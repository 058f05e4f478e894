"""The program under measurement, in surroundings of its own."""

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from importlib import metadata
from pathlib import Path

from processes import Service, free_port, run

ROOT = Path(__file__).resolve().parent.parent


class Subject:
    """Towpath's program, the peers' programs and a folder that is gone afterwards."""

    def __init__(self, towpath, name):
        if not towpath.is_file():
            raise SystemExit(f"{towpath} is not there: build it first (make build)")
        self.towpath = towpath
        #: The folder of the peers' programs.
        self.peers = Path(sys.executable).parent
        self.dir = Path(tempfile.mkdtemp(prefix=f"towpath-bench-{name}-"))
        self.environment = dict(
            os.environ,
            # Python environments are kept between measurements: building them is not measured.
            XDG_CACHE_HOME=str(ROOT / ".cache"),
            XDG_DATA_HOME=str(self.dir / "share"),
            PATH=f"{towpath.parent}:{self.peers}:{os.environ['PATH']}",
            GIT_CONFIG_NOSYSTEM="1",
            GIT_CONFIG_GLOBAL=str(self.dir / "gitconfig"),
            GIT_TERMINAL_PROMPT="0",
            DVC_NO_ANALYTICS="1",
            DO_NOT_TRACK="1",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="180",
            PREFECT_LOGGING_LEVEL="WARNING",
            PREFECT_HOME=str(self.dir / "prefect"),
        )
        for variable in ("TOWPATH_TOKEN", "TOWPATH_SERVER", "MLFLOW_TRACKING_URI"):
            self.environment.pop(variable, None)
        (self.dir / "gitconfig").write_text(
            "[user]\nname = Bench\nemail = bench@example.org\n[init]\ndefaultBranch = main\n"
        )

    @property
    def profile(self):
        """`release`, `dist`, `debug`: the folder that cargo put the program into."""
        return self.towpath.parent.name

    def version(self, package):
        """`name version` of a peer."""
        return f"{package} {metadata.version(package)}"

    def run(self, *command, cwd=None):
        return run(*command, cwd=cwd or self.dir, env=self.environment)

    def service(self, *command, ready, cwd=None, seconds=120):
        log = self.dir / f"{Path(command[0]).name}.log"
        return Service(*command, log=log, ready=ready, seconds=seconds, cwd=cwd or self.dir, env=self.environment)

    def server(self):
        return Server(self)

    def repository(self, name, files):
        """A repository with these files (by path) and one commit."""
        folder = self.dir / name
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self.run("git", "init", "--quiet", cwd=folder)
        self.run(self.towpath, "init", cwd=folder)
        self.commit(folder, "Begin")
        return folder

    def commit(self, folder, message):
        self.run("git", "add", "--all", cwd=folder)
        self.run("git", "commit", "--quiet", "-m", message, cwd=folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


class Server:
    """`towpath server` on a free port of the loopback device, without accounts."""

    def __init__(self, subject):
        self.subject = subject
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.service = subject.service(
            subject.towpath, "server", "--listen", f"127.0.0.1:{port}", "--data-dir", subject.dir / "server",
            ready=f"{self.url}/readyz",
        )

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}/api/v1{path}", timeout=60) as answer:
            return json.load(answer)

    def printed(self, project, number, stage):
        """What a stage wrote to its standard output."""
        page = self.get(f"/projects/{project}/runs/{number}/stages/{stage}/log")
        return "\n".join(line["text"] for line in page["lines"] if line["stream"] == "out")

    def push(self, folder, project):
        """Pushes HEAD to `main`; the run it started, once that has succeeded."""
        before = self._newest(project)
        self.subject.run("git", "push", "--quiet", f"{self.url}/git/{project}.git", "HEAD:main", cwd=folder)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            number = self._newest(project)
            if number != before:
                found = self.get(f"/projects/{project}/runs/{number}")
                if found["status"] == "succeeded":
                    return found
                if found["status"] not in ("queued", "running"):
                    raise RuntimeError(f"run {number} of {project} {found['status']}: {found['error']}")
            time.sleep(0.05)
        raise RuntimeError(f"no run of {project} ended within 300 s")

    def _newest(self, project):
        projects = [p["name"] for p in self.get("/projects")]
        runs = self.get(f"/projects/{project}/runs")["items"] if project in projects else []
        return runs[0]["number"] if runs else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.service.stop()
