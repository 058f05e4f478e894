"""Resolves the dvc.yaml of each folder below the current one as DVC does; prints JSON."""

import json
import os
from pathlib import Path

from dvc.parsing import DataResolver
from dvc.repo import Repo
from dvc.utils.serialize import load_yaml

repo = Repo(".")


def paths(items):
    return [path for item in items for path in ([item] if isinstance(item, str) else item)]


def resolved(folder):
    try:
        stages = DataResolver(repo, os.path.abspath(folder), load_yaml(f"{folder}/dvc.yaml")).resolve()["stages"]
    except Exception as error:
        return {"error": str(error)}
    return [
        {
            "name": name,
            "cmd": stage["cmd"],
            "wdir": stage.get("wdir", "."),
            "deps": paths(stage.get("deps", [])),
            "outs": paths(stage.get("outs", [])),
            "meta": stage.get("meta"),
        }
        for name, stage in stages.items()
    ]


print(json.dumps({path.parent.name: resolved(str(path.parent)) for path in sorted(Path(".").glob("*/dvc.yaml"))}))
