"""What a measurement found, as text and as the tables of docs/benchmarks.md."""

from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


@dataclass
class Figure:
    """One row. Values share the unit; smaller is better unless `more_is_better`."""

    what: str
    unit: str
    towpath: float
    #: What else there is to know of the value: spread, number of repetitions.
    note: str = ""
    #: By name and version, the same work.
    peers: dict[str, float] = field(default_factory=dict)
    #: The upper bound the project set itself.
    target: float | None = None
    more_is_better: bool = False

    @property
    def met(self):
        return None if self.target is None else self.towpath <= self.target

    def ratio(self, peer):
        """How many times better Towpath is than the peer, below 1 worse; of two positive values."""
        if min(self.towpath, peer) <= 0:
            return "-"
        ours, theirs = (peer, self.towpath) if self.more_is_better else (self.towpath, peer)
        return f"{number(theirs / ours)}x"

    def cells(self):
        note = f" ({self.note})" if self.note else ""
        verdict = "" if self.met is None else "yes" if self.met else "**no**"
        peers = "; ".join(f"{name}: {number(value)} {self.unit}" for name, value in self.peers.items())
        ratios = "; ".join(self.ratio(value) for value in self.peers.values())
        target = "" if self.target is None else f"{number(self.target)} {self.unit}"
        return [self.what, f"{number(self.towpath)} {self.unit}{note}", target, verdict, peers, ratios]


HEADINGS = ["Figure", "Towpath", "Target: at most", "Met", "Beside it", "Towpath is better by"]


def number(value):
    """Three significant digits, never in exponents."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}".rstrip("0")


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values, unit):
    """For a note: how many, and the worst."""
    return f"median of {len(values)}, worst {number(max(values))} {unit}"


def text(figures):
    lines = []
    for figure in figures:
        what, ours, target, _, peers, ratios = figure.cells()
        lines.append(f"  {what}: {ours}")
        if target:
            lines.append(f"    target: at most {target}: {'met' if figure.met else 'MISSED'}")
        if peers:
            lines.append(f"    beside it: {peers} ({ratios})")
    return "\n".join(lines)


def table(figures):
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(figure.cells() for figure in figures)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(name, figures, conditions):
    """Replaces the table of `name` in the page; the prose around it is written by hand."""
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    page = PAGE.read_text()
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE}: the markers '{begin}' and '{end}' are missing")
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    PAGE.write_text(f"{before}{begin}\n{table(figures)}\n\n{conditions}\n{end}{after}")
