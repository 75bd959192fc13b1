"""What commands print: tables, sizes, times, JSON."""

from __future__ import annotations

import io
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any, BinaryIO

from opendalfs.markup import printable
from opendalfs.tracing.plot import format_size

__all__ = [
    "binary_output",
    "echo",
    "entry",
    "prepare_streams",
    "print_json",
    "shown",
    "size_text",
    "time_text",
]


def echo(text: str = "") -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def binary_output() -> BinaryIO:
    """Return standard output for bytes."""
    sys.stdout.flush()
    return sys.stdout.buffer


def prepare_streams() -> None:
    """Replace characters of names that the encoding of standard output lacks, instead of an error.

    A stream that is closed, as by ``>&-``, is opened to nothing: a file would get its descriptor.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the exit
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def shown(name: str, *, on_terminal: bool | None = None) -> str:
    """Return a name as it is printed: on a terminal without control characters, which could change it.

    Examples
    --------
    >>> shown("a.csv")
    'a.csv'
    """
    if on_terminal is None:
        on_terminal = sys.stdout.isatty()
    return printable(name) if on_terminal else name


def size_text(size: int | None, human: bool) -> str:
    """Return a number of bytes, with a unit if `human`; ``-`` for None."""
    if size is None:
        return "-"
    return format_size(size) if human else str(size)


def time_text(when: datetime | None) -> str:
    """Return a time in UTC to the second, in the form of ISO 8601; ``-`` for None.

    Examples
    --------
    >>> time_text(datetime(2026, 11, 26, 12, 30, tzinfo=UTC))
    '2026-11-26T12:30:00Z'
    """
    return "-" if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry(info: dict[str, Any], url: str) -> dict[str, Any]:
    """Return what JSON shows of a file or directory."""
    is_file = info["type"] == "file"
    when = info.get("LastModified")
    return {
        "url": url,
        "type": info["type"],
        "size": info["size"] if is_file else None,
        "modified": None if when is None or not is_file else time_text(when),
        "etag": info.get("ETag") if is_file else None,
    }


def print_json(value: Any) -> None:
    """Print a value as a JSON document."""
    echo(json.dumps(value, indent=2))
