"""What versioning data costs: the same trees added, looked at, checked out, pushed and pulled by Towpath and DVC.

Beside each figure stands what the machine can do at best with the same files, measured in turns with
it (`crates/data/examples/floors.rs`): copy, hash or walk them on all cores, hash one on one core. The
caches of the operating system are warm for all of them. A target is the smaller of the machine's best
and of DVC's time, each with its factor. DVC runs once, Towpath several times.

`TOWPATH_BENCH_FILES` and `TOWPATH_BENCH_GIB` make the work smaller, `TOWPATH_BENCH_DVC=0` leaves DVC
out, `TOWPATH_BENCH_MILLION` sets the files of the figures of memory, 0 leaves them out.
"""

import os
import shutil
import urllib.request

from processes import free_port, run, timed
from report import Figure, median, number
from subject import ROOT
from trees import Tool, write_file, write_tree

FILES = int(os.environ.get("TOWPATH_BENCH_FILES", "100000"))
OBJECTS = FILES // 10
GIB = int(os.environ.get("TOWPATH_BENCH_GIB", "4"))
WITH_DVC = os.environ.get("TOWPATH_BENCH_DVC", "1") != "0"
MILLION = int(os.environ.get("TOWPATH_BENCH_MILLION", "1000000"))
TIMES = 5

#: That moto takes.
CREDENTIALS = {"region": "us-east-1", "access_key_id": "id", "secret_access_key": "secret"}


def measure(subject):
    floors = Floors(subject)
    figures = [*small_files(subject, floors), *one_file(subject, floors), *remotes(subject, floors), *starts(subject)]
    return [*figures, *(memory(subject) if MILLION else [])]


class Floors:
    """The machine's limits."""

    def __init__(self, subject):
        run("cargo", "build", "--quiet", "--release", "-p", "towpath-data", "--example", "floors", cwd=ROOT)
        self.subject = subject
        self.program = f"{os.environ.get('CARGO_TARGET_DIR', ROOT / 'target')}/release/examples/floors"

    def seconds(self, work, *paths):
        return float(self.subject.run(self.program, work, *paths).strip())

    def copy(self, tree):
        copied = self.subject.dir / "copied"
        shutil.rmtree(copied, ignore_errors=True)
        seconds = self.seconds("copy", tree, copied)
        shutil.rmtree(copied)
        return seconds


def figure(subject, what, work, theirs, times, best=None, limit=None, repetitions=TIMES):
    """`work` and `best` take turns; `limit` and `times` are the factors to the best and to `theirs`, where there is a target."""
    pairs = [(work(), best() if best else None) for _ in range(repetitions)]
    seconds = median([ours for ours, _ in pairs])
    note, peers, targets = f"median of {len(pairs)}", {}, []
    if best:
        peers["at best on this machine"] = floor = median([floor for _, floor in pairs])
        targets += [limit * floor] if limit else []
        note += f", {number(median([ours / floor for ours, floor in pairs]))} times the best"
    if theirs is not None:
        peers[subject.version("dvc")] = theirs
        targets += [theirs / times] if times else []
    return Figure(what, "s", seconds, note, peers, target=min(targets, default=None))


def tools(subject, name):
    """Ours, and the real dvc unless that is left out."""
    ours = Tool(subject, f"{name}-ours", subject.towpath)
    return ours, Tool(subject, f"{name}-theirs", subject.peers / "dvc") if WITH_DVC else None


def small_files(subject, floors):
    tree = subject.dir / "tree"
    write_tree(tree, FILES, 1024, 10_240)
    ours, theirs = tools(subject, "files")
    for tool in filter(None, [ours, theirs]):
        tool.hold(tree)

    def once(*args, before=lambda tool: None):
        if not theirs:
            return None
        before(theirs)
        return theirs.seconds(*args)

    def add():
        ours.forget()
        return ours.seconds("add", "data")

    def checkout():
        ours.lose()
        return ours.seconds("checkout")

    def copy():
        return floors.copy(tree)

    figures = [
        figure(subject, f"add of {FILES:,} files, copied", add, once("add", "data"), 8, copy, 1.3),
        figure(
            subject, "status of them, unchanged", lambda: ours.seconds("status"), once("status"), 30,
            lambda: floors.seconds("walk", tree), 1.5,
        ),
        figure(
            subject, "checkout of them, copied", checkout, once("checkout", before=Tool.lose), 10, copy, 1.5,
        ),
    ]
    for tool in filter(None, [ours, theirs]):
        tool.set("config", "cache.type", "hardlink")
        # A file that is checked out is a link already or not, so each begins with files of its own.
        tool.lose()
        tool.hold(tree)
    hash_all = lambda: floors.seconds("hash", tree)
    theirs_linked = once("add", "data", before=Tool.forget)
    figures.append(figure(subject, "add of them, hard links", add, theirs_linked, 15, hash_all, 2))
    for tool in filter(None, [ours, theirs]):
        tool.remove()
    shutil.rmtree(tree)
    return figures


