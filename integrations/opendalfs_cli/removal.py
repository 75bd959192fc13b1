"""The command `rm`, which asks."""

from __future__ import annotations

import sys

import click

from opendalfs.fs.removal import check_removal, remove_tree
from opendalfs.runtime.tasks import run
from opendalfs.tracing.plot import format_size

from .arguments import storage_command
from .failures import USAGE, Failure
from .locations import Location, check_named, matches, open_location
from .output import shown
from .transfers import parents

__all__ = ["rm"]

_NAMED = 10
"""Paths that the question names."""


@storage_command("rm")
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Remove directories with all that is below them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(urls: tuple[str, ...], recursive: bool, yes: bool, options: dict[str, str]) -> None:
    """Remove files, after a question.

    Without a terminal nothing is asked, and nothing is removed, unless --yes is passed. A whole bucket is
    never removed. Of a link only the link is removed.
    """
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failure("there is no terminal to ask on: pass --yes to remove without a question", USAGE)
    found: list[Location] = []
    for url in urls:
        check_named(url)
        location = open_location(url, options)
        check_removal(location.fs, location.path, recursive=recursive)
        found += matches(location)
    if recursive:
        found = _topmost(found)
    lines = [_description(location, recursive, yes) for location in found]
    if not yes and not _consents(lines):
        raise Failure("nothing was removed")
    for location in found:
        if recursive:
            run(remove_tree, location.fs, location.path)
        else:
            run(location.fs._rm_file, location.path)


def _topmost(found: list[Location]) -> list[Location]:
    """Return each location once, without those that are below another one."""
    by_path = {(one.fs, one.path): one for one in found}
    return [
        one
        for (fs, path), one in by_path.items()
        if not any((fs, parent) in by_path for parent in parents(path))
    ]


def _description(location: Location, recursive: bool, yes: bool) -> str:
    """Return the line of the question for a location; raise if it cannot be removed."""
    fs, path = location.fs, location.path
    is_link = fs.locate(path)[0].is_link(fs.locate(path)[1])
    if is_link:
        return f"{location.url()} (the link)"
    info = location.info(refresh=True)
    if info["type"] == "file" and not recursive:
        return f"{location.url()} ({format_size(info['size'])})"
    if not recursive:
        raise Failure(f"{location.url()} is a directory: pass -r to remove it with all that is below it")
    if yes:
        return location.url()
    sizes = fs.du(path, total=False)
    files = f"{len(sizes)} file{'' if len(sizes) == 1 else 's'}"
    return f"{location.url()} and all that is below it ({files}, {format_size(sum(sizes.values()))})"


def _consents(lines: list[str]) -> bool:
    """Whether the user types y or yes; the end of the input is a no."""
    shown_lines = [shown(line, on_terminal=True) for line in lines[:_NAMED]]
    if len(lines) > _NAMED:
        shown_lines.append(f"and {len(lines) - _NAMED} more")
    sys.stderr.write("".join(f"  {line}\n" for line in shown_lines))
    sys.stderr.write("Remove? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
