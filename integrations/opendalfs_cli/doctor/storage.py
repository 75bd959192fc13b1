"""Requests to storage with the credentials: HEAD, list, ranged read, conditional write."""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from opendalfs.errors import NoContainerError, UnsupportedError
from opendalfs.runtime.tasks import run
from opendalfs_cli.locations import Location
from opendalfs_cli.measure import measure

from .checks import Check, failed, ok, skipped
from .diagnosis import explain

__all__ = ["Probe"]

_PROBE: Final = b"written by opendalfs doctor\n"
_RANGE: Final = 16
"""Bytes of the read of a range."""


@dataclass
class Probe:
    """The steps of `doctor` that need requests, and what they have found of the URL.

    Parameters
    ----------
    location : Location
        The URL.
    """

    location: Location
    file: str = ""
    """Path of a file to read; empty if none was found."""
    size: int = 0

    @property
    def _container(self) -> str:
        return self.location.path.partition("/")[0]

    def reach(self) -> Check:
        """Request the metadata of the path, or of a key that does not exist."""
        connection, key = self.location.fs.locate(self.location.path)
        try:
            metadata = run(connection.stat, key or f".opendalfs-doctor-{uuid4().hex}")
        except NoContainerError as exc:
            return self._explain(exc)
        except FileNotFoundError:
            return ok(
                "the server answers; there is no object at the path itself" if key else "the server answers"
            )
        except Exception as exc:
            return self._explain(exc)
        if metadata.is_file:
            self.file, self.size = self.location.path, metadata.content_length
            return ok(f"the server answers: an object of {metadata.content_length:,} bytes")
        return ok("the server answers: a directory")

    def list(self) -> Check:
        """Request one page of a listing, and choose a file to read."""
        fs, path = self.location.fs, self.location.path
        connection, key = fs.locate(path)
        if not connection.can("list"):
            return skipped(f"the service {fs.service.scheme} cannot list")
        folder = key if not self.file else key.rpartition("/")[0]
        try:
            start = f"{folder}/" if folder else "/"
            entries = run(connection.page, start, recursive=connection.can("list_with_recursive"))
        except FileNotFoundError as exc:
            if isinstance(exc, NoContainerError):
                return self._explain(exc)
            return failed("nothing exists at the path", "correct the path in the URL")
        except Exception as exc:
            return self._explain(exc)
        if not self.file:
            self._choose(connection, entries)
        if not entries and key and not self.file:
            return failed("nothing exists at the path", "correct the path in the URL")
        return ok(f"{len(entries)}{' or more' if len(entries) >= 1000 else ''} names in the first page")

    def _choose(self, connection: Any, entries: Any) -> None:
        """Choose the largest file of a page to read."""
        for entry in entries:
            size = entry.metadata.content_length
            if not entry.path.endswith("/") and size > self.size:
                self.file, self.size = connection.name(entry.path), size

    def read(self) -> Check:
        """Read two ranges that overlap, and compare them."""
        if not self.file or not self.size:
            return skipped("no object with content was found to read from")
        count = min(self.size, _RANGE)
        try:
            first, second = self.location.fs.cat_ranges(
                [self.file] * 2, [0, count // 2], [count, count], max_gap=0, on_error="raise"
            )
        except Exception as exc:
            return self._explain(exc)
        if len(first) != count or first[count // 2 :] != second:
            return failed(
                f"the server does not serve ranges: {len(first)} bytes came instead of {count}",
                "use another server or proxy: reads of Parquet need ranges",
            )
        return ok(f"{count} bytes of {self.location.url(self.file)}")

    def write(self) -> Check:
        """Create an object twice, read it, and remove it."""
        fs = self.location.fs
        path = (
            self.location.path.rpartition("/")[0] if self.file == self.location.path else self.location.path
        )
        probe = f"{path}/.opendalfs-doctor-{uuid4().hex}".lstrip("/" if not self.location.is_local else "")
        written = False
        try:
            check = self._write(probe)
            written = True
        except UnsupportedError as exc:
            check = skipped(str(exc).partition("\n")[0])
        except Exception as exc:
            check = self._explain(exc)
        except BaseException:
            # Ctrl-C: the object goes, and no error of its removal hides that.
            with suppress(Exception):
                fs.rm_file(probe)
            raise
        try:
            fs.rm_file(probe)
        except FileNotFoundError:
            pass
        except Exception as exc:
            # After an error of the write, that one is shown, as there is probably nothing to remove.
            if written:
                text = f"the object that was written cannot be removed: {self._explain(exc).sentence}"
                return failed(text, f"remove {self.location.url(probe)}")
        return check

    def _write(self, probe: str) -> Check:
        fs = self.location.fs
        fs.pipe_file(probe, _PROBE, mode="create")
        if fs.cat_file(probe) != _PROBE:
            return failed(
                "the object that was written has another content", "do not use this server for writes"
            )
        if not fs.locate(probe)[0].can("write_with_if_not_exists"):
            return ok(
                "writes work; the service has no conditional writes, so opendalfs looks before it writes"
            )
        try:
            fs.pipe_file(probe, b"second", mode="create")
        except FileExistsError:
            return ok("an object was created; a second creation was refused; it was removed")
        return failed(
            "the server ignores conditions of writes: two writers may replace each other's objects",
            "let one writer write at a time, or write through one opendalfs serve",
        )

    def speed(self) -> Check:
        """Measure the latency of small reads, and the bandwidth of a large one."""
        if not self.file or not self.size:
            return skipped("no object with content was found to read from")
        try:
            return ok(str(measure(self.location.at(self.file), self.size)))
        except Exception as exc:
            return self._explain(exc)

    def _explain(self, exc: Exception) -> Check:
        if isinstance(exc, OSError) and exc.errno == errno.ENOTSUP:
            return skipped(str(exc.strerror or exc).partition("\n")[0])
        return explain(exc, self.location.fs, self._container)
