"""What the URLs of one registration mean: from a URL to a connection and a key."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from opendalfs import urls
from opendalfs.errors import redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.registry import from_source, from_url
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.options import require_server
from opendalfs.services import SERVICES, Form, Service, lookup
from opendalfs.storage.connection import Connection

__all__ = ["ANY", "Source", "scheme_of"]

ANY: Final = "opendal"
"""Name in DuckDB of the filesystem that serves every service."""

_MOST_FILESYSTEMS: Final = 256
"""Servers and accounts named by URLs whose filesystems are kept; another one is made again."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")


def scheme_of(name: str) -> str:
    """Give the URL scheme for a name of the user's: ``prod`` makes ``opendal+prod``.

    Raises
    ------
    ValueError
        When it makes no scheme, or is a service's.
    """
    plain = name.removeprefix("opendal+")
    if not _SCHEME.fullmatch(plain):
        raise ValueError(f"name={name!r} makes no URL scheme: use lower-case letters, digits, '-', '.'")
    if urls.service_of(f"opendal+{plain}://") is not None:
        raise ValueError(f"name={name!r} is a service's own name: choose another, such as '{plain}-prod'")
    return f"opendal+{plain}"


class Source:
    """What the URLs of one registration mean.

    Parameters
    ----------
    source : str, OpendalFileSystem or None
        A service, a URL, a filesystem; None for every service, each by its own URLs.
    name : str, optional
        Serve ``opendal+<name>://<path in the source>`` instead of the service's own URLs.
    schemes : iterable of str
        URL schemes to serve besides, such as ``"s3"``.
    **options
        For the service, where `source` is no filesystem.

    Attributes
    ----------
    protocols : tuple of str
        URL schemes, first the name that DuckDB lists.
    """

    def __init__(
        self,
        source: str | OpendalFileSystem | None = None,
        *,
        name: str | None = None,
        schemes: Iterable[str] = (),
        **options: Any,
    ) -> None:
        if isinstance(schemes, str):
            raise TypeError(f"schemes is a tuple of str: ({schemes!r},)")
        self._options = options
        self._filesystems: OrderedDict[tuple[str, ...], OpendalFileSystem] = OrderedDict()
        self._base = ""
        self._core: OpendalFileSystem | None = None
        self.service = self._take(source)
        if name is not None and self._core is None:
            raise ValueError(f"name={name!r} needs a source: a service, a URL or a filesystem")
        extra = tuple(schemes)
        self._check(extra)
        self._own = {s for s in extra if self.service is not None and not _serves(self.service, s)}
        if name is not None:
            self._own.add(scheme_of(name))
            self.protocols: tuple[str, ...] = (scheme_of(name), *extra)
        elif self.service is not None:
            self.protocols = tuple(dict.fromkeys((*self.service.protocols, *extra)))
        else:
            every = [p for service in SERVICES.values() for p in service.protocols]
            self.protocols = tuple(dict.fromkeys((ANY, *every, *extra)))

    def _take(self, source: str | OpendalFileSystem | None) -> Service | None:
        if source is None:
            return None
        if isinstance(source, OpendalFileSystem):
            if self._options:
                raise TypeError(f"options go with a service's name; {source!r} has its own")
            self._core = source
            return source.service
        if not isinstance(source, str):
            raise TypeError(
                f"source is a service's name, a URL or a filesystem of opendalfs, not {type(source).__name__}"
            )
        scheme, mark, _ = source.partition("://")
        service = lookup(scheme)
        if mark:
            self._base = urls.strip(service, source)
        # Made now, so that a wrong option is told now.
        self._core = from_source(source, **self._options)
        return service

    def _check(self, schemes: tuple[str, ...]) -> None:
        for scheme in schemes:
            if not _SCHEME.fullmatch(scheme):
                raise ValueError(f"{scheme!r} in schemes is no URL scheme")
            if self.service is None:
                lookup(scheme)

    def __repr__(self) -> str:
        return repr(self._core) if self._core is not None else "every service"

    def locate(self, url: str) -> tuple[OpendalFileSystem, Connection, str]:
        """Find what a URL means.

        Parameters
        ----------
        url : str
            Under one of `protocols`.

        Returns
        -------
        OpendalFileSystem
            Which serves it.
        Connection
        str
            The key, without outer slashes; empty for the root.

        Raises
        ------
        ValueError
            For what is no such URL, and for keys that OpenDAL cannot reach.
        """
        scheme, mark, rest = url.partition("://")
        if not mark or scheme == ANY:
            raise ValueError(
                f"{redact(url)!r} names no service: write opendal+<service>://..., as in opendal+s3://"
            )
        fs, path = self._path(scheme, rest, url)
        connection, key = fs.locate(path)
        return fs, connection, key

    def _path(self, scheme: str, rest: str, url: str) -> tuple[OpendalFileSystem, str]:
        core = self._core
        if core is not None and scheme in self._own:
            return core, self._below_base(core, rest)
        service = self.service or lookup(scheme)
        canonical = f"{service.canonical(scheme)}://{rest}"
        if core is not None and not isinstance(core, ServiceFileSystem):
            return core, canonical
        names_server = service.form is Form.ENDPOINT or service.accounts
        if core is not None and (core.endpoint or not names_server):
            return core, canonical
        return self._by_url(service, canonical), canonical

    def _below_base(self, core: OpendalFileSystem, rest: str) -> str:
        path = f"{self._base}/{rest}" if self._base else rest
        absolute = core.service.form is Form.ABSOLUTE and isinstance(core, ServiceFileSystem)
        return "/" + path.lstrip("/") if absolute else path

    def _by_url(self, service: Service, url: str) -> OpendalFileSystem:
        """Give the filesystem for a URL that itself tells the server or the account."""
        told = urls.url_options(service, url)
        key = (service.scheme, *(f"{k}={v}" for k, v in sorted(told.items())))
        found = self._filesystems.get(key)
        if found is None:
            require_server(service, self._options)
            found = self._filesystems[key] = from_url(url, **self._options)
            while len(self._filesystems) > _MOST_FILESYSTEMS:
                # Another thread of DuckDB's may remove the last one too many here.
                with suppress(KeyError):
                    self._filesystems.popitem(last=False)
        return found


def _serves(service: Service, scheme: str) -> bool:
    try:
        return lookup(scheme) is service
    except ValueError:
        return False
