"""Writes docs/faults.md from verdicts of the matrix, or docs/faults_compared.md with other libraries too.

``python -m tests.faults.table VERDICTS [VERDICTS_OF_OTHERS]``
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opendalfs.testing import FAULTS, KINDS

from .cells import ALL, CELLS, ENDPOINT, OPERATIONS, SCHEDULES, Cell
from .judge import ERROR, RIGHT, WRONG
from .operation import OPTIONS
from .peers import PEERS

__all__ = ["PAGE", "compare", "describe", "render", "table_of"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
COMPARED_PAGE = PAGE.with_name("faults_compared.md")

LIMIT = "[limit](upstream.md)"

COMPARED = {
    "cat_file": "cat_file, large",
    "open": "open, sequential",
    "get": "get, a file",
    "find": "find",
    "pipe, small": "pipe, small",
    "pipe, multipart": "pipe, multipart",
}
"""Operations that other libraries have too, and ours."""

THROUGH_GATEWAY = ("Polars, scan_parquet, gateway", "Polars, sink_parquet, gateway")
"""Operations that the native store of Polars has too."""

_ORDER = [*KINDS, ENDPOINT]

INTRODUCTION = """\
# What happens under faults

`make faults` runs {operations} operations against a real S3 server behind `opendalfs.testing.FaultProxy`,
which injects {faults} faults into requests of each kind: once, twice, always, or from the second request on.
This page is generated from the verdicts of a run of {cells} cells. Fields are empty where a fault does not
apply or was not run.

| verdict | cells | meaning |
|---|---|---|
| right | {right} | the result and the objects are those of a run without the fault |
| error | {error} | a clear OSError in time; each object has its old content or its new one |
| [limit](upstream.md) | {limit} | wrong, as the `opendal` wheel hides the fault; a test expects it |
| wrong | {wrong} | everything else: wrong or short data, a lost object, a hang, a storm of requests |

Two words, such as *right, error*, are for a fault that ends (once, twice) and for one that stays. After each
cell the same operation must succeed on the same filesystem without the fault. If the server itself says that
an object is missing (`status-404`, `list-empty`, `deleted`), a result that agrees with it is right.

All cells ran with {options}.
An operation has at most 10 % more than its timeouts, and a constant for loaded machines. It may send each
request {attempts} times (`status-307`: with 10 redirects each).
"""

COMPARISON = f"""\
# Other libraries under the same faults

`make faults-compared` runs the cells of [faults.md](faults.md) for {"; ".join(COMPARED)}
with s3fs and obstore, and for a scan and a sink of Polars with its native store. All have the same numbers
of retries and the same timeouts, as far as they have them. An exception of any class counts as an error, and
a run may take 8 times as long as one of opendalfs before it counts as late. What [upstream.md](upstream.md)
explains counts as wrong here, as do wrong or short data, no result in time, and too many requests. Cells are
left out where a library makes no request that could have the fault, such as those of a multipart upload.

