"""Loads one model and answers requests in processes that are forked from it.

    python worker.py SETTINGS

Commands come on standard input and are answered on standard output, a line of JSON each:
{"fork": true} -> {"forked": pid}, {"end": pid} -> {"ended": status}. A forked process talks on a Unix socket, in
frames of a little-endian u32 length and so many bytes. A tensor is a byte for its type, a byte for the number of
dimensions, these as u64, and the elements in row-major order; text as u32 length and UTF-8 each.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import warnings

import numpy as np

TYPES = [np.dtype("<f4"), np.dtype("<f8"), np.dtype("<i8"), np.dtype("bool")]
TEXT = len(TYPES)
PR_SET_PDEATHSIG = 1


def load_sklearn(settings):
    """Without mlflow, which takes seconds to import."""
    path = os.path.join(settings["model"], settings["data"])
    if settings["serialization"] == "skops":
        import skops.io

        model = skops.io.load(path, trusted=settings["trusted"] or None)
    else:
        import pickle

        if settings["serialization"] == "cloudpickle":
            import cloudpickle  # noqa: F401 what is pickled names its functions
        with open(path, "rb") as file:
            model = pickle.load(file)
    width = getattr(model, "n_features_in_", None)
    return getattr(model, settings["predict"]), width


def load(settings):
    warnings.filterwarnings("ignore")
    if settings["loader"] == "mlflow.sklearn":
        return load_sklearn(settings)
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(settings["model"]).predict, None


class Inputs:
    """Makes of tensors what the model takes: a frame, an array, or an array for each name."""

    def __init__(self, settings):
        self.form = settings["form"]
        self.names = [each["name"] for each in settings["inputs"]]
        self.kinds = [each["kind"] for each in settings["inputs"]]
        self.columns = None
        if self.form == "frame":
            import pandas

            self.pandas = pandas
            self.columns = pandas.Index(self.names)
            self.uniform = len(set(self.kinds)) == 1 and self.kinds[0] in ("float32", "float64", "int32", "int64")

    def cast(self, array, kind):
        if kind == "datetime":
            return self.pandas.to_datetime(array.ravel())
        return array if kind == "object" or array.dtype == kind else array.astype(kind)

    def make(self, arrays):
        arrays = [self.cast(array, kind) for array, kind in zip(arrays, self.kinds)]
        if self.form == "array":
            return arrays[0]
        if self.form == "arrays":
            return dict(zip(self.names, arrays))
        if self.uniform:
            matrix = arrays[0].reshape(-1, 1) if len(arrays) == 1 else np.column_stack(arrays)
            return self.pandas.DataFrame(matrix, columns=self.columns)
        return self.pandas.DataFrame({name: a if a.ndim == 1 else a.ravel() for name, a in zip(self.names, arrays)})


def read_tensors(body):
    view, at, arrays = memoryview(body), 1, []
    for _ in range(body[0]):
        kind, rank = body[at], body[at + 1]
        shape = struct.unpack_from(f"<{rank}Q", body, at + 2)
        at += 2 + 8 * rank
        count = 1
        for length in shape:
            count *= length
        if kind == TEXT:
            items = np.empty(count, dtype=object)
            for index in range(count):
                (length,) = struct.unpack_from("<I", body, at)
                items[index] = str(view[at + 4 : at + 4 + length], "utf-8")
                at += 4 + length
            arrays.append(items.reshape(shape))
        else:
            dtype = TYPES[kind]
            # A copy, so that a model may change what it gets.
            arrays.append(np.frombuffer(body, dtype, count, at).reshape(shape).copy())
            at += count * dtype.itemsize
    return arrays


def named(result, names):
    """The arrays of an answer, by name."""
    if isinstance(result, dict):
        return [(str(name), np.asarray(value)) for name, value in result.items()]
    if hasattr(result, "columns"):
        return [(str(name), result[name].to_numpy()) for name in result.columns]
    array = result.to_numpy() if hasattr(result, "to_numpy") else np.asarray(result)
    return [(names[0] if len(names) == 1 else "predictions", array)]


def write_tensors(outputs):
    parts = [b"\0", struct.pack("<B", len(outputs))]
    for name, array in outputs:
        name = name.encode()
        parts.append(struct.pack("<H", len(name)) + name)
        kind = array.dtype.kind
        if kind == "f":
            code = 0 if array.dtype.itemsize <= 4 else 1
        elif kind in "iu":
            code = 2
        elif kind == "b":
            code = 3
        else:
            code = TEXT
        parts.append(struct.pack(f"<BB{array.ndim}Q", code, array.ndim, *array.shape))
        if code == TEXT:
            for item in array.ravel().tolist():
                text = item if isinstance(item, bytes) else ("" if item is None else str(item)).encode()
                parts.append(struct.pack("<I", len(text)) + text)
        else:
            parts.append(np.ascontiguousarray(array, dtype=TYPES[code]).tobytes())
    return b"".join(parts)


def described(error):
    text = f"{type(error).__name__}: {error}"
    return text if len(text) < 2000 else text[:2000] + "..."


def answer(body, predict, inputs, names):
    try:
        return write_tensors(named(predict(inputs.make(read_tensors(body))), names))
    except Exception as error:
        return b"\1" + described(error).encode("utf-8", "replace")


def serve(connection, predict, inputs, names):
    stream = connection.makefile("rb", 1 << 16)
    while len(head := stream.read(4)) == 4:
        body = stream.read(struct.unpack("<I", head)[0])
        result = answer(body, predict, inputs, names)
        connection.sendall(struct.pack("<I", len(result)) + result)


def become_worker(connection, parent, settings, predict, inputs):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # It ends with the process that it was forked from, also in the middle of a request.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    if settings["memory"]:
        # What it has now and so much more: a request that takes without end gets a MemoryError.
        with open("/proc/self/status") as status:
            used = next((int(line.split()[1]) for line in status if line.startswith("VmData:")), 0) * 1024
        limit = used + settings["memory"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    serve(connection, predict, inputs, settings["outputs"])


def main():
    settings = json.loads(sys.argv[1])
    commands = os.fdopen(os.dup(0), "r")
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # What a model prints is no reply.
    os.dup2(2, 1)

    def reply(**what):
        print(json.dumps(what), file=replies, flush=True)

    try:
        predict, width = load(settings)
        inputs = Inputs(settings)
    except BaseException as error:
        reply(failed=described(error))
        return 1
    reply(ready=True, width=width, python=sys.version.split()[0])
    gc.collect()
    # What is loaded stays shared between the processes.
    gc.freeze()
    parent = os.getpid()
    for line in commands:
        command = json.loads(line)
        if "fork" in command:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(settings["socket"])
            pid = os.fork()
            if pid == 0:
                try:
                    commands.close()
                    become_worker(connection, parent, settings, predict, inputs)
                finally:
                    os._exit(0)
            connection.close()
            reply(forked=pid)
        else:
            try:
                os.kill(command["end"], signal.SIGKILL)
                _, status = os.waitpid(command["end"], 0)
                reply(ended=os.waitstatus_to_exitcode(status))
            except (ProcessLookupError, ChildProcessError):
                reply(ended=None)


if __name__ == "__main__":
    sys.exit(main())
