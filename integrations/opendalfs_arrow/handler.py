"""The filesystem that pyarrow calls: `pyarrow.fs.FileSystemHandler` over a core filesystem.

pyarrow opens files one after another, so opening a file that a listing or `get_file_info` has returned makes
no request in the caller's thread: its size is remembered, and its end is read in the background. Opening any
other path waits for one stat, so that a missing file is an error there and then, as pyarrow expects.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pafs

from opendalfs.errors import UnsupportedError, redact
from opendalfs.fs.copies import copy_file
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.moves import move
from opendalfs.fs.removal import remove_tree
from opendalfs.options import FSSPEC, Tuning
from opendalfs.read.reader import Reader, gather, weakly
from opendalfs.read.version_cache import LISTED
from opendalfs.runtime import tasks
from opendalfs.runtime.engine_calls import engine_call
from opendalfs.services import Home

from .call_hints import CallHint, RunningCall, find_call, look_at_caller
from .file_cache import FileCache, file_cache_of
from .file_info import FileInfoReader
from .files import STREAMED, RandomFile, StreamFile
from .paths import PathResolver
from .prefetch import Prefetch
from .scan import Scan

__all__ = ["Handler"]

_WARM: Final = 8
"""Ends of files that are read ahead of a scan that may stop at any of them."""

_FILES_AHEAD: Final = 32
"""Files that are read ahead of a call that will come to all of them."""


_SHOWN_OPTIONS: Final = {"endpoint", "region", "root", *FSSPEC, *(field.name for field in fields(Tuning))}


class Handler(pafs.FileSystemHandler):
    """Files of one service for pyarrow; or of all, when the paths are URLs.

    Parameters
    ----------
    fs : OpendalFileSystem, optional
        Where the paths lead. Without it each path is a URL, and a bare path is local.
    options : dict, optional
        Without `fs`, the options for the filesystems that the URLs need.
    columns : sequence of str, optional
        Columns that Parquet reads will want.
    call_hints : bool
        Whether to use the arguments of a running ``pyarrow.parquet.read_table``, see `call_hints`.
    """

    def __init__(
        self,
        fs: OpendalFileSystem | None = None,
        options: dict[str, Any] | None = None,
        columns: Sequence[str] | None = None,
        call_hints: bool = True,
    ) -> None:
        self.fs = fs
        self.options = options or {}
        self.columns = None if columns is None else tuple(columns)
        self.call_hints = call_hints
        if fs is None:
            self.cache = FileCache(True, self.options.get("listings_expiry_time", LISTED.seconds))
        else:
            self.cache = file_cache_of(fs)
        self.paths = PathResolver(fs, self.options, self.cache)
        self.infos = FileInfoReader(self.paths, self.cache)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handler):
            return NotImplemented
        return self.fs == other.fs and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.fs)

    def __repr__(self) -> str:
        """Return the call that makes an equal filesystem, with *** for secrets."""
        shown = [f"{name}={_shown(name, value)}" for name, value in sorted(self.options.items())]
        if self.fs is not None:
            shown.insert(0, repr(self.fs))
        if not self.call_hints:
            shown.append("call_hints=False")
        call = f"opendalfs.arrow({', '.join(shown)})"
        return call if self.columns is None else f"with_columns({call}, {list(self.columns)})"

    def __reduce__(self) -> Any:
        return Handler, (self.fs, self.options, self.columns, self.call_hints)

    # Paths

    def get_type_name(self) -> str:
        """Name the filesystem."""
        return "opendal" if self.fs is None else f"opendal+{self.fs.service.scheme}"

    def normalize_path(self, path: str) -> str:
        """Return the one form of a path or URL."""
        return self.paths.normalize(path)

    # File infos

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """Return the infos of many paths, which are asked for concurrently."""
        if self.call_hints and len(paths) == 1:
            look_at_caller(self, paths[0])
        return self.infos.get(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """List a directory, or all below it, with one listing."""
        return self.infos.select(selector)

    # Reading

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file for random access.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            When there is no file. One that a listing or `get_file_info` has returned not long ago is taken to
            be there: if it is gone by now, the first read raises.
        """
        with engine_call:
            local = self.paths.local_path(path)
            if local is not None:
                return _open_local(local, pafs.LocalFileSystem().open_input_file)
            if path.endswith(STREAMED):
                return pa.PythonFile(StreamFile(self._opened(path), again=True), mode="r")
            return pa.PythonFile(RandomFile(self.scan(path)), mode="r")

    def scan(self, path: str) -> Scan:
        """Return the planned reads of a file, and begin those of the files after it."""
        call = find_call(self, path) if self.call_hints else None
        if call is None:
            # The next file of the listing may be opened next.
            self.begin_tails(self.cache.order.following(path, _WARM))
            return self._scan(path, None)
        prefetch = self._prefetch(call)
        if prefetch is None:
            # Before a call has found its files it opens one of them, for the schema.
            self.begin_tails(self.cache.order.following(path, _FILES_AHEAD, call.hint.may_read))
        scan = None if prefetch is None else prefetch.take(path)
        if scan is None:
            return self._scan(path, call.hint)
        if not scan.tail.reader.knows_size:
            # Its end is being read already, which also tells whether there is a file.
            self._check(path, lambda: scan.tail.size)
        return scan

    def _scan(self, path: str, call_hint: CallHint | None, ahead: bool = False) -> Scan:
        cache = self.cache
        return Scan(
            cache.tails.get(path, self.reader(path) if ahead else self._opened(path), opened=not ahead),
            cache.memory,
            path.rpartition("/")[0],
            columns=self.columns,
            call_hint=call_hint,
            ahead=ahead,
            budget=cache.budget,
        )

    def _prefetch(self, call: RunningCall) -> Prefetch | None:
        """Return the prefetch of the files that a call will open; None before it has found them."""
        files, hint = call.files(), call.hint
        if files is None:
            return None

        def make() -> Prefetch:
            begin = partial(self._scan, call_hint=hint, ahead=True)
            return Prefetch(begin, files if len(files) > 1 else (), _FILES_AHEAD)

        return call.resource(make)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open a file for reading from front to back; raises as `open_input_file` does."""
        local = self.paths.local_path(path)
        if local is not None:
            # Whoever called this decompresses.
            return _open_local(local, partial(pafs.LocalFileSystem().open_input_stream, compression=None))
        return pa.PythonFile(StreamFile(self._opened(path), again=True), mode="r")

    def _opened(self, path: str) -> Reader:
        """Return the reads of a file that is opened now; raise when there is no file."""
        reader = self.reader(path)
        if not reader.knows_size:
            self._check(path, lambda: reader.version)
        return reader

    def _check(self, path: str, look: Callable[[], object]) -> None:
        """Look whether a path is a file, unless that is known; raise when it is not."""
        if self.cache.is_file(self.paths.normalize(path)):
            return
        fs, inner = self.paths.resolve(path)
        try:
            if fs.locate(inner)[1]:
                look()
                return
        except FileNotFoundError:
            if not tasks.run(fs._isdir, inner):
                raise
        raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path))

    def reader(self, path: str) -> Reader:
        """Give the reads of a file, of the version that was told of not long ago."""
        fs, inner = self.paths.resolve(path)
        # Whoever opens it after it has changed must not be told of the old version again.
        changed = weakly(fs.invalidate_cache, inner)
        connection, key = fs.locate(inner)
        version = self.cache.version(self.paths.full_path(fs, inner), connection)
        return Reader(connection, key, version, changed)

    def begin_tails(self, paths: Sequence[str]) -> None:
        """Begin to read the ends of files that will be opened."""
        for path in paths:
            self.cache.tails.get(path, self.reader(path), opened=False)

    # Writing

    def open_output_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        """Open a file for writing; it is published when it is closed without a failure.

        Notes
        -----
        Use ``with``, or close it. A stream with ``buffer_size`` or ``compression`` (also by the suffix of the
        path) that is never closed is published nevertheless, as Arrow's C++ destructor closes it.
        """
        return self._output(path, "wb", metadata)

    def open_append_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        """Open a file for adding to it, where the service can."""
        fs, _ = self.paths.resolve(path)
        if not fs.service.appends:
            raise UnsupportedError(f"the service {fs.service.scheme} cannot append to an object")
        return self._output(path, "ab", metadata)

    def _output(self, path: str, mode: str, metadata: Any) -> pa.NativeFile:
        fs, inner = self.paths.resolve(path)
        # What is known of it is forgotten when it is published, as after each change of the filesystem's own.
        options = _write_options(fs, inner, metadata)
        return pa.PythonFile(fs.open(inner, mode, **options), mode="w")

    # Changing

    def create_dir(self, path: str, recursive: bool) -> None:
        """Make a directory; one that exists is fine."""
        fs, inner = self.paths.resolve(path)
        self.cache.invalidate(self.paths.normalize(path))
        parent = inner.rpartition("/")[0]
        if not recursive and parent.strip("/") and not tasks.run(fs._isdir, parent):
            raise FileNotFoundError(errno.ENOENT, "The directory above does not exist", redact(path))
        tasks.run(fs._makedirs, inner, exist_ok=True)

    def delete_dir(self, path: str) -> None:
        """Remove a directory and all below it."""
        fs, inner = self._folder(path)
        # pyarrow's paths are literal: `_rm` would take some names for patterns.
        tasks.run(remove_tree, fs, inner)
        self.cache.invalidate_below(self.paths.normalize(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Remove all below a directory; it stays."""
        try:
            fs, inner = self._folder(path)
        except FileNotFoundError:
            if missing_dir_ok:
                return
            raise
        self._empty(fs, inner)
        tasks.run(fs._makedirs, inner, exist_ok=True)
        self.cache.invalidate_below(self.paths.normalize(path))

    def _folder(self, path: str) -> tuple[OpendalFileSystem, str]:
        fs, inner = self.paths.resolve(path)
        if not inner.strip("/"):
            raise ValueError(
                "this would empty the root: say so with delete_dir_contents('', accept_root_dir=True)"
            )
        kind = self.infos.type_of(path)
        if kind == pafs.FileType.File:
            raise NotADirectoryError(20, "Not a directory", redact(path))
        if kind == pafs.FileType.NotFound:
            raise FileNotFoundError(2, "No such directory", redact(path))
        return fs, inner

    def delete_root_dir_contents(self) -> None:
        """Remove everything."""
        if self.fs is None:
            raise UnsupportedError("a filesystem of all services has no contents to delete")
        if self.fs.root_marker == "/":
            raise UnsupportedError("this would remove the whole disk: name a directory")
        self._empty(self.fs, self.fs.root_marker)
        self.cache.invalidate_below("")

    def _empty(self, fs: OpendalFileSystem, path: str) -> None:
        try:
            tasks.run(_remove_below, fs, path)
        finally:
            fs.invalidate_cache(path)

    def delete_file(self, path: str) -> None:
        """Remove a file."""
        fs, inner = self.paths.resolve(path)
        tasks.run(fs._rm_file, inner)
        self.cache.invalidate(self.paths.normalize(path))

    def move(self, src: str, dest: str) -> None:
        """Rename a file or directory."""
        fs, source = self.paths.resolve(src)
        other, target = self.paths.resolve(dest)
        if fs != other:
            raise UnsupportedError(f"{src!r} and {dest!r} are on different services: copy and delete instead")
        tasks.run(move, fs, source, target, literal=True)
        self.cache.invalidate_below(self.paths.normalize(src))
        self.cache.invalidate_below(self.paths.normalize(dest))

    def copy_file(self, src: str, dest: str) -> None:
        """Copy a file; within a service without its bytes coming here, where the service can."""
        fs, source = self.paths.resolve(src)
        other, target = self.paths.resolve(dest)
        if not tasks.run(copy_file, fs, source, target, other):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(src))
        self.cache.invalidate(self.paths.normalize(dest))


