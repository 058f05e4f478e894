"""The pipelines of the tests, compiled by the real SDK: python pipelines.py FOLDER."""

import sys
from functools import partial
from typing import List, NamedTuple, Optional

from kfp import compiler, dsl
from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

PYTHON = f"python:{sys.version_info.major}.{sys.version_info.minor}"
component = partial(dsl.component, base_image=PYTHON)


@component
def make(rows: int, data: Output[Dataset]) -> int:
    with open(data.path, "w") as file:
        file.write("\n".join(str(n) for n in range(rows)))
    data.metadata["rows"] = rows
    return rows * 2


@component
def train(data: Input[Dataset], rate: float, model: Output[Model], metrics: Output[Metrics]) -> float:
    with open(data.path) as file:
        rows = len(file.read().split())
    with open(model.path, "w") as file:
        file.write(f"model of {rows} rows at {rate}")
    metrics.log_metric("accuracy", 0.5 + rate)
    metrics.log_metric("rows", rows)
    return 0.5 + rate


@component
def say(text: str) -> str:
    print(text)
    return text.upper()


@component
def curve(metrics: Output[ClassificationMetrics]):
    metrics.log_confusion_matrix(["cat", "dog"], [[3, 1], [0, 4]])


@dsl.container_component
def shell(text: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image=f"{PYTHON}-slim", command=["sh", "-c", 'printf "%s" "$0" > "$1"'], args=[text, out])


@dsl.pipeline(name="three-steps", description="Three steps, a condition, a loop and a container.")
def three_steps(rows: int = 100, rate: float = 0.25, greeting: str = "hello"):
    made = make(rows=rows)
    trained = train(data=made.outputs["data"], rate=rate)
    trained.set_caching_options(False)
    with dsl.If(trained.outputs["Output"] > 0.7):
        say(text="accurate")
    with dsl.ParallelFor([1, 2, 3], parallelism=2) as n:
        say(text=f"{greeting} {n}")
    shell(text=greeting)
    curve()


@component
def numbers(count: int) -> List[int]:
    return list(range(1, count + 1))


@component
def square(n: int, out: Output[Artifact]) -> int:
    with open(out.path, "w") as file:
        file.write(str(n * n))
    return n * n


@component
def total(squares: List[int], files: Input[List[Artifact]]) -> NamedTuple("Totals", [("sum", int), ("files", int)]):
    from typing import NamedTuple

    read = sum(int(open(file.path).read()) for file in files)
    return NamedTuple("Totals", [("sum", int), ("files", int)])(sum(squares), read)


@component
def choose(which: str) -> str:
    return which


@component
def report(status: dsl.PipelineTaskFinalStatus, note: str):
    print(f"the pipeline ended: {status.state} {note} [{status.error_message}]")


@component
def fail_if(fail: bool) -> str:
    if fail:
        raise SystemExit("asked to fail")
    return "fine"


@component
def read(data: Input[Dataset]) -> str:
    with open(data.path) as file:
        return file.read().strip()


@component
def show(text: str):
    print("shown:", text)


@dsl.pipeline
def squares(count: int) -> NamedTuple("Sums", [("total", int), ("files", int)]):
    listed = numbers(count=count)
    with dsl.ParallelFor(listed.output) as n:
        squared = square(n=n)
    summed = total(squares=dsl.Collected(squared.outputs["Output"]), files=dsl.Collected(squared.outputs["out"]))
    sums = NamedTuple("Sums", [("total", int), ("files", int)])
    return sums(summed.outputs["sum"], summed.outputs["files"])


@dsl.pipeline(name="whole-language")
def whole_language(count: int = 3, which: str = "b", fail: bool = False, uri: str = "/tmp/none"):
    ending = report(note="after all")
    with dsl.ExitHandler(ending):
        sums = squares(count=count)
        chosen = choose(which=which)
        with dsl.If(chosen.output == "a"):
            first = say(text="first").output
        with dsl.Elif(chosen.output == "b"):
            second = say(text=f"second {sums.outputs['total']}").output
        with dsl.Else():
            third = say(text="third").output
        show(text=dsl.OneOf(first, second, third))
        imported = dsl.importer(artifact_uri=uri, artifact_class=Dataset, metadata={"from": "elsewhere"})
        read(data=imported.output)
        fail_if(fail=fail)


@component
def flaky(counter: str) -> int:
    import os

    tries = int(open(counter).read()) if os.path.exists(counter) else 0
    with open(counter, "w") as file:
        file.write(str(tries + 1))
    if tries < 2:
        raise SystemExit("not yet")
    return tries


@component
def cleanup(message: str = "nothing came"):
    print("cleanup:", message)


@component(packages_to_install=["six==1.17.0"])
def packaged() -> str:
    import six

    return six.__version__


@dsl.pipeline(name="stubborn")
def stubborn(counter: str, fail: bool = False):
    flaky(counter=counter).set_retry(3, backoff_duration="0s").set_caching_options(False)
    packaged()
    failing = fail_if(fail=fail)
    cleanup(message=failing.output).ignore_upstream_failure()
    show(text=failing.output)


@component
def wait(n: int, folder: str) -> int:
    """Says that it runs, and goes on once there is a file for it or for all."""
    import os
    import time

    with open(f"{folder}/began", "a") as file:
        file.write(f"{n}\n")
    while not any(os.path.exists(f"{folder}/{go}") for go in (str(n), "all")):
        time.sleep(0.02)
    return n * n


@component
def add(numbers: List[int]) -> int:
    return sum(numbers)


@dsl.pipeline(name="waiting")
def waiting(folder: str):
    with dsl.ParallelFor([0, 1, 2, 3, 4, 5], parallelism=2) as n:
        waited = wait(n=n, folder=folder).set_caching_options(False)
    add(numbers=dsl.Collected(waited.output))


@component
def size(file: Input[Artifact]) -> int:
    with open(file.path) as opened:
        return int(opened.read())


@dsl.pipeline
def sizes(files: Input[List[Artifact]]) -> int:
    with dsl.ParallelFor(items=files) as file:
        sized = size(file=file)
    return add(numbers=dsl.Collected(sized.output)).output


@dsl.container_component
def greet(first: str, out: dsl.OutputPath(str), last: Optional[str] = None):
    words = [dsl.ConcatPlaceholder(["--first=", first]), dsl.IfPresentPlaceholder("last", ["--last", last], ["--nobody"])]
    script = 'out=$0; printf "%s" "$*" > "$out"'
    return dsl.ContainerSpec(image=f"{PYTHON}-slim", command=["sh", "-c", script, out], args=words)


@dsl.pipeline(name="rare-parts", description="A loop over artifacts, and words that are there for some inputs only.")
def rare_parts(count: int = 3):
    listed = numbers(count=count)
    with dsl.ParallelFor(listed.output) as n:
        squared = square(n=n)
    sizes(files=dsl.Collected(squared.outputs["out"]))
    greet(first="a")
    greet(first="b", last="c")


if __name__ == "__main__":
    for pipeline in (three_steps, whole_language, stubborn, waiting, rare_parts):
        compiler.Compiler().compile(pipeline, f"{sys.argv[1]}/{pipeline.name}.yaml")
