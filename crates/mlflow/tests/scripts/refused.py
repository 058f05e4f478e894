"""`with refused("words") as error:` passes if the body raises an MlflowException with these words."""
import contextlib
import types

from mlflow.exceptions import MlflowException


@contextlib.contextmanager
def refused(words=""):
    error = types.SimpleNamespace(error_code=None)
    try:
        yield error
    except MlflowException as raised:
        error.error_code = raised.error_code
        assert words in str(raised), f"{words!r} is not in {raised}"
    else:
        raise AssertionError(f"nothing was refused; expected {words!r}")
