"""The commands that list: `ls`, `du`, `tree`, `find`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

import click

from .arguments import human_option, json_option, storage_command
from .locations import Location, matches, open_location
from .output import echo, entry, print_json, shown, size_text, time_text

__all__ = ["du", "find", "ls", "tree"]

Info = dict[str, Any]

_UNITS: Final = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_SPANS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST: Final = 1000 * 366 * 86_400
"""Seconds: the times of Python begin in the year 1."""


@storage_command("ls")
@click.argument("url")
@click.option("-l", "long", is_flag=True, help="Print size in bytes and time (UTC) too.")
@click.option("-R", "-r", "--recursive", is_flag=True, help="List everything below the URL.")
@human_option
@json_option
def ls(url: str, long: bool, recursive: bool, human: bool, as_json: bool, options: dict[str, str]) -> None:
    """List a directory, the files that match a pattern, or one file.

    Names are relative to the directory; those of directories end in a slash.
    """
    location = open_location(url, options)
    found = _entries(location, recursive)
    if as_json:
        print_json([entry(info, location.url(info["name"])) for _, info in found])
        return
    for name, info in found:
        name = f"{name}/" if info["type"] == "directory" else name
        if long:
            is_file = info["type"] == "file"
            size = size_text(info["size"] if is_file else None, human)
            when = time_text(info.get("LastModified") if is_file else None)
            echo(f"{size:>15}  {when:>20}  {shown(name)}")
        else:
            echo(shown(name))


def _entries(location: Location, recursive: bool) -> list[tuple[str, Info]]:
    """Return what `ls` lists, with the names that it shows."""
    found: list[tuple[str, Info]] = []
    for one in matches(location):
        infos = list(_tree(one).values()) if recursive else one.fs.ls(one.path, detail=True)
        is_file = len(infos) == 1 and infos[0]["name"] == one.path
        root = one.path.rpartition("/")[0] if is_file or one is not location else one.path
        found += [(_relative(info["name"], root), info) for info in infos]
    return sorted(found, key=lambda pair: pair[0])


def _tree(location: Location, maxdepth: int | None = None) -> dict[str, Info]:
    """Return the infos of all files and directories below a location; FileNotFoundError if nothing exists."""
    path = location.path
    infos: dict[str, Info] = location.fs.find(path, maxdepth=maxdepth, withdirs=True, detail=True)
    if not infos:
        # Of an empty directory there is an info.
        location.info()
    return {name: info for name, info in infos.items() if name != path or info["type"] == "file"}


def _relative(name: str, root: str) -> str:
    # A key may begin with a slash of its own.
    return name.removeprefix(root).removeprefix("/") or name


@storage_command("du")
@click.argument("url")
@click.option(
    "-d", "--depth", type=click.IntRange(0), default=0, help="Print directories of so many levels too."
)
@human_option
@json_option
def du(url: str, depth: int, human: bool, as_json: bool, options: dict[str, str]) -> None:
    """Print the bytes and the number of files below a URL."""
    location = open_location(url, options)
    sizes, files = Counter[str](), Counter[str]()
    totals: dict[str, None] = {}
    for one in matches(location):
        totals[one.path] = None
        for name, info in _tree(one).items():
            if info["type"] != "file":
                continue
            for folder in _folders(one.path, name, depth):
                sizes[folder] += info["size"]
                files[folder] += 1
    rows: list[dict[str, Any]] = [
        {"url": location.url(path), "bytes": sizes[path], "files": files[path]}
        for path in [*sorted(sizes.keys() - totals.keys()), *totals]
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        count = row["files"]
        files_text = f"{count} file" if count == 1 else f"{count} files"
        echo(f"{size_text(row['bytes'], human):>15}  {files_text:>12}  {shown(row['url'])}")


def _folders(root: str, name: str, depth: int) -> list[str]:
    """Return the directories of at most `depth` levels below a root that hold a file, the root first."""
    parts = name.removeprefix(root).strip("/").split("/")[:-1]
    return [root, *(f"{root.rstrip('/')}/{'/'.join(parts[: i + 1])}" for i in range(min(depth, len(parts))))]


@storage_command("tree")
@click.argument("url")
@click.option("-L", "--depth", type=click.IntRange(1), help="Go down so many levels at most.")
@human_option
@json_option
def tree(url: str, depth: int | None, human: bool, as_json: bool, options: dict[str, str]) -> None:
    """Draw the directories and files below a URL as a tree, with sizes."""
    location = open_location(url, options)
    infos = _tree(location, depth)
    if as_json:
        print_json([entry(info, location.url(name)) for name, info in infos.items()])
        return
    children: dict[str, dict[str, Info | None]] = {"": {}}
    for name, info in infos.items():
        parts = _relative(name, location.path).split("/")
        for i in range(len(parts)):
            above = "/".join(parts[:i])
            below = "/".join(parts[: i + 1])
            last = info if i == len(parts) - 1 else None
            if last is not None or below not in children.get(above, {}):
                children.setdefault(above, {})[below] = last
    echo(shown(location.url()))
    _draw(children, "", "", human)
    files = [info for info in infos.values() if info["type"] == "file"]
    total = size_text(sum(info["size"] for info in files), human)
    echo(f"{len(files)} files, {total}{'' if human else ' bytes'}")


def _draw(children: dict[str, dict[str, Info | None]], above: str, indent: str, human: bool) -> None:
    below = sorted(children.get(above, {}).items())
    for i, (path, info) in enumerate(below):
        is_last = i == len(below) - 1
        name = path.rpartition("/")[2]
        is_file = info is not None and info["type"] == "file"
        text = f"{name}  {size_text(info['size'], human)}" if info is not None and is_file else f"{name}/"
        echo(f"{indent}{'└── ' if is_last else '├── '}{shown(text)}")
        _draw(children, path, indent + ("    " if is_last else "│   "), human)


@storage_command("find")
@click.argument("url")
@click.option("--name", metavar="PATTERN", help="Only names that match a pattern, such as '*.parquet'.")
@click.option("--size", metavar="[+-]BYTES", help="Only files of more (+) or fewer (-) bytes: +10M, -4k.")
@click.option(
    "--newer", metavar="TIME", help="Only files written since a time, such as 2026-11-26 (UTC), or 12h, 7d."
)
@click.option("--type", "kind", type=click.Choice(["f", "d"]), help="Only files, or only directories.")
@click.option("--maxdepth", type=click.IntRange(1), help="Go down so many levels at most.")
@json_option
def find(
    url: str,
    name: str | None,
    size: str | None,
    newer: str | None,
    kind: str | None,
    maxdepth: int | None,
    as_json: bool,
    options: dict[str, str],
) -> None:
    """List the URLs of all files and directories below a URL that meet all conditions."""
    tests: list[Callable[[Info], bool]] = []
    if kind or size or newer:
        wanted = "directory" if kind == "d" else "file"
        tests.append(lambda info: info["type"] == wanted)
    if name:
        tests.append(lambda info: fnmatchcase(info["name"].rpartition("/")[2], name))
    if size:
        tests.append(_size_test(size))
    if newer:
        since = _since(newer)
        tests.append(lambda info: (info.get("LastModified") or since) > since)
    location = open_location(url, options)
    found = _matching(_tree(location, maxdepth), tests)
    if as_json:
        print_json([entry(info, location.url(info["name"])) for info in found])
        return
    for info in found:
        echo(shown(location.url(info["name"])))


def _matching(infos: dict[str, Info], tests: Iterable[Callable[[Info], bool]]) -> list[Info]:
    return [info for info in infos.values() if all(test(info) for test in tests)]


def _size_test(text: str) -> Callable[[Info], bool]:
    """Return the test of ``--size``; raise UsageError if it cannot be parsed."""
    found = re.fullmatch(r"([+-]?)(\d{1,18})([kmgt]?)b?", text.lower())
    if found is None:
        raise click.UsageError(f"--size takes a number of bytes such as +10M, not {text!r}")
    sign, number, unit = found.groups()
    limit = int(number) * _UNITS[unit]
    if sign == "+":
        return lambda info: info["size"] > limit
    if sign == "-":
        return lambda info: info["size"] < limit
    return lambda info: info["size"] == limit


def _since(text: str) -> datetime:
    """Return the time of ``--newer``; raise UsageError if it cannot be parsed."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text.lower()):
        seconds = int(found.group(1)) * _SPANS[found.group(2)]
        return datetime.now(UTC) - timedelta(seconds=min(seconds, _LONGEST))
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--newer takes a time such as 2026-11-26 or 12h, not {text!r}") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
