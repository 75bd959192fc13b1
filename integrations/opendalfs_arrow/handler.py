"""The handler that pyarrow calls: `pyarrow.fs.FileSystemHandler` over a core filesystem.

pyarrow opens files one after another. The open of a file that a listing or `get_file_info` has returned makes
no request in the caller's thread: its size is cached, and its end is read in the background. The open of any
other path waits for one stat, so that a missing file raises there, as pyarrow expects.
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
from opendalfs.fs.removal import remove_contents, remove_tree
from opendalfs.options import FSSPEC, Tuning
from opendalfs.read.reader import Reader
from opendalfs.read.version_cache import LISTED
from opendalfs.runtime import tasks
from opendalfs.runtime.engine_calls import engine_call
from opendalfs.runtime.futures import weak_callback

from .call_hints import CallHint, RunningCall, find_call, look_at_caller
from .file_cache import FileCache, file_cache_of
from .file_info import FileInfoReader
from .files import STREAMED, StreamFile, open_scan
from .paths import PathResolver
from .prefetch import Prefetch
from .scan import Scan
from .write_metadata import write_options

__all__ = ["Handler"]

_LIKELY_FILES: Final = 8
"""Files whose ends are prefetched for a scan that may stop at any file."""

_PREFETCHED_FILES: Final = 32
"""Files that are prefetched for a call that opens all of them."""

_SHOWN_OPTIONS: Final = {"endpoint", "region", "root", *FSSPEC, *(field.name for field in fields(Tuning))}
"""Options of URLs that a repr shows; any other may be a secret under the name of some library."""


class Handler(pafs.FileSystemHandler):
    """Serves pyarrow's calls from one filesystem, or from all services if the paths are URLs.

    Parameters
    ----------
    fs : OpendalFileSystem, optional
        The filesystem of the paths. Without it each path is a URL, and a path without a scheme is local.
    options : dict, optional
        Without `fs`, options for the filesystems of the URLs.
    columns : sequence of str, optional
        Columns that Parquet reads are expected to need; they are prefetched.
    call_hints : bool
        Whether to use the arguments of a running ``pyarrow.parquet.read_table``, see `call_hints`.

    Examples
    --------
    >>> import opendalfs
    >>> Handler(opendalfs.filesystem("memory")).get_type_name()
    'opendal+memory'
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
            self.cache = FileCache(
                urls=True, seconds=self.options.get("listings_expiry_time", LISTED.seconds)
            )
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
        """Return the name of the service."""
        return "opendal" if self.fs is None else f"opendal+{self.fs.service.scheme}"

    def normalize_path(self, path: str) -> str:
        """Return the one form of a path or URL."""
        return self.paths.normalize(path)

    # File infos

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """Return the infos of many paths, which are requested concurrently."""
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
            If there is no file. A file that a listing or `get_file_info` has returned shortly before is
            assumed to exist: if it does not, the first read raises.
        """
        with engine_call:
            local = self.paths.local_path(path)
            if local is not None:
                return _open_local(local, pafs.LocalFileSystem().open_input_file)
            if path.endswith(STREAMED):
                return pa.PythonFile(StreamFile(self._existing(path), reopen=True), mode="r")
            return open_scan(self.scan(path))

    def scan(self, path: str) -> Scan:
        """Return the planned reads of a file, and begin those of the files that follow it."""
        call = find_call(self, path) if self.call_hints else None
        if call is None:
            # The next file of the listing may be opened next.
            self.prefetch_tails(self.cache.order.following(path, _LIKELY_FILES))
            return self._scan(path, None)
        prefetch = self._prefetch(call)
        if prefetch is None:
            # Before a call has found its files, it opens one of them for the schema.
            self.prefetch_tails(self.cache.order.following(path, _PREFETCHED_FILES, call.hint.may_read))
        scan = None if prefetch is None else prefetch.take(path)
        if scan is None:
            return self._scan(path, call.hint)
        self.cache.opened(self.paths.normalize(path), scan.tail.reader.connection)
        if not scan.tail.reader.knows_size:
            # Its end is being read already, which raises if there is no file.
            self._check_file(path, lambda: scan.tail.size)
        return scan

    def _scan(self, path: str, call_hint: CallHint | None, ahead: bool = False) -> Scan:
        cache = self.cache
        return Scan(
            cache.tails.get(path, self.reader(path) if ahead else self._existing(path), opened=not ahead),
            cache.column_history,
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
            return Prefetch(begin, files if len(files) > 1 else (), _PREFETCHED_FILES)

        return call.resource(make)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open a file for sequential reading; raise as `open_input_file` does."""
        local = self.paths.local_path(path)
        if local is not None:
            # The caller decompresses, by the suffix of the path.
            return _open_local(local, partial(pafs.LocalFileSystem().open_input_stream, compression=None))
        return pa.PythonFile(StreamFile(self._existing(path), reopen=True), mode="r")

    def _existing(self, path: str) -> Reader:
        """Return the reader of a file that is opened now; raise if there is no file."""
        reader = self.reader(path)
        self.cache.opened(self.paths.normalize(path), reader.connection)
        if not reader.knows_size:
            self._check_file(path, lambda: reader.version)
        return reader

    def _check_file(self, path: str, stat: Callable[[], object]) -> None:
        """Raise unless a path is a file; `stat` asks storage, unless the path is cached."""
        if self.cache.is_file(self.paths.normalize(path)):
            return
        fs, stripped = self.paths.resolve(path)
        try:
            if fs.locate(stripped)[1]:
                stat()
                return
        except FileNotFoundError:
            if not tasks.run(fs._isdir, stripped):
                raise
        raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path))

    def reader(self, path: str) -> Reader:
        """Return the reader of a file, of the cached version if there is one."""
        fs, stripped = self.paths.resolve(path)
        # After a read that finds the file changed, the next open must not use the old version again.
        changed = weak_callback(fs.invalidate_cache, stripped)
        connection, key = fs.locate(stripped)
        version = self.cache.version(self.paths.full_path(fs, stripped), connection)
        return Reader(connection, key, version, changed)

    def prefetch_tails(self, paths: Sequence[str]) -> None:
        """Begin to read the ends of files that are expected to be opened."""
        for path in paths:
            self.cache.tails.get(path, self.reader(path), opened=False)

    # Writing

    def open_output_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        """Open a file for writing; a successful close publishes it.

        Notes
        -----
        Use ``with``, or call ``close``. A stream with ``buffer_size`` or ``compression`` (also by the suffix
        of the path) that is never closed is published all the same, as Arrow's C++ destructor closes it.
        """
        return self._open_output(path, "wb", metadata)

    def open_append_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        """Open a file for appending.

        Raises
        ------
        UnsupportedError
            If the service cannot append to an object.
        """
        fs, _ = self.paths.resolve(path)
        if not fs.service.appends:
            raise UnsupportedError(
                f"{fs.service.scheme} cannot append to {redact(path)!r}: write the whole file again"
            )
        return self._open_output(path, "ab", metadata)

    def _open_output(self, path: str, mode: str, metadata: Any) -> pa.NativeFile:
        fs, stripped = self.paths.resolve(path)
        options = write_options(fs.locate(stripped)[0], metadata) if metadata else {}
        return pa.PythonFile(fs.open(stripped, mode, **options), mode="w")

    # Changing

    def create_dir(self, path: str, recursive: bool) -> None:
        """Create a directory unless it exists.

        Raises
        ------
        FileNotFoundError
            Without `recursive`, if the parent directory does not exist.
        """
        fs, stripped = self.paths.resolve(path)
        self.cache.invalidate(self.paths.normalize(path))
        parent = stripped.rpartition("/")[0]
        if not recursive and parent.strip("/") and not tasks.run(fs._isdir, parent):
            raise FileNotFoundError(
                errno.ENOENT, "The parent directory does not exist: create it first", redact(path)
            )
        tasks.run(fs._makedirs, stripped, exist_ok=True)

    def delete_dir(self, path: str) -> None:
        """Remove a directory and all that is below it."""
        fs, stripped = self._resolve_directory(path)
        # pyarrow's paths are literal: `fs.rm` would take some names for patterns.
        tasks.run(remove_tree, fs, stripped)
        self.cache.invalidate_below(self.paths.normalize(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Remove all that is below a directory, and keep the directory."""
        try:
            fs, stripped = self._resolve_directory(path)
        except FileNotFoundError:
            if missing_dir_ok:
                return
            raise
        tasks.run(remove_contents, fs, stripped)
        tasks.run(fs._makedirs, stripped, exist_ok=True)
        self.cache.invalidate_below(self.paths.normalize(path))

    def _resolve_directory(self, path: str) -> tuple[OpendalFileSystem, str]:
        """Resolve the path of a directory below the root; raise if it is anything else."""
        fs, stripped = self.paths.resolve(path)
        if not stripped.strip("/"):
            raise ValueError(
                "refusing to empty the root: call delete_dir_contents('', accept_root_dir=True) to do so"
            )
        kind = self.infos.type_of(path)
        if kind == pafs.FileType.File:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(path))
        if kind == pafs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, "No such directory", redact(path))
        return fs, stripped

    def delete_root_dir_contents(self) -> None:
        """Remove all that is below the root of the filesystem.

        Raises
        ------
        UnsupportedError
            For a filesystem of URLs, and for the whole local disk.
        """
        if self.fs is None:
            raise UnsupportedError("cannot empty the root of a filesystem of URLs: pass a directory")
        if self.fs.root_marker == "/":
            raise UnsupportedError("refusing to remove all files of the local disk: pass a directory")
        tasks.run(remove_contents, self.fs, self.fs.root_marker)
        self.cache.invalidate_below("")

    def delete_file(self, path: str) -> None:
        """Remove a file."""
        fs, stripped = self.paths.resolve(path)
        tasks.run(fs._rm_file, stripped)
        self.cache.invalidate(self.paths.normalize(path))

    def move(self, src: str, dest: str) -> None:
        """Move a file or directory.

        Raises
        ------
        UnsupportedError
            To another service or another server.
        """
        fs, source = self.paths.resolve(src)
        other, target = self.paths.resolve(dest)
        if fs != other:
            raise UnsupportedError(
                f"cannot move {redact(src)!r} to {redact(dest)!r} on another service: copy and delete instead"
            )
        tasks.run(move, fs, source, target, literal=True)
        self.cache.invalidate_below(self.paths.normalize(src))
        self.cache.invalidate_below(self.paths.normalize(dest))

    def copy_file(self, src: str, dest: str) -> None:
        """Copy a file; on the server if the service supports it.

        Raises
        ------
        IsADirectoryError
            For a directory.
        """
        fs, source = self.paths.resolve(src)
        other, target = self.paths.resolve(dest)
        if not tasks.run(copy_file, fs, source, target, other):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(src))
        self.cache.invalidate(self.paths.normalize(dest))


def _shown(name: str, value: Any) -> str:
    """Return the repr of an option of any service; *** unless it is known not to be a secret."""
    return redact(repr(value)) if name in _SHOWN_OPTIONS else "***"


def _open_local(path: str, opens: Callable[[str], pa.NativeFile]) -> pa.NativeFile:
    """Open a local file; a directory raises the same error as on other services."""
    try:
        return opens(path)
    except OSError:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path)) from None
        raise
