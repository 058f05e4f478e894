"""From a `git push` to the first stage's process, the Python environment being cached.

Each push changes a file that the first of two stages reads. Two clocks: the server's, from the run
being started to the process being spawned; and that of somebody who types `git push`, up to the
first instruction of the stage.
"""

import time

from report import Figure, median, spread

PUSHES = 15

FILES = {
    "towpath.yaml": "python: requirements.txt\non:\n  push:\n    branches: [main]\n",
    "requirements.txt": "pyyaml\n",
    "input.txt": "0\n",
    "dvc.yaml": """\
stages:
  first:
    cmd: date +%s.%N && cp input.txt first.txt
    deps: [input.txt]
    outs: [first.txt]
  second:
    cmd: python -c "import shutil, yaml; shutil.copy('first.txt', 'second.txt')"
    deps: [first.txt]
    outs: [second.txt]
""",
}


def measure(subject):
    folder = subject.repository("trigger", FILES)
    processes, instructions = [], []
    with subject.server() as server:
        server.push(folder, "trigger")
        for push in range(1, PUSHES + 1):
            (folder / "input.txt").write_text(f"{push}\n")
            subject.commit(folder, f"Change {push}")
            typed = time.time()
            found = server.push(folder, "trigger")
            processes.append(found["first_process_ms"])
            printed = server.printed("trigger", found["number"], "first")
            instructions.append(1000 * (float(printed) - typed))
    return [
        Figure("run started to first stage process spawned", "ms", median(processes), spread(processes, "ms"), target=50),
        Figure("`git push` typed to first instruction of the stage", "ms", median(instructions), spread(instructions, "ms")),
    ]
