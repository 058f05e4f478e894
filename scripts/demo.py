"""The main job, end to end, on real data: a Git push becomes a governed model in production, and a
bad one is thrown out by itself. Does by hand-made calls what the README's tour describes, says what
happens, and exits non-zero when any of it does not.

    demo.py --towpath PATH [--exit] [--page-test] [--port N]
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache" / "demo"
STARTED = time.monotonic()


class Failed(Exception):
    pass


def say(text, mark=" "):
    print(f"{time.monotonic() - STARTED:6.1f} s {mark} {text}", flush=True)


def chapter(text):
    print(f"\n{text}", flush=True)


def check(condition, text):
    if not condition:
        raise Failed(text)
    say(text, "✓")


def run(*command, cwd=None, env=None, fails=None):
    """Runs a command; its output. `fails`: the exit code it must end with."""
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=env or ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    expected = fails if fails is not None else 0
    if done.returncode != expected:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr if fails is not None else done.stdout


class Server:
    """The server under demonstration: its process, its commands, its answers."""

    def __init__(self, binary, port):
        self.binary, self.port, self.url = binary, port, f"http://127.0.0.1:{port}"
        self.data = HOME / "data"
        self.process = None
        self.tokens = {}

    def start(self):
        log = (HOME / "server.log").open("ab")
        self.process = subprocess.Popen(
            [self.binary, "server", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data],
            env=ENVIRONMENT, stdout=log, stderr=log,
        )
        wait("the server answers", lambda: self.answers("/readyz"), 30)

    def answers(self, path):
        try:
            return urllib.request.urlopen(self.url + path, timeout=5).status == 200
        except OSError:
            return False

    def towpath(self, *arguments, user=None, cwd=None, fails=None):
        env = dict(ENVIRONMENT)
        if user:
            env["TOWPATH_TOKEN"] = self.tokens[user]
        return run(self.binary, *arguments, cwd=cwd, env=env, fails=fails)

    def get(self, path, user="ds-1"):
        request = urllib.request.Request(self.url + "/api/v1" + path)
        request.add_header("Authorization", f"Bearer {self.tokens[user]}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(what, ready, seconds):
    """Waits until `ready` gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        time.sleep(0.1)
    raise Failed(f"waited {seconds} s in vain: {what}")


def git(*arguments):
    return run("git", *arguments, cwd=REPOSITORY, env=dict(ENVIRONMENT, TOWPATH_TOKEN=server.tokens["ds-1"])).strip()


def push(message):
    git("add", "--all")
    git("commit", "--quiet", "-m", message)
    return push_head()


def push_head():
    """Pushes; the run that the push started."""
    before = {r["number"] for r in server.get("/projects/digits/runs")["items"]} if pushed else set()
    git("push", "--quiet", "origin", "HEAD:main")
    pushed.append(True)

    def new():
        runs = server.get("/projects/digits/runs")["items"]
        return next((r["number"] for r in runs if r["number"] not in before), None)

    number = wait("a run starts", new, 20)
    say(f"pushed: run {number} starts")
    return number


def finished(number):
    """Waits for a run's end and tells what ran and why."""
    over = ("succeeded", "failed", "cancelled")

    def ended():
        found = server.get(f"/projects/digits/runs/{number}")
        return found if found["status"] in over else None

    found = wait(f"run {number} ends", ended, 300)
    for stage in found["stages"]:
        say(f"  {stage['name']:<11} {stage['status']:<10} {stage['why']}")
    if found["first_process_ms"] is not None:
        say(f"  first stage process {found['first_process_ms']:.0f} ms after the push")
    return found


def statuses(found):
    return {s["name"]: s["status"] for s in found["stages"]}


def release(environment, version):
    releases = server.get(f"/releases?project=digits&environment={environment}")["items"]
    return next((r for r in releases if r["version"] == version), None)


