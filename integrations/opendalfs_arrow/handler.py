"""The filesystem that pyarrow calls: `pyarrow.fs.FileSystemHandler` over a core filesystem.

Opening a file asks nothing in the caller's thread, because pyarrow opens files one after another; sizes are
remembered from listings, and the end of a file is read in the background.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pafs

from opendalfs import blocking, filesystems
from opendalfs.errors import UnsupportedError
from opendalfs.fs import OpendalFileSystem
from opendalfs.listing import Info
from opendalfs.reader import Reader, Version, gather
from opendalfs.services import Form

from .files import RandomFile, StreamFile
from .parquet import BUDGET, Memory, Scan, Tail

__all__ = ["Handler"]

_REMEMBER_SECONDS: Final = 30.0
_MOST_TAILS: Final = 128
_MOST_INFOS: Final = 100_000
_AT_ONCE: Final = 64
_WARM: Final = 8

_STREAMED: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".gz", ".bz2", ".zst", ".xz")
"""Endings of files that are read from front to back: their end is not read first."""


class Handler(pafs.FileSystemHandler):
    """Files of one service for pyarrow; or of all, when the paths are URLs.

    Parameters
    ----------
    fs : OpendalFileSystem, optional
        Where the paths lead. Without it each path is a URL, and a bare path is local.
    options : dict, optional
        Without `fs`, the options for the filesystems that the URLs need.
    """

    def __init__(self, fs: OpendalFileSystem | None = None, options: dict[str, Any] | None = None) -> None:
        self.fs = fs
        self.options = options or {}
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._infos: OrderedDict[str, tuple[float, Info]] = OrderedDict()
        self._tails: OrderedDict[str, tuple[float, Tail]] = OrderedDict()
        self._next: dict[str, str] = {}
        self._last = ""
        self.memory = Memory()
        self.hint: tuple[str, ...] | None = None
        self._plans: dict[str, dict[str, Any]] = {}
        self._scans: dict[str, Scan] = {}
        self._ahead = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handler):
            return NotImplemented
        return self.fs == other.fs and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.fs)

    def __reduce__(self) -> Any:
        return Handler, (self.fs, self.options)

    # Paths

    def get_type_name(self) -> str:
        """Name the filesystem."""
        return "opendal" if self.fs is None else f"opendal+{self.fs.service.scheme}"

    def normalize_path(self, path: str) -> str:
        """Bring a path or URL into one form."""
        if self.fs is None:
            fs, inner = self._resolve(path)
            return fs.unstrip_protocol(inner)
        return str(self.fs._strip_protocol(path))

    def _resolve(self, path: str) -> tuple[OpendalFileSystem, str]:
        """Give the filesystem behind a path and the path there."""
        if self.fs is not None:
            return self.fs, self.fs._strip_protocol(path)
        return filesystems.resolve(path, **self.options)

    def _shown(self, fs: OpendalFileSystem, path: str) -> str:
        return path if self.fs is not None else fs.unstrip_protocol(path)

    # What is there

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """Tell of many paths, all at the same time."""
        return blocking.run(gather, self._info, list(paths), _AT_ONCE)

    async def _info(self, path: str) -> pafs.FileInfo:
        fs, inner = self._resolve(path)
        try:
            info = await fs._info(inner, refresh=True)
        except FileNotFoundError:
            self._forget(path)
            return pafs.FileInfo(path, pafs.FileType.NotFound)
        return self._remembered(path, info)

    def _remembered(self, path: str, info: Info) -> pafs.FileInfo:
        """Keep what was told of a path, and say it in pyarrow's way."""
        if info["type"] == "directory":
            return pafs.FileInfo(path, pafs.FileType.Directory)
        with self._lock:
            self._infos[path] = (time.monotonic(), info)
            self._infos.move_to_end(path)
            while len(self._infos) > _MOST_INFOS:
                self._infos.popitem(last=False)
        return pafs.FileInfo(path, pafs.FileType.File, size=info["size"], mtime=info.get("LastModified"))

    def _forget(self, path: str) -> None:
        with self._lock:
            self._infos.pop(path, None)
            self._tails.pop(path, None)

    def _forget_below(self, path: str) -> None:
        with self._lock:
            for known in (self._infos, self._tails):
                for name in [n for n in known if n == path or n.startswith(f"{path}/")]:
                    del known[name]

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """List a directory with one list, or a whole tree."""
        fs, base = self._resolve(selector.base_dir)
        try:
            if selector.recursive:
                found = blocking.run(fs._find, base, withdirs=True, detail=True)
                infos = [info for name, info in found.items() if name != base]
            else:
                infos = blocking.run(fs._ls, base, refresh=True)
            if not infos and not blocking.run(fs._isdir, base):
                raise FileNotFoundError(base)
        except FileNotFoundError:
            if selector.allow_not_found:
                return []
            raise FileNotFoundError(2, "No such directory", selector.base_dir) from None
        if len(infos) == 1 and infos[0]["name"] == base and infos[0]["type"] == "file":
            raise NotADirectoryError(20, "Not a directory", selector.base_dir)
        infos.sort(key=lambda info: str(info["name"]))
        told = [self._remembered(self._shown(fs, info["name"]), info) for info in infos]
        self._remember_order([t.path for t in told if t.type == pafs.FileType.File])
        return told

    def _remember_order(self, files: Sequence[str]) -> None:
        with self._lock:
            if len(self._next) > _MOST_INFOS:
                self._next.clear()
            self._next.update(itertools.pairwise(files))

    # Reading

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file for random access."""
        fs, inner = self._resolve(path)
        if fs.service.form is Form.ABSOLUTE:
            return pafs.LocalFileSystem().open_input_file(inner)
        if path.endswith(_STREAMED):
            return pa.PythonFile(StreamFile(self._reader(path)), mode="r")
        if self._plans:
            return pa.PythonFile(RandomFile(self._planned_scan(path)), mode="r")
        self._warm(path)
        return pa.PythonFile(RandomFile(self._scan(path, hint=self.hint)), mode="r")

    def _scan(self, path: str, **plan: Any) -> Scan:
        return Scan(self._tail(path), self.memory, path.rpartition("/")[0], **plan)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open a file for reading from front to back."""
        fs, inner = self._resolve(path)
        if fs.service.form is Form.ABSOLUTE:
            return pafs.LocalFileSystem().open_input_stream(inner)
        return pa.PythonFile(StreamFile(self._reader(path)), mode="r")

    def _reader(self, path: str) -> Reader:
        fs, inner = self._resolve(path)
        with self._lock:
            when, info = self._infos.get(path, (0.0, None))
        fresh = info is not None and time.monotonic() - when < _REMEMBER_SECONDS
        version = Version.from_info(info) if fresh and info is not None else None
        return Reader(*fs.locate(inner), version)

    def _tail(self, path: str) -> Tail:
        """Give the end of a file, shared by all that open it within a short time."""
        now = time.monotonic()
        with self._lock:
            when, tail = self._tails.get(path, (0.0, None))
            if tail is not None and now - when < _REMEMBER_SECONDS:
                return tail
        tail = Tail(self._reader(path))
        with self._lock:
            self._tails[path] = (now, tail)
            self._tails.move_to_end(path)
            while len(self._tails) > _MOST_TAILS:
                self._tails.popitem(last=False)
        return tail

    def _warm(self, path: str) -> None:
        """Begin to read the ends of the next files, once a listing is opened in its order."""
        with self._lock:
            in_order = self._next.get(self._last) == path or self._last == path
            self._last = path
        if not in_order:
            return
        ahead: str | None = path
        for _ in range(_WARM):
            ahead = self._next.get(ahead) if ahead is not None else None
            if ahead is None:
                return
            self._tail(ahead)

    # Reading by plan

    def glob(self, pattern: str) -> list[str]:
        """Give the files that match a pattern, as paths of this filesystem."""
        fs, inner = self._resolve(pattern)
        found = blocking.run(fs._glob, inner, detail=True)
        return [self._shown(fs, name) for name, info in found.items() if info["type"] == "file"]

    def begin_tails(self, paths: Sequence[str]) -> None:
        """Begin to read the ends of files, as many as are kept."""
        for path in paths[:_MOST_TAILS]:
            self._tail(path)

    @contextmanager
    def planned(self, plans: dict[str, dict[str, Any]], ahead: int) -> Iterator[None]:
        """Fetch what is planned, some files ahead of the one that is opened.

        Parameters
        ----------
        plans : dict
            By path, what `Scan` takes: ``hint`` and ``groups``.
        ahead : int
            Files whose chunks are under way at a time.
        """
        self._plans, self._ahead = plans, ahead
        try:
            self._begin_scans(iter(plans))
            yield
        finally:
            self._plans = {}
            scans, self._scans = self._scans, {}
            for scan in scans.values():
                scan.close()

    def _begin_scans(self, paths: Iterable[str]) -> None:
        for path in itertools.islice(paths, self._ahead):
            with self._lock:
                begun = path in self._scans
            if not begun:
                scan = self._scan(path, budget=BUDGET // 2, **self._plans[path])
                with self._lock:
                    self._scans.setdefault(path, scan)

    def _planned_scan(self, path: str) -> Scan:
        """Give the scan under way for a file, and begin those of the files after it."""
        with self._lock:
            scan = self._scans.pop(path, None)
        plan = self._plans.pop(path, None)
        self._begin_scans(list(self._plans))
        if scan is not None:
            return scan
        return self._scan(path, **(plan or {}))

    # Writing

    def open_output_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        """Open a file for writing; it is published when it is closed without a failure."""
        return self._output(path, "wb", metadata)

    def open_append_stream(self, path: str, metadata: Any = None) -> pa.NativeFile:
        """Open a file for adding to it, where the service can."""
        fs, _ = self._resolve(path)
        if not fs.service.appends:
            raise UnsupportedError(f"the service {fs.service.scheme} cannot append to an object")
        return self._output(path, "ab", metadata)

    def _output(self, path: str, mode: str, metadata: Any) -> pa.NativeFile:
        fs, inner = self._resolve(path)
        self._forget(path)
        options = _write_options(fs, inner, metadata)
        return pa.PythonFile(fs.open(inner, mode, **options), mode="w")

    # Changing

    def create_dir(self, path: str, recursive: bool) -> None:
        """Make a directory."""
        fs, inner = self._resolve(path)
        if recursive:
            blocking.run(fs._makedirs, inner, exist_ok=True)
        else:
            blocking.run(fs._mkdir, inner, create_parents=False)

    def delete_dir(self, path: str) -> None:
        """Remove a directory and all below it."""
        fs, inner = self._resolve(path)
        if not blocking.run(fs._isdir, inner):
            raise FileNotFoundError(2, "No such directory", path)
        blocking.run(fs._rm, inner, recursive=True)
        self._forget_below(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Remove all below a directory; it stays."""
        fs, inner = self._resolve(path)
        if not inner.strip("/"):
            raise ValueError(
                "delete_dir_contents refuses the root: use delete_dir_contents(accept_root_dir=True)"
            )
        if not blocking.run(fs._isdir, inner):
            if missing_dir_ok:
                return
            raise FileNotFoundError(2, "No such directory", path)
        self._empty(fs, inner)
        blocking.run(fs._makedirs, inner, exist_ok=True)
        self._forget_below(path)

    def delete_root_dir_contents(self) -> None:
        """Remove everything."""
        if self.fs is None:
            raise UnsupportedError("a filesystem of all services has no contents to delete")
        self._empty(self.fs, self.fs.root_marker)
        self._reset()

    def _empty(self, fs: OpendalFileSystem, path: str) -> None:
        names = [info["name"] for info in blocking.run(fs._ls, path, refresh=True)]
        for name in names:
            blocking.run(fs._rm, name, recursive=True)

    def delete_file(self, path: str) -> None:
        """Remove a file."""
        fs, inner = self._resolve(path)
        blocking.run(fs._rm_file, inner)
        self._forget(path)

    def move(self, src: str, dest: str) -> None:
        """Rename a file or directory."""
        fs, source, target = self._both(src, dest)
        blocking.run(fs._mv, source, target, recursive=blocking.run(fs._isdir, source))
        self._forget_below(src)
        self._forget_below(dest)

    def copy_file(self, src: str, dest: str) -> None:
        """Copy a file."""
        fs, source, target = self._both(src, dest)
        blocking.run(fs._cp_file, source, target)
        self._forget(dest)

    def _both(self, src: str, dest: str) -> tuple[OpendalFileSystem, str, str]:
        fs, source = self._resolve(src)
        other, target = self._resolve(dest)
        if fs is not other:
            raise UnsupportedError(
                f"{os.fspath(src)!r} and {os.fspath(dest)!r} are on different services: "
                "pyarrow.fs.copy_files copies between them"
            )
        return fs, source, target


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
