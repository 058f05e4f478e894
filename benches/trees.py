"""Trees of files, and repositories that hold one."""

import random
import shutil

from processes import peak_memory_of, timed

PER_FOLDER = 1000


def write_tree(folder, files, smallest, largest):
    """`files` files that all differ, of sizes that are spread evenly, in folders of 1,000."""
    rng = random.Random(1)
    noise = rng.randbytes(1 << 20)
    for i in range(files):
        below = folder / f"{i // PER_FOLDER:04}"
        if i % PER_FOLDER == 0:
            below.mkdir(parents=True)
        size = rng.randint(smallest, largest)
        start = rng.randrange(len(noise) - size)
        content = i.to_bytes(8) + noise[start + 8:start + size]
        (below / f"{i:07}.bin").write_bytes(content)


def write_file(path, size):
    rng = random.Random(1)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(rng.randbytes(1 << 20))


class Tool:
    """A program and a repository of its own, whose data is one path, `data`."""

    def __init__(self, subject, name, program):
        self.subject, self.name, self.program = subject, name, program
        self.folder = subject.repository(name, {"README": "data\n"})
        self.data = self.folder / "data"
        self.environment = dict(subject.environment, DVC_SITE_CACHE_DIR=str(subject.dir / f"{name}-site"))

    def hold(self, tree):
        """Its data is a copy of this tree."""
        shutil.copytree(tree, self.data)

    def seconds(self, *args):
        return timed(self.program, *args, cwd=self.folder, env=self.environment)

    def peak(self, *args):
        """The most memory it had while it ran, in bytes."""
        return peak_memory_of(self.program, *args, cwd=self.folder, env=self.environment)

    def set(self, *args):
        self.subject.run(self.program, *args, cwd=self.folder)

    def forget(self):
        """As if the data had never been added."""
        self.empty_cache()
        (self.folder / "data.dvc").unlink(missing_ok=True)

    def empty_cache(self):
        """And what the program remembers of the data."""
        for path in [self.folder / ".dvc/cache", self.folder / ".dvc/tmp", self.subject.dir / f"{self.name}-site"]:
            shutil.rmtree(path, ignore_errors=True)

    def lose(self):
        """The data in the workspace."""
        if self.data.is_dir():
            shutil.rmtree(self.data)
        else:
            self.data.unlink()

    def remove(self):
        shutil.rmtree(self.folder)
