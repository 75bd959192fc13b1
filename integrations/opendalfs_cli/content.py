"""The commands that print content: `cat` and `head`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

import click

from opendalfs.read.readahead import ReadAhead, Settings

from .arguments import storage_command
from .locations import Location, matches, open_location
from .output import binary_output

__all__ = ["cat", "head"]

_PIECE: Final = 1 << 20
"""Bytes written at a time."""

_ALL: Final = Settings(first=1 << 20, largest=8 << 20, ahead=4)
_BEGINNING: Final = Settings(first=64 << 10, largest=1 << 20, ahead=0)
"""How a file is read ahead: for all of it, and for a beginning of unknown length."""


@storage_command("cat")
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
def cat(urls: tuple[str, ...], options: dict[str, str]) -> None:
    """Print the content of files, byte by byte as it is stored."""
    out = binary_output()
    for url in urls:
        for location in matches(open_location(url, options)):
            for piece in _pieces(location, _ALL):
                out.write(piece)
    out.flush()


@storage_command("head")
@click.argument("url")
@click.option("-n", "--lines", type=click.IntRange(0), help="Number of lines; 10 by default.")
@click.option("-c", "--bytes", "count", type=click.IntRange(0), help="Number of bytes, instead of lines.")
def head(url: str, lines: int | None, count: int | None, options: dict[str, str]) -> None:
    """Print the first lines or bytes of a file, and read little more than them."""
    if lines is not None and count is not None:
        raise click.UsageError("-n and -c: pass one of them")
    [location] = matches(open_location(url, options))[:1]
    out = binary_output()
    if count is not None:
        for piece in _pieces(location, _ALL, count):
            out.write(piece)
    else:
        _print_lines(location, 10 if lines is None else lines, out)
    out.flush()


def _print_lines(location: Location, rest: int, out: BinaryIO) -> None:
    for piece in _pieces(location, _BEGINNING):
        stop = 0
        while rest and (found := piece.find(b"\n", stop)) >= 0:
            stop = found + 1
            rest -= 1
        if not rest:
            out.write(piece[:stop])
            return
        out.write(piece)


def _pieces(location: Location, settings: Settings, count: int | None = None) -> Iterator[bytes]:
    """Yield the first `count` bytes of a file, by default all, in pieces of one version."""
    with location.fs.open(location.path, "rb") as file:
        size = file.reader.size if count is None else min(count, file.reader.size)
        if count is not None and size <= _PIECE:
            yield file.reader.read(0, size)
            return
        ahead = ReadAhead(file.reader, settings)
        try:
            offset = 0
            while offset < size:
                piece = bytes(
                    ahead.read(offset, min(_PIECE if settings is _ALL else 64 << 10, size - offset))
                )
                yield piece
                offset += len(piece)
        finally:
            ahead.close()