def one_file(subject, floors):
    ours, theirs = tools(subject, "file")
    write_file(ours.data, GIB << 30)

    def add():
        ours.forget()
        return ours.seconds("add", "data")

    seconds = None
    if theirs:
        ours.data.rename(theirs.data)
        seconds = theirs.seconds("add", "data")
        theirs.data.rename(ours.data)
        theirs.remove()
    best = lambda: floors.seconds("hash-one", ours.data)
    figures = [figure(subject, f"add of one file of {GIB} GiB, copied", add, seconds, None, best, 1.1, repetitions=3)]
    ours.remove()
    return figures


def remotes(subject, floors):
    tree = subject.dir / "objects"
    write_tree(tree, OBJECTS, 100_000, 100_000)
    both = tools(subject, "objects")
    ours, theirs = both
    for tool in filter(None, both):
        tool.hold(tree)
        tool.seconds("add", "data")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with subject.service(
        subject.peers / "moto_server", "-H", "127.0.0.1", "-p", port, ready=f"{url}/moto-api/data.json"
    ):
        for tool in filter(None, both):
            tool.set("remote", "add", "folder", str(subject.dir / f"{tool.name}-remote"))
            tool.set("remote", "add", "s3", f"s3://{tool.name}/data")
            for key, value in [("endpointurl", url), *CREDENTIALS.items()]:
                tool.set("remote", "modify", "s3", key, value)
        return [
            *pushed_and_pulled(subject, both, "folder", lambda tool: empty_folder(subject, tool), TIMES,
                               lambda: floors.copy(tree)),
            *pushed_and_pulled(subject, both, "s3", lambda tool: empty_bucket(url, tool), 3),
        ]


def empty_folder(subject, tool):
    shutil.rmtree(subject.dir / f"{tool.name}-remote", ignore_errors=True)


def empty_bucket(url, tool):
    """moto forgets all buckets, and makes this one."""
    for method, path in [("POST", "/moto-api/reset"), ("PUT", f"/{tool.name}")]:
        request = urllib.request.Request(url + path, method=method, headers={"Content-Length": "0"})
        urllib.request.urlopen(request, timeout=60).close()


def pushed_and_pulled(subject, both, remote, empty, repetitions, best=None):
    ours, theirs = both
    where = {"folder": "a folder", "s3": "S3 (moto)"}[remote]

    def push(tool):
        empty(tool)
        return tool.seconds("push", "-r", remote)

    def fetch(tool):
        shutil.rmtree(tool.folder / ".dvc/cache")
        return tool.seconds("fetch", "-r", remote)

    return [
        figure(
            subject, f"{verb} of {OBJECTS:,} x 100 KB {way} {where}", lambda: work(ours),
            work(theirs) if theirs else None, 5, best, None, repetitions,
        )
        for verb, way, work in [("push", "to", push), ("fetch", "from", fetch)]
    ]


def starts(subject):
    empty = subject.repository("empty", {"README": "nothing\n"})
    dvc = subject.peers / "dvc"

    def started(program, *args):
        return timed(program, *args, cwd=empty, env=subject.environment)

    figures = []
    for what, arg in [("start: --version", "--version"), ("start: status of an empty repository", "status")]:
        values = [started(subject.towpath, arg) for _ in range(8 * TIMES)]
        peers = {subject.version("dvc"): started(dvc, arg)} if WITH_DVC else {}
        figures.append(Figure(what, "s", median(values), f"median of {len(values)}", peers, target=0.010))
    return figures


def memory(subject):
    """Hard links, so that a million files are a million inodes."""
    ours = Tool(subject, "million", subject.towpath)
    ours.set("config", "cache.type", "hardlink")
    write_tree(ours.data, MILLION, 16, 64)
    figures = []
    for what, args, before in [
        ("memory of add", ["add", "data"], lambda: None),
        ("memory of status", ["status"], lambda: None),
        ("memory of checkout", ["checkout"], ours.lose),
    ]:
        before()
        mib = ours.peak(*args) / 2**20
        figures.append(Figure(f"{what}, {MILLION:,} files", "MiB", mib, target=200 / 1.048576))
    ours.remove()
    return figures
