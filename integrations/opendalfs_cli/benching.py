"""The command `bench`: how fast reads are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .arguments import json_option, storage_command
from .failures import Failure
from .locations import Location, open_location
from .measure import measure
from .output import echo, print_json, shown

__all__ = ["bench"]


@storage_command("bench")
@click.argument("url")
@click.option(
    "--reads", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of small reads."
)
@click.option(
    "--largest",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Size of the large read in MiB at most.",
)
@json_option
def bench(url: str, reads: int, largest: int, as_json: bool, options: dict[str, str]) -> None:
    """Measure the latency and the bandwidth of reads of a file, or of the largest file in a directory.

    Small reads are made one after the other; the large one is sent as parallel requests. Nothing is written.
    """
    location, size = _file(open_location(url, options))
    found = measure(location, size, reads=reads, largest=largest << 20)
    if as_json:
        print_json({"url": location.url(), "size": size, **asdict(found)})
        return
    echo(f"{shown(location.url())}: {found}")


def _file(location: Location) -> tuple[Location, int]:
    """Return the file to read and its size."""
    info = location.info()
    if info["type"] == "directory":
        files: dict[str, Any] = location.fs.find(location.path, detail=True)
        info = max(files.values(), key=lambda one: int(one["size"]), default=info)
    if not info["size"]:
        raise Failure(f"{location.url()} has no file with content to read")
    return location.at(info["name"]), int(info["size"])
