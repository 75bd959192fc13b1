"""Resolves the URLs of one registration to a connection and a key."""

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

__all__ = ["ANY", "Locator", "scheme_of"]

ANY: Final = "opendal"
"""Name in DuckDB of the filesystem that serves every service."""

_MOST_FILESYSTEMS: Final = 256
"""Filesystems kept, one for each server or account that URLs name."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")


def scheme_of(name: str) -> str:
    """Return the URL scheme for a name that the user chose: ``opendal+prod`` for ``prod``.

    Raises
    ------
    ValueError
        If the name cannot be part of a scheme, or is the name of a service.
    """
    plain = name.removeprefix("opendal+")
    if not _SCHEME.fullmatch(plain):
        raise ValueError(
            f"name={name!r} is not a valid URL scheme: use lower-case letters, digits, '-' and '.'"
        )
    if urls.service_of(f"opendal+{plain}://") is not None:
        raise ValueError(f"name={name!r} is the name of a service: choose another, such as '{plain}-prod'")
    return f"opendal+{plain}"


class Locator:
    """Resolves the URLs of one registration.

    Parameters
    ----------
    source : str, OpendalFileSystem or None
        A service, a URL or a filesystem; None for every service, each by its own URLs.
    name : str, optional
        Serve ``opendal+<name>://<path in the source>`` instead of the service's own URLs.
    schemes : iterable of str
        More URL schemes to serve, such as ``"s3"``.
    **options
        Options of the service, unless `source` is a filesystem.

    Attributes
    ----------
    protocols : tuple of str
        URL schemes; the first is the name that DuckDB lists.

    Raises
    ------
    OptionError
        For an unknown option.
    TypeError
        For a `source` of another type, and for options beside a filesystem.
    ValueError
        For an unknown service, and for a name or scheme that is no URL scheme.
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
            raise TypeError(f"schemes must be a tuple of str, not a str: write schemes=({schemes!r},)")
        self._options = options
        self._filesystems: OrderedDict[tuple[str, ...], OpendalFileSystem] = OrderedDict()
        self._base = ""
        self._core: OpendalFileSystem | None = None
        self.service = self._use(source)
        if name is not None and self._core is None:
            raise ValueError(f"name={name!r} needs a source: a service, a URL or a filesystem")
        extra = tuple(schemes)
        self._check_schemes(extra)
        self._own = {s for s in extra if self.service is not None and not _serves(self.service, s)}
        if name is not None:
            self._own.add(scheme_of(name))
            self.protocols: tuple[str, ...] = (scheme_of(name), *extra)
        elif self.service is not None:
            self.protocols = tuple(dict.fromkeys((*self.service.protocols, *extra)))
        else:
            every = [p for service in SERVICES.values() for p in service.protocols]
            self.protocols = tuple(dict.fromkeys((ANY, *every, *extra)))

    def _use(self, source: str | OpendalFileSystem | None) -> Service | None:
        if source is None:
            return None
        if isinstance(source, OpendalFileSystem):
            if self._options:
                raise TypeError(f"{source!r} already has its options: leave the others out")
            self._core = source
            return source.service
        if not isinstance(source, str):
            raise TypeError(
                "source must be a service's name, a URL or a filesystem of opendalfs, not "
                f"{type(source).__name__}"
            )
        scheme, mark, _ = source.partition("://")
        service = lookup(scheme)
        if mark:
            self._base = urls.strip(service, source)
        # Now, so that a wrong option raises here and not in a query.
        self._core = from_source(source, **self._options)
        return service

    def _check_schemes(self, schemes: tuple[str, ...]) -> None:
        for scheme in schemes:
            if not _SCHEME.fullmatch(scheme):
                raise ValueError(
                    f"{scheme!r} in schemes= is not a URL scheme: use lower-case letters, digits, '-' and '.'"
                )
            if self.service is None:
                lookup(scheme)

    def __repr__(self) -> str:
        return repr(self._core) if self._core is not None else "every service"

    def locate(self, url: str) -> tuple[OpendalFileSystem, Connection, str]:
        """Return the filesystem, the connection and the key of a URL.

        Parameters
        ----------
        url : str
            With a scheme of `protocols`.

        Returns
        -------
        OpendalFileSystem
        Connection
        str
            The key, without outer slashes; empty for the root.

        Raises
        ------
        ValueError
            For other URLs, and for keys that OpenDAL cannot reach.
        """
        scheme, mark, rest = url.partition("://")
        if not mark or scheme == ANY:
            raise ValueError(
                f"{redact(url)!r} does not name a service: write opendal+<service>://..., as in opendal+s3://"
            )
        fs, path = self._resolve(scheme, rest)
        connection, key = fs.locate(path)
        return fs, connection, key

    def invalidate(self, url: str) -> None:
        """Invalidate what is cached of a URL in its filesystem, which other code may use too."""
        fs, connection, key = self.locate(url)
        fs.invalidate_cache(urls.join(connection.service, connection.container, key))

    def _resolve(self, scheme: str, rest: str) -> tuple[OpendalFileSystem, str]:
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
        return self._filesystem_of(service, canonical), canonical

    def _below_base(self, core: OpendalFileSystem, rest: str) -> str:
        path = f"{self._base}/{rest}" if self._base else rest
        absolute = core.service.form is Form.ABSOLUTE and isinstance(core, ServiceFileSystem)
        return "/" + path.lstrip("/") if absolute else path

    def _filesystem_of(self, service: Service, url: str) -> OpendalFileSystem:
        """Return the filesystem for a URL that contains the server or the account."""
        options = urls.url_options(service, url)
        key = (service.scheme, *(f"{k}={v}" for k, v in sorted(options.items())))
        found = self._filesystems.get(key)
        if found is None:
            require_server(service, self._options)
            found = self._filesystems[key] = from_url(url, **self._options)
            while len(self._filesystems) > _MOST_FILESYSTEMS:
                # Another thread of DuckDB may have removed it.
                with suppress(KeyError):
                    self._filesystems.popitem(last=False)
        return found


def _serves(service: Service, scheme: str) -> bool:
    try:
        return lookup(scheme) is service
    except ValueError:
        return False