"""


def describe(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """Return the words for the verdicts of one operation, fault and kind of requests."""
    ends: set[str] = set()
    stays: set[str] = set()
    for verdict in verdicts:
        outcome = LIMIT if verdict["upstream"] else verdict["outcome"]
        (stays if SCHEDULES[verdict["schedule"]].times is None else ends).add(outcome)
    words = [_worst(found) for found in (ends, stays) if found]
    return ", ".join(dict.fromkeys(words))


def _worst(outcomes: set[str]) -> str:
    return next((word for word in ("wrong", LIMIT, ERROR) if word in outcomes), RIGHT)


def table_of(kind: str, cells: Iterable[Cell] = CELLS) -> tuple[list[str], list[str]]:
    """Return the operations (columns) and the faults (rows) of the table of a kind of requests."""
    found = [cell for cell in cells if cell.kind == kind]
    operations = [name for name in OPERATIONS if any(cell.operation == name for cell in found)]
    faults = [name for name in FAULTS if any(cell.fault == name for cell in found)]
    return operations, faults


def render(verdicts: list[dict[str, Any]]) -> str:
    """Return the page for the verdicts of all cells of opendalfs."""
    ours = [verdict for verdict in verdicts if verdict["operation"] in OPERATIONS]
    return "\n".join([_introduction(ours), *_tables(ours)])


def compare(verdicts: list[dict[str, Any]]) -> str:
    """Return the page of other libraries: counts for the operations that they and opendalfs have."""
    return COMPARISON + "\n".join(_comparison([verdict for verdict in verdicts if verdict["injected"]]))


def _comparison(verdicts: list[dict[str, Any]]) -> Iterator[str]:
    names = {"opendalfs": set(COMPARED.values()), "Polars, gateway": set(THROUGH_GATEWAY)}
    names |= {library: {o.name for o in found} for library, found in PEERS.items()}
    yield "| library | cells | right | error | wrong | longest |"
    yield "|---|---|---|---|---|---|"
    for library, operations in names.items():
        kinds = {kind for name in operations for kind in ALL[name].requests}
        found = [v for v in verdicts if v["operation"] in operations and v["kind"] in {*kinds, ENDPOINT}]
        counts = Counter(verdict["outcome"] for verdict in found)
        longest = max((verdict["seconds"] for verdict in found), default=0)
        numbers = " | ".join(str(counts[outcome]) for outcome in (RIGHT, ERROR, WRONG))
        yield f"| {library} | {len(found)} | {numbers} | {longest:.0f} s |"
    yield ""
    wrong = Counter(
        (verdict["operation"], verdict["kind"], verdict["fault"])
        for verdict in verdicts
        if verdict["operation"] not in OPERATIONS and verdict["outcome"] == WRONG
    )
    yield "| wrong in other libraries | request | fault | cells |"
    yield "|---|---|---|---|"
    for (operation, kind, fault), count in sorted(wrong.items()):
        yield f"| {operation} | `{kind}` | `{fault}` | {count} |"
    yield ""


def _introduction(verdicts: list[dict[str, Any]]) -> str:
    counts = Counter("limit" if verdict["upstream"] else verdict["outcome"] for verdict in verdicts)
    options = ", ".join(f"`{name}={value}`" for name, value in OPTIONS.items() if "chunk" not in name)
    return INTRODUCTION.format(
        operations=len({verdict["operation"] for verdict in verdicts}),
        faults=len({verdict["fault"] for verdict in verdicts}),
        cells=f"{len(verdicts):,}",
        options=options,
        attempts=int(OPTIONS["retries"]) + 1,
        **{name: f"{counts[name]:,}" for name in (RIGHT, ERROR, "limit", "wrong")},
    )


def _tables(verdicts: list[dict[str, Any]]) -> Iterator[str]:
    found: defaultdict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for verdict in verdicts:
        found[verdict["kind"], verdict["fault"], verdict["operation"]].append(verdict)
    for kind in _ORDER:
        operations, faults = table_of(kind)
        if not operations:
            continue
        yield f"## {_title(kind)}\n"
        yield "| fault | " + " | ".join(operations) + " |"
        yield "|---" * (len(operations) + 1) + "|"
        for fault in faults:
            words = [describe(found[kind, fault, operation]) for operation in operations]
            yield f"| `{fault}` | " + " | ".join(words) + " |"
        yield ""
    yield "## Faults\n"
    yield "| fault | what the proxy does |"
    yield "|---|---|"
    for name in dict.fromkeys(cell.fault for cell in CELLS):
        yield f"| `{name}` | {FAULTS[name].description} |"
    yield ""


def _title(kind: str) -> str:
    return "The endpoint" if kind == ENDPOINT else f"`{kind}`: {KINDS[kind]}"


def _read(path: Path) -> list[dict[str, Any]]:
    verdicts = [json.loads(line) for line in path.read_text().splitlines()]
    return [verdict for verdict in verdicts if verdict["operation"] in ALL]


def _main(paths: list[str]) -> None:
    # A cell may have been run again.
    found = {
        Cell(*(verdict[name] for name in vars(CELLS[0]))): verdict
        for path in paths
        for verdict in _read(Path(path))
    }
    page, text = (PAGE, render) if len(paths) == 1 else (COMPARED_PAGE, compare)
    page.write_text(text([*found.values()]))


if __name__ == "__main__":
    _main(sys.argv[1:])
