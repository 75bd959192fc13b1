"""The command `trace`: the requests of any Python program, as a table and a waterfall."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from opendalfs.tracing import Request, Trace
from opendalfs.tracing.plot import format_size, time_span

from .arguments import debug_option
from .failures import Failure
from .output import shown

__all__ = ["trace"]

_FORMATS: Final = (".svg", ".html", ".png", ".json")
_PYTHON: Final = re.compile(r"(?:python|pypy)[\d.]*(?:\.exe)?$")
_WITH_VALUE: Final = ("-W", "-X", "--check-hash-based-pycs")
"""Options of the interpreter whose value is the next argument."""


@click.command("trace", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--save", metavar="FILE", help="Also write the timeline or the records: .svg, .html, .png, .json."
)
@click.option("--rows", type=click.IntRange(0), default=40, show_default=True, help="Calls to draw at most.")
@debug_option
@click.argument(
    "command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- python SCRIPT [ARGUMENT...]"
)
def trace(command: tuple[str, ...], save: str | None, rows: int) -> int:
    """Run a Python program, and show its requests to storage on standard error.

    The exit code is that of the program. Requests of its child processes are not seen.
    """
    if save is not None and Path(save).suffix.lower() not in _FORMATS:
        raise click.UsageError(f"--save takes a name that ends in {', '.join(_FORMATS)}")
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "trace.json")
        code = _run(_traced(command, output))
        if not os.path.exists(output):
            text = "no trace: the program was killed, or ended by os._exit, or its Python has no opendalfs"
            raise Failure(f"{text} (exit code {code})", code or 1)
        found = _load(output)
    sys.stderr.write(f"{found}\n{waterfall(found.records, rows)}")
    if save is not None:
        _save(found, save)
    return code


def _traced(command: tuple[str, ...], output: str) -> list[str]:
    """Return the command that runs a program below `traced`; raise UsageError for another program."""
    python, *rest = command
    if not _PYTHON.search(os.path.basename(python)):
        raise click.UsageError(
            "trace runs Python: opendalfs trace -- python script.py, or -- python -m pytest"
        )
    options: list[str] = []
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-"):
        count = 2 if rest[0] in _WITH_VALUE else 1
        options += rest[:count]
        rest = rest[count:]
    if not rest or rest[0] == "-" or (rest[0] in ("-m", "-c") and len(rest) < 2):
        raise click.UsageError("trace needs a program: opendalfs trace -- python script.py")
    return [python, *options, str(Path(__file__).with_name("traced.py")), output, *rest]


def _run(command: list[str]) -> int:
    """Run a program; return its exit code, or 128 and the number of the signal that has ended it."""
    process = subprocess.Popen(command)
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal sends it to the program, too, which ends as it likes.
            continue
        return 128 - code if code < 0 else code


def _load(path: str) -> Trace:
    with open(path, encoding="utf-8") as file:
        saved = json.load(file)
    return Trace([Request(**record) for record in saved["records"]], saved["bytes_wanted"])


def _save(found: Trace, path: str) -> None:
    if path.lower().endswith(".json"):
        Path(path).write_text(json.dumps(found.to_dicts(), indent=2), encoding="utf-8")
    else:
        found.plot(path)


def waterfall(requests: list[Request], rows: int) -> str:
    """Return a line with a bar for each call, in the order of their starts.

    Parameters
    ----------
    requests : list of Request
        The calls.
    rows : int
        Lines at most.

    Returns
    -------
    str
        Lines, each with its end.

    Examples
    --------
    >>> calls = [Request("read", "s3", "lake", "a", 1.0, 1.5, bytes=10)]
    >>> print(waterfall(calls, 10), end="")  # doctest: +ELLIPSIS
         0.0 ms    500.0 ms  read       10 B  lake/a                          ██...
    """
    begin, span = time_span(requests)
    width = max(shutil.get_terminal_size((110, 24)).columns - 72, 20)
    lines = []
    drawn = sorted((one for one in requests if one.end), key=lambda one: one.start)
    for one in drawn[:rows]:
        first = int((one.start - begin) / span * width)
        last = max(round((one.end - begin) / span * width), first + 1)
        bar = " " * first + "█" * (last - first)
        path = shown(one.path, on_terminal=True)
        path = path if len(path) <= 30 else f"…{path[-29:]}"
        start, took = (one.start - begin) * 1000, (one.end - one.start) * 1000
        size = format_size(one.bytes or one.saved)
        lines.append(
            f"{start:>8.1f} ms {took:>8.1f} ms  {one.operation:<6} {size:>8}  {path:<30}  {bar}".rstrip()
        )
    if len(drawn) > rows:
        lines.append(f"and {len(drawn) - rows} more: --rows, or --save timeline.svg")
    return "".join(f"{line}\n" for line in lines)
