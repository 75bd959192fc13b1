"""A folder on each kind of service, the files opened there, and the ways in which a block can fail."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import (
    contextmanager,
)
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.write.writer import Writer

LARGE = 9 << 20
"""More than one part, so that something has gone up before the write ends."""


class Boom(Exception):
    """Raised by the tests."""


class Place:
    """A filesystem and a folder of it that nobody else uses."""

    def __init__(self, fs: OpendalFileSystem, folder: str) -> None:
        self.fs = fs
        self.folder = folder
        self.path = f"{folder}/target"
        self.url = fs.unstrip_protocol(self.path)
        self.options = dict(fs.storage_options)

    @property
    def published(self) -> bool:
        return self.fs.exists(self.path, refresh=True)


# The states of a writer


def write_of(place: Place, data: bytes = b"new") -> Writer:
    writer = Writer(*place.fs.locate(place.path))
    writer.write(data)
    return writer


# How a file is opened, and how its block ends


def binary(place: Place) -> Any:
    return place.fs.open(place.path, "wb")


def text(place: Place) -> Any:
    return place.fs.open(place.path, "w")


def compressed(place: Place) -> Any:
    return place.fs.open(place.path, "wb", compression="gzip")


def compressed_text(place: Place) -> Any:
    return place.fs.open(place.path, "w", compression="xz")


def zipped(place: Place) -> Any:
    return place.fs.open(place.path, "wb", compression="zip")


def open_file(place: Place) -> Any:
    return fsspec.open(place.url, "wb", **place.options)


def open_text_file(place: Place) -> Any:
    return fsspec.open(place.url, "w", **place.options)


def open_compressed_text_file(place: Place) -> Any:
    return fsspec.open(place.url, "wt", compression="gzip", **place.options)


def stock_text(place: Place) -> Any:
    return io.TextIOWrapper(binary(place))


def stock_buffer(place: Place) -> Any:
    return io.BufferedWriter(binary(place))


def arrow_stream(place: Place) -> Any:
    return opendalfs.arrow(place.fs).open_output_stream(place.path)


def arrow_file(place: Place) -> Any:
    return pa.PythonFile(binary(place), mode="w")


@contextmanager
def over(place: Place, wrap: Callable[[Any], Any]) -> Iterator[Any]:
    with place.fs.open(place.path, "wb") as file, wrap(file) as wrapper:
        yield wrapper


def gzip_file(place: Place) -> Any:
    return over(place, lambda file: gzip.GzipFile(fileobj=file, mode="wb"))


def bz2_file(place: Place) -> Any:
    return over(place, lambda file: bz2.BZ2File(file, "wb"))


def lzma_file(place: Place) -> Any:
    return over(place, lambda file: lzma.LZMAFile(file, "wb"))


OPENINGS = [
    binary,
    text,
    compressed,
    compressed_text,
    zipped,
    open_file,
    open_text_file,
    open_compressed_text_file,
    stock_text,
    stock_buffer,
    arrow_stream,
    arrow_file,
    gzip_file,
    bz2_file,
    lzma_file,
]
"""All are context managers whose value takes bytes or text."""

FILES = OPENINGS[:5] + OPENINGS[8:12]
"""Those that are the file themselves, and so have a close."""


def put(file: Any, size: int = 1000) -> None:
    try:
        file.write(b"x" * size)
    except TypeError:
        file.write("x" * size)