def reaches(environment, version, *states, seconds=60):
    def there():
        found = release(environment, version)
        if found and found["state"] in states:
            return found
        if found and found["state"] in ("failed", "rejected"):
            raise Failed(f"release {found['id']} {found['state']}: {found['reason']}")
        return None

    return wait(f"v{version} in {environment}: {' or '.join(states)}", there, seconds)


def approve(number):
    for user in ("reviewer-1", "ml-lead-1"):
        server.towpath("release", "approve", number, "--reason", "evidence read", user=user)
        say(f"{user} approves release {number}")


def follow_rollout(number, *states, seconds=150):
    """Tells what the judge says until the release is in one of the states."""
    told = set()

    def ended():
        found = server.get(f"/releases/{number}")
        rollout = found.get("rollout")
        for decision in reversed(rollout["decisions"] if rollout else []):
            key = (decision["at"], decision["text"])
            if key not in told:
                told.add(key)
                say(f"  judge: {decision['text']}")
        return found if found["state"] in states else None

    return wait(f"release {number}: {' or '.join(states)}", ended, seconds)


def address(environment):
    return server.get(f"/deployments/digits/{environment}")["address"]


class Traffic:
    """Live traffic: held-back images, a fresh key for each request, labels a little later."""

    def __init__(self, rate):
        self.report = HOME / "traffic.json"
        self.process = subprocess.Popen(
            [server.binary, "predict", "digits", "--environment", "production", "--replay", REPOSITORY / "incoming/live.csv",
             "--label-column", "digit", "--rate", str(rate), "--label-delay", "300ms", "--duration", "10m", "--json"],
            env=dict(ENVIRONMENT, TOWPATH_TOKEN=server.tokens["ds-1"]), stdout=self.report.open("wb"),
            stderr=(HOME / "traffic.log").open("wb"),
        )

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)
        return json.loads(self.report.read_text())


def first_weeks():
    chapter("1. The first weeks of images are pushed")
    number = push_head()
    found = finished(number)
    check(found["status"] == "succeeded", f"run {number} succeeded and made {version_of(found)}")
    reaches("staging", 1, "live")
    say(f"v1 is live in staging, at {address('staging')}")
    waiting = reaches("production", 1, "awaiting_approval")
    detail = server.get(f"/releases/{waiting['id']}")
    for gate in detail["gates"]:
        say(f"  gate {gate['name']}: {gate['outcome']}: {gate['reason']}")
    outcomes = {g["name"]: g["outcome"] for g in detail["gates"]}
    check(outcomes["no worse than production"] == "no_incumbent", "the comparison passes as 'no incumbent'")
    refusal = server.towpath("release", "approve", waiting["id"], "--reason", "mine", user="ds-1", fails=3)
    check("author" in refusal, "the author may not approve: " + first_line(refusal))
    approve(waiting["id"])
    reaches("production", 1, "live")
    say(f"v1 is live in production, at {address('production')}")


def next_week():
    chapter("2. A new week of images")
    shutil.copy(REPOSITORY / "incoming/week-09.csv", REPOSITORY / "data/images/")
    say(first_line(server.towpath("add", "data/images", cwd=REPOSITORY, user="ds-1")))
    number = push("Add week 9")
    found = finished(number)
    check(found["status"] == "succeeded", f"run {number} succeeded and made {version_of(found)}")
    check(statuses(found)["evaluation"] == "reused", "the stage whose inputs did not change was reused")
    waiting = reaches("production", 2, "awaiting_approval")
    gate = next(g for g in server.get(f"/releases/{waiting['id']}")["gates"] if g["kind"] == "require")
    check(gate["outcome"] == "passed", f"against production on the same evaluation set: {gate['reason']}")
    traffic = Traffic(rate=60)
    try:
        approve(waiting["id"])
        follow_rollout(waiting["id"], "live")
    finally:
        report = traffic.stop()
    check(report["failed"] == 0, f"v2 is live; {report['requests']} requests during the canary, none failed")


