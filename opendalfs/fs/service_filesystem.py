"""The base class of the service classes: paths are ``container/key``, and URLs name the service."""

from __future__ import annotations

import errno
import os
from typing import Any, ClassVar, Final

from fsspec.config import apply_config
from fsspec.utils import stringify_path

from opendalfs import listing, urls
from opendalfs.errors import NoContainerError, OptionError, UnsupportedError, redact
from opendalfs.listing.info import Info
from opendalfs.options import is_secret
from opendalfs.peer_options import class_options
from opendalfs.read import recorded
from opendalfs.services import SERVICES, Form, Service
from opendalfs.storage.connection import Connection

from .core import OpendalFileSystem

__all__ = ["ServiceFileSystem"]

_WINDOWS: Final = os.name == "nt"

_TYPES: Final = {"path": "str or path-like"}
_PATHS: Final = {
    Form.CONTAINER: "{container}/key",
    Form.HUB: "datasets/owner/name/key",
    Form.ENDPOINT: "key",
    Form.PATH: "key",
    Form.ABSOLUTE: "/folder/file",
}
_DOCUMENTATION: Final = """{summary}

Paths are ``{path}``; URLs are ``{url}``.

Parameters
----------
{options}
retry_timeout, retries, retry_min_delay, retry_max_delay, timeout, io_timeout, concurrency, max_concurrency
block_size, default_block_size, read_chunk, write_chunk, max_gap, hedge_reads, verify_writes
cache_dir, cache_size, cache_ttl
    As `opendalfs.Tuning` describes them.
asynchronous, loop, batch_size, use_listings_cache, listings_expiry_time, max_paths, skip_instance_cache
    As `opendalfs.OpendalFileSystem` describes them.

Raises
------
OptionError
    For an unknown option, naming the nearest known one.
"""


class ServiceFileSystem(OpendalFileSystem):
    """Base class of the service classes. One instance serves all containers of its service.

    Parameters
    ----------
    **options
        Options of the service and of `OpendalFileSystem`, without the one that names the container, which is
        the first part of each path.

    Raises
    ------
    OptionError
        For an unknown option, naming the nearest known one.
    UnsupportedError
        On Windows, for a service with absolute paths.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.MemoryFileSystem()
    >>> fs.pipe({"reports/a.csv": b"1", "reports/b.csv": b"2"})
    >>> fs.ls("opendal+memory://reports", detail=False)
    ['reports/a.csv', 'reports/b.csv']
    """

    scheme: ClassVar[str] = ""
    cachable = True
    _relative_paths = False

    def __init_subclass__(cls, scheme: str = "", **kwargs: Any) -> None:
        """Bind the class to its service, and list the options in its docstring."""
        super().__init_subclass__(**kwargs)
        if scheme:
            cls.scheme = scheme
            cls.service = SERVICES[scheme]
            cls.protocol = cls.service.protocols
            cls.root_marker = "/" if cls.service.form is Form.ABSOLUTE else ""
            cls.__doc__ = _document(cls.service, cls.__doc__ or "")

    def __init__(self, **options: Any) -> None:
        if _WINDOWS and self.service.form is Form.ABSOLUTE:
            raise UnsupportedError(
                f"{self.service.class_name} does not work on Windows: use "
                f"OpendalFileSystem({self.scheme!r}, root='C:/folder'), or fsspec's 'file'\n"
                "Its paths start with '/'."
            )
        super().__init__(self.scheme, **options)
        if self.service.form is Form.ABSOLUTE and "root" in self.native:
            raise OptionError(
                f"{self.service.class_name} takes no root=, as its paths are absolute: use "
                f"OpendalFileSystem({self.scheme!r}, root=...)"
            )

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        return urls.strip(cls.service, stringify_path(path))

    @classmethod
    def _get_kwargs_from_urls(cls, path: str) -> dict[str, str]:
        options = urls.url_options(cls.service, path)
        if cls.service.endpoint in options:
            _check_configuration(cls, options[cls.service.endpoint])
        return options

    @classmethod
    def _parent(cls, path: str) -> str:
        return cls._strip_protocol(path).rpartition("/")[0] or cls.root_marker

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL of a path; with the same options, the URL leads to the same file."""
        return urls.unstrip(self.service, name, self.endpoint)

    def _split_path(self, path: str) -> tuple[str, str]:
        return urls.split(self.service, path)

    def locate(self, path: str) -> tuple[Connection, str]:
        """Return the connection and the key of a path, as `Reader` and `Writer` take them.

        Raises
        ------
        UnsupportedError
            For the root of all containers, which OpenDAL cannot list; for a URL with a query.
        ValueError
            For a path that OpenDAL would change; for a URL of another server.
        """
        if self.service.form in (Form.CONTAINER, Form.HUB) and not self._strip_protocol(path):
            kind = f"{self.service.container}s" if self.service.container else "repositories"
            raise UnsupportedError(
                f"{urls.no_container(self.service, stringify_path(path))} "
                f"(OpenDAL cannot list the {kind} of {self.service.scheme})"
            )
        return super().locate(path)

    async def _isdir(self, path: str, refresh: bool = False) -> bool:
        return not self._strip_protocol(path) or await super()._isdir(path, refresh)

    async def _root_info(self, connection: Connection, path: str, refresh: bool) -> Info:
        known = not refresh and recorded.recorded_stat(connection, "/") is not None
        if connection.container and connection.can("list") and not known:
            started = recorded.begin(connection)
            try:
                await connection.holds_any("/")
            except NoContainerError as exc:
                if self.service.form is not Form.CONTAINER:
                    raise
                name = self.service.container
                text = (
                    f"No such {name}: create it with the service's own tools, or write '{name}/key' if "
                    f"{redact(path)!r} is meant to be a key ({connection.where})"
                )
                raise NoContainerError(errno.ENOENT, text, redact(path)) from exc.__cause__
            recorded.keep_directory(connection, "", started)
        return listing.directory_info(path)


def _check_configuration(cls: type[ServiceFileSystem], server: str) -> None:
    """Raise if credentials in fsspec's configuration would go to another server, named by a URL.

    fsspec merges its configuration (files, and ``FSSPEC_*`` variables) into the options of each instance.
    After that, they cannot be told apart from options that the caller has passed along with the URL.
    """
    configured = apply_config(cls, {})
    endpoint = configured.get(cls.service.endpoint)
    secret = next((name for name in configured if is_secret(cls.service.peers.get(name, name))), None)
    if secret is not None and not urls.same_server(endpoint or "none", server):
        raise OptionError(
            f"the URL names the server {server}, but {secret} in fsspec's configuration is for "
            f"{redact(str(endpoint or 'no server'))}: set {cls.service.endpoint} there too, or remove "
            f"{secret}"
        )


def _document(service: Service, summary: str) -> str:
    """Return the docstring of a service's class, which lists its options."""
    types = class_options(service)
    names = {name: name for name in sorted(types)}
    for peer, name in service.peers.items():
        if name in names:
            names[name] += f", {peer}"
    options = [f"{names[name]} : {_TYPES.get(types[name], types[name])}" for name in names]
    path = _PATHS[service.form].format(container=service.container)
    host = "host/" if service.form is Form.ENDPOINT else ""
    return _DOCUMENTATION.format(
        summary=summary,
        path=path,
        url=f"{service.protocols[0]}://{host}{path}",
        options="\n".join(options),
    )
