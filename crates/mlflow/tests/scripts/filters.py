"""Random filters: the client library's own parser and the server accept and refuse the same, but for OR and IN,
which the server takes wherever they make sense."""
import random

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.search_utils import SearchUtils

client = MlflowClient()
rng = random.Random(7)
FIELDS = ["metrics.a", "metric.`a/b`", 'metrics."a b"', "params.lr", "param.x", "tags.`x y`", "tag.t", "run_id", "status",
          "start_time", "created", "attributes.run_name", "`run name`", "dataset.name", "datasets.digest", "foo.a", "nothing",
          "dataset.size", "attribute.end_time"]
OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "LIKE", "ilike", "IN", "NOT IN", "IS NULL", "is not null", "=="]
VALUES = ["1", "-0.5", "1e-3", "'x'", '"y"', "'it''s'", "('a', 'b')", "('a')", "nan", "x", "''"]
JOINS = [" AND ", " and ", " OR ", " AND AND "]


def clause():
    field, operator = rng.choice(FIELDS), rng.choice(OPERATORS)
    if "null" in operator.lower():
        return f"{field} {operator}"
    return f"{field} {operator} {rng.choice(VALUES)}"


def accepted(search):
    try:
        search()
        return True
    except MlflowException:
        return False
    except Exception:
        return None  # The library itself fell over: no verdict.


def by_server(text):
    return accepted(lambda: client.search_runs(["0"], text))


def by_library(text):
    def search():
        for sed in SearchUtils.parse_search_filter(text):
            kind, key, comparator = sed["type"], sed["key"], sed["comparator"].upper()
            # The library reads a list after any operator, and its store falls over it.
            if isinstance(sed["value"], (list, tuple)) and comparator not in ("IN", "NOT IN"):
                raise MlflowException(f"{comparator} takes no list")
            # What the library checks of a comparator while it evaluates.
            SearchUtils.is_metric(kind, comparator)
            SearchUtils.is_param(kind, comparator)
            SearchUtils.is_tag(kind, comparator)
            SearchUtils.is_dataset(kind, comparator)
            SearchUtils.is_string_attribute(kind, key, comparator)
            SearchUtils.is_numeric_attribute(kind, key, comparator)
    return accepted(search)


differences, accepted_count = [], 0
for _ in range(600):
    text = clause()
    for _ in range(rng.choice([0, 0, 1])):
        text += rng.choices(JOINS, [6, 3, 1, 1])[0] + clause()
    library = by_library(text)
    accepted_count += bool(library)
    beyond = " OR " in text or " IN (" in text
    if library is not None and library != by_server(text) and (library or not beyond):
        differences.append((text, library))
assert not differences, "\n".join(f"{text}   library accepts: {verdict}" for text, verdict in differences[:40])
assert accepted_count > 40, accepted_count