def faulty_scanner():
    chapter("3. A week from a faulty scanner")
    shutil.copy(REPOSITORY / "incoming/week-10-faulty.csv", REPOSITORY / "data/images/week-10.csv")
    server.towpath("add", "data/images", cwd=REPOSITORY, user="ds-1")
    number = push("Add week 10")
    found = finished(number)
    check(found["status"] == "failed", f"run {number} was stopped: {found['error']}")
    verdict = next(c for c in found["checks"] if not c["passed"])
    for failure in verdict["failures"][:3]:
        say(f"  {failure['message']}")
    check(statuses(found).get("train") != "succeeded", "nothing was trained")
    git("revert", "--no-edit", "HEAD")
    server.towpath("checkout", cwd=REPOSITORY, user="ds-1")
    number = push_head()
    found = finished(number)
    check(set(statuses(found).values()) == {"reused"}, "after the revert everything is reused")
    check(found["model_version"]["version"] == 2, "the same model as v2: no new version")


def transposed():
    chapter("4. A change that every offline gate likes")
    source = REPOSITORY / "images.py"
    text = source.read_text().replace(
        "    return pixels\n", "    return pixels.reshape(-1, 8, 8).transpose(0, 2, 1).reshape(-1, 64)\n"
    )
    source.write_text(text)
    number = push("Read images column by column")
    found = finished(number)
    check(found["status"] == "succeeded", f"run {number} succeeded and made {version_of(found)}")
    waiting = reaches("production", 3, "awaiting_approval")
    gates = server.get(f"/releases/{waiting['id']}")["gates"]
    check(all(g["outcome"] == "passed" for g in gates), "every gate is green: " + next(g["reason"] for g in gates if g["kind"] == "require"))
    traffic = Traffic(rate=60)
    try:
        approve(waiting["id"])
        follow_rollout(waiting["id"], "rolled_back")
        state = server.get("/deployments/digits/production")
        check(state["live"]["version"] == 2, "rolled back: production answers with v2")
        before = requests_of(state)
        wait("v2 answers on", lambda: requests_of(server.get("/deployments/digits/production")) > before, 20)
    finally:
        report = traffic.stop()
    check(report["failed"] == 0, f"{report['requests']} requests meanwhile, none failed")
    refusal = server.towpath("release", "promote", "digits", "--version", "3", "--to", "production", user="ds-1", fails=5)
    check("rolled back" in refusal, "v3 is not released again: " + first_line(refusal))


def requests_of(deployment):
    return sum(r["requests"] for r in deployment["revisions"])


def back_to_the_origins():
    chapter("5. From a prediction to its origins, and again from them")
    image = (REPOSITORY / "incoming/live.csv").read_text().splitlines()[1]
    (HOME / "one.csv").write_text((REPOSITORY / "incoming/live.csv").read_text().splitlines()[0] + "\n" + image + "\n")
    answer = json.loads(server.towpath(
        "predict", "digits", "--environment", "production", "--input", HOME / "one.csv", "--label-column", "digit", "--json",
        user="ds-1",
    ))
    prediction = answer["predictions"][0]["id"]
    trace = wait("the prediction is in the log", lambda: traced(prediction), 20)
    print(trace.rstrip(), flush=True)
    for word in ("model digits v2", "week-09.csv", "reviewer-1", "ml-lead-1"):
        check(word in trace, f"the trace names {word}")
    check("intact" in server.towpath("audit", "verify", user="ds-1"), "the ledger verifies")
    verdict = server.towpath("reproduce", "digits@production", user="ds-1", cwd=HOME)
    last = verdict.rstrip().splitlines()[-1]
    check("identical" in last or "within tolerance" in last, f"reproduced: {last}")


def traced(prediction):
    try:
        return server.towpath("trace", prediction, user="ds-1")
    except Failed:
        return None


def version_of(found):
    version = found["model_version"]
    return f"{version['model']} v{version['version']}" if version else "no version"