def _shown(name: str, value: Any) -> str:
    """Return the repr of an option of any service; *** unless it is known not to be a secret."""
    return redact(repr(value)) if name in _SHOWN_OPTIONS else "***"


async def _remove_below(fs: OpendalFileSystem, path: str) -> None:
    """Remove all that lies below a directory, as many at a time as the filesystem allows."""
    connection, key = fs.locate(path)
    if key and connection.service.home is Home.REMOTE and connection.can("list_with_recursive"):
        await connection.remove_all(f"{key}/")
        return
    # On flat keys a name may be listed twice, as a file and as a directory; it is removed as both.
    names = {info["name"]: None for info in await fs._ls(path, refresh=True)}
    await gather(partial(remove_tree, fs), list(names), fs.batch_size)


def _open_local(path: str, opens: Callable[[str], pa.NativeFile]) -> pa.NativeFile:
    """Open a file of this machine; a directory raises the error that it raises on other services."""
    try:
        return opens(path)
    except OSError:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path)) from None
        raise


_HEADERS: Final = {
    "content-type": "content_type",
    "content-disposition": "content_disposition",
    "content-encoding": "content_encoding",
    "cache-control": "cache_control",
}


def _write_options(fs: OpendalFileSystem, path: str, metadata: Any) -> dict[str, Any]:
    """Sort pyarrow's metadata into headers and an object's own metadata, where the service keeps them."""
    if not metadata:
        return {}
    connection, _ = fs.locate(path)
    options: dict[str, Any] = {}
    own: dict[str, str] = {}
    for name, value in dict(metadata).items():
        key = name.decode() if isinstance(name, bytes) else str(name)
        text = value.decode() if isinstance(value, bytes) else str(value)
        option = _HEADERS.get(key.lower())
        if option is None:
            own[key] = text
        elif connection.can(f"write_with_{option}"):
            options[option] = text
    if own and connection.can("write_with_user_metadata"):
        options["metadata"] = own
    return options
