"""Resolution of pyarrow's paths and URLs: the filesystem, and the path in it."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any, Final

from opendalfs.errors import redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.registry import url_to_fs
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.options import require_server
from opendalfs.services import Form

from .file_cache import FileCache

__all__ = ["PathResolver"]

_MOST_FILESYSTEMS: Final = 64
"""Filesystems of URLs that are kept."""


class PathResolver:
    """Resolves paths of one filesystem, or URLs of any service.

    Parameters
    ----------
    fs : OpendalFileSystem or None
        The filesystem of the paths. With None each path is a URL, and a path without a scheme is local.
    options : dict
        Options for the filesystems of URLs.
    cache : FileCache
        Is told of the changes of these filesystems.
    """

    def __init__(self, fs: OpendalFileSystem | None, options: dict[str, Any], cache: FileCache) -> None:
        self._fs = fs
        self._options = options
        self._cache = cache
        # fsspec drops an instance that nobody refers to, and making one takes time.
        self._filesystems: OrderedDict[OpendalFileSystem, None] = OrderedDict()

    def resolve(self, path: str) -> tuple[OpendalFileSystem, str]:
        """Return the filesystem of a path, and the stripped path in it.

        Raises
        ------
        ValueError
            For a URL of another service or server.
        OptionError
            For a URL that names a server, with credentials and without ``endpoint``.
        """
        if self._fs is not None:
            return self._fs, _strip(self._fs, path)
        fs, _ = url_to_fs(path, **self._options)
        require_server(fs.service, self._options)
        if fs not in self._filesystems:
            self._filesystems[fs] = None
            fs.add_change_listener(self._cache)
            while len(self._filesystems) > _MOST_FILESYSTEMS:
                self._filesystems.popitem(last=False)
        return fs, _strip(fs, path)

    def full_path(self, fs: OpendalFileSystem, stripped: str) -> str:
        """Return a stripped path as pyarrow sees it: a URL unless all paths are of one filesystem."""
        return stripped if self._fs is not None else fs.unstrip_protocol(stripped)

    def normalize(self, path: str) -> str:
        """Return the one form of a path, which is also its key in the cache."""
        return self.full_path(*self.resolve(path))

    def local_path(self, path: str) -> str | None:
        """Return the path of a file on the local disk; None for other services."""
        fs, stripped = self.resolve(path)
        if fs.service.form is not Form.ABSOLUTE:
            return None
        connection, key = fs.locate(stripped)
        return os.path.join("/", connection.native.get("root", "/"), key)


def _strip(fs: OpendalFileSystem, path: str) -> str:
    stripped = str(fs._strip_protocol(path))
    if "://" not in path:
        return stripped
    fs.check_server(path)
    if "://" not in stripped:
        return stripped
    if isinstance(fs, ServiceFileSystem):
        raise ValueError(f"{redact(path)!r} is not a path of {fs!r}")
    # A URL names the whole path on the service; below the root of the options it is shorter.
    return fs.locate(path)[1]