def first_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[0].removeprefix("error: ") if lines else ""


def set_up():
    chapter("0. Set-up")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    run(server.binary, "new", "digits", cwd=HOME)
    say("towpath new digits: a repository with its data, and its Python environment")
    server.start()
    say(f"the server runs at {server.url}")
    for name, role in (("ds-1", "write"), ("reviewer-1", "risk"), ("ml-lead-1", "ml-leads")):
        server.towpath("user", "add", name, "--email", f"{name}@example.org", "--data-dir", server.data)
        made = server.towpath("token", "create", "--user", name, "--role", role, "--data-dir", server.data, "--json")
        server.tokens[name] = json.loads(made)["secret"]
    say("users ds-1 (author), reviewer-1 (risk), ml-lead-1 (ml-leads)")
    for key, value in (("user.name", "ds-1"), ("user.email", "ds-1@example.org")):
        git("config", key, value)
    git("remote", "set-url", "origin", f"http://ds-1:{server.tokens['ds-1']}@127.0.0.1:{server.port}/git/digits.git")
    server.towpath("remote", "add", "--default", "--force", "towpath", f"{server.url}/dvc/digits", cwd=REPOSITORY)
    file = REPOSITORY / "towpath.yaml"
    asks = "    approvals: {count: 2, from: [risk, ml-leads]}\n    rollout:\n      strategy: canary\n"
    file.write_text(file.read_text().replace("    rollout:\n      strategy: canary\n", asks))
    git("commit", "--quiet", "--all", "-m", "Two approvals for production")
    say("production now asks for two approvals")


def page_test():
    chapter("6. The page, in a browser")
    env = dict(os.environ, TOWPATH_URL=server.url, TOWPATH_TOKEN=server.tokens["reviewer-1"], TOWPATH_SHOTS=str(HOME / "shots"))
    run("npm", "run", "--silent", "e2e:real", cwd=ROOT / "web", env=env)
    say(f"the page shows all of this; pictures in {HOME / 'shots'}", "✓")


parser = argparse.ArgumentParser()
parser.add_argument("--towpath", required=True, type=Path)
parser.add_argument("--exit", action="store_true", help="stop the server at the end")
parser.add_argument("--page-test", action="store_true", help="look at the page with a headless browser")
parser.add_argument("--port", type=int, help="default: 4400, with --exit a free one")
options = parser.parse_args()
if options.port is None:
    options.port = free_port() if options.exit else 4400

ENVIRONMENT = dict(
    os.environ, XDG_CACHE_HOME=str(ROOT / ".cache"), PYTHONDONTWRITEBYTECODE="1", GIT_CONFIG_NOSYSTEM="1",
    GIT_TERMINAL_PROMPT="0", TOWPATH_SERVER=f"http://127.0.0.1:{options.port}",
    PATH=f"{options.towpath.resolve().parent}:{os.environ['PATH']}",
)
ENVIRONMENT.pop("TOWPATH_TOKEN", None)
REPOSITORY = HOME / "digits"
server = Server(options.towpath.resolve(), options.port)
pushed = []

ended = 0
try:
    set_up()
    STARTED = time.monotonic()
    for part in (first_weeks, next_week, faulty_scanner, transposed, back_to_the_origins):
        part()
    say(f"all of it took {time.monotonic() - STARTED:.0f} s after set-up")
    if options.page_test:
        page_test()
except (Failed, subprocess.TimeoutExpired) as error:
    print(f"\ndemo failed: {error}\nlogs: {HOME}/server.log", file=sys.stderr)
    ended = 1
except KeyboardInterrupt:
    ended = 130
finally:
    if options.exit or ended:
        server.stop()

if ended == 0 and not options.exit:
    print(f"\nThe server runs on at {server.url}; sign in with the token of reviewer-1:")
    print(f"    {server.tokens['reviewer-1']}\nStop it with: kill {server.process.pid}")
sys.exit(ended)
