"""`target`: an opendalfs URL as a source that every Polars reader and sink accepts."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from opendalfs import urls
from opendalfs.errors import redact
from opendalfs.fs.registry import from_url
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.options import FSSPEC
from opendalfs.services import Form, Service, lookup
from opendalfs_gateway import gateway

from .glob import GLOB, to_polars_glob
from .native_options import NativeBackendError, translate

__all__ = ["Backend", "Target", "is_opendalfs_url", "make_target", "parse_urls", "target"]

Backend = Literal["auto", "native", "gateway"]
Url = str | os.PathLike[str]

_SCHEME: Final = re.compile(r"^opendal(\+?)([a-z0-9_-]+):(/*)", re.I)
_SPECIAL_IN_HTTP: Final = re.compile(r"[*?\[%#]")
_SINKS: Final = "with its own store Polars may publish what a query that fails has written so far"


@dataclass(frozen=True, slots=True)
class Target:
    """The arguments of a Polars reader or sink.

    Parameters
    ----------
    source : str or list of str
        URL or path that Polars accepts.
    storage_options : dict
        Polars' storage options for it. They hold secrets, so that the repr does not show them.
    backend : {"native", "gateway"}
        Whether Polars' own store is used, or the gateway.
    reason : str
        Why the gateway is used; empty for Polars' own store.
    shown : dict of str
        Beginnings of the user's URLs, by the beginnings of those in `source`.

    Examples
    --------
    >>> target("opendal+memory://lake/a.parquet").backend
    'gateway'
    """

    source: str | list[str]
    storage_options: dict[str, Any] = field(repr=False)
    backend: Literal["native", "gateway"]
    reason: str = ""
    shown: dict[str, str] = field(default_factory=dict)

    def name(self, url: str) -> str:
        """Return the user's URL for a URL of Polars."""
        for base, shown in self.shown.items():
            if url.startswith(base):
                return shown + url[len(base) :]
        return url


def is_opendalfs_url(value: object) -> bool:
    """Whether a value is an opendalfs URL, as a string or as a path made of one."""
    if not isinstance(value, (str, os.PathLike)):
        return False
    text = os.fspath(value)
    found = _SCHEME.match(text) if isinstance(text, str) else None
    # Without a plus it may be the scheme of another library, such as "opendalx://".
    return found is not None and bool(found.group(1) or _is_service(found.group(2)))


def _is_service(name: str) -> bool:
    return urls.service_of(f"opendal{name.lower()}://") is not None


def _parse_scheme(url: Url) -> tuple[Service, str]:
    text = os.fspath(url)
    found = _SCHEME.match(text)
    if found is None:
        raise ValueError(f"not an opendalfs URL: {redact(text)!r}. Write opendal+<service>://bucket/key")
    if len(found.group(3)) < 2:
        raise ValueError(
            f"a URL needs two slashes: {redact(text)!r}. pathlib removes one: pass a str, or a "
            "universal_pathlib.UPath as str(path)"
        )
    return lookup(found.group(2)), text


def target(
    url: Url | Sequence[Url],
    storage_options: Mapping[str, Any] | None = None,
    backend: Backend = "auto",
    write: bool = False,
    glob: bool = True,
) -> Target:
    """Translate opendalfs URLs to what Polars accepts.

    Parameters
    ----------
    url : str, path-like, or sequence of these
        ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end. Several URLs must
        be of one service and one server.
    storage_options : Mapping, optional
        Options of the service, in the names of OpenDAL or of s3fs, gcsfs, adlfs or ossfs.
    backend : {"auto", "native", "gateway"}
        ``"native"``: Polars' own store, with translated options; an error if it cannot do the same.
        ``"gateway"``: an S3 server on the loopback interface, over opendalfs, for every service. ``"auto"``:
        native where it does the same, else the gateway; see `Target.backend` and `Target.reason`. Sinks use
        the gateway, because with its own store Polars may publish what a query that fails has written so far.
    write : bool
        Whether a sink will write to it; the gateway is read-only otherwise. A file is published when Polars
        completes it, even if the query fails. `sink_parquet` and its siblings wait for the query.
    glob : bool
        Whether ``*``, ``?`` and ``[`` in names are a glob, like the argument of the reader. `Target.source`
        corrects the globs that Polars' stores interpret in another way than for local files.

    Returns
    -------
    Target

    Raises
    ------
    NativeBackendError
        With ``backend="native"``, if Polars' own store cannot do the same.
    OptionError
        For an option that the service does not have. The error names the nearest one.
    ValueError
        For a URL that is not an opendalfs URL, or that no service can reach.
    UnsupportedError
        With `write`, if the service cannot write.

    Examples
    --------
    >>> import polars as pl
    >>> t = target("opendal+memory://lake/answer.csv", write=True)
    >>> pl.DataFrame({"answer": [42]}).write_csv(t.source, storage_options=t.storage_options)
    >>> pl.scan_csv(t.source, storage_options=t.storage_options).collect().item()
    42
    """
    return make_target(url, storage_options, backend, write=write, glob=glob and not write)


def make_target(
    url: Url | Sequence[Url],
    storage_options: Mapping[str, Any] | None,
    backend: Backend,
    *,
    write: bool = False,
    hold: bool = False,
    glob: bool = False,
) -> Target:
    """Do what `target` does. With `hold` the gateway publishes nothing before `Gateway.publish`."""
    if backend not in ("auto", "native", "gateway"):
        raise ValueError(f"unknown backend {backend!r}: use 'auto', 'native' or 'gateway'")
    single = isinstance(url, (str, os.PathLike))
    given = [url] if isinstance(url, (str, os.PathLike)) else list(url)
    if not given:
        raise ValueError("no URL was given: pass at least one")
    filesystem, paths = parse_urls(given, storage_options or {})
    if write:
        for path in paths:
            filesystem.locate(path)[0].require("write", "write")
    reason = "backend='gateway' was requested"
    if backend == "auto" and write:
        reason = _SINKS
    elif backend != "gateway":
        try:
            return _native_target(filesystem, paths, single, write=write, glob=glob)
        except NativeBackendError as exc:
            if backend == "native":
                exc.add_note("Pass backend='auto' or 'gateway' to send the requests through opendalfs.")
                raise
            reason = str(exc)
    server = gateway()
    roots = _roots(filesystem.service, paths)
    bases = {root: server.mount(filesystem, root, write=write, hold=hold) for root in dict.fromkeys(roots)}
    sources = [bases[root] + path[len(root) :].lstrip("/") for root, path in zip(roots, paths, strict=True)]
    shown = {base: _shown_base(filesystem, root) for root, base in bases.items()}
    if glob:
        sources = [to_polars_glob(source) for source in sources]
    return Target(sources[0] if single else sources, dict(server.storage_options), "gateway", reason, shown)


def parse_urls(given: Sequence[Url], options: Mapping[str, Any]) -> tuple[ServiceFileSystem, list[str]]:
    """Return the filesystem of some URLs, and their paths.

    Parameters
    ----------
    given : sequence of str or path-like
        URLs of one service and one server.
    options : Mapping
        Options of the service. Those that only concern fsspec are ignored.

    Returns
    -------
    ServiceFileSystem
        The filesystem of all URLs.
    list of str
        The path of each, with the slash at its end if there is one.

    Raises
    ------
    OptionError
        For an option that the service does not have.
    ValueError
        For a URL that is not an opendalfs URL, for URLs of several servers, and for a path that no service
        can reach.
    """
    services = [_parse_scheme(url) for url in given]
    service, first = services[0]
    server = urls.url_options(service, first)
    for other, text in services[1:]:
        if other is not service or urls.url_options(service, text) != server:
            raise ValueError(
                "the URLs of one scan must be of one service and one server: scan them separately"
            )
    filesystem = from_url(first, **{k: v for k, v in options.items() if k not in FSSPEC})
    paths = []
    for _, text in services:
        path = urls.strip(service, text)
        # Raises for a path that OpenDAL would take for another one.
        filesystem.locate(path)
        paths.append(f"{path}/" if text.endswith("/") and path not in ("", "/") else path)
    return filesystem, paths


def _native_target(
    filesystem: ServiceFileSystem, paths: list[str], single: bool, *, write: bool, glob: bool
) -> Target:
    split = [urls.split(filesystem.service, path) for path in paths]
    stores = {container: translate(filesystem, container, write=write) for container, _ in split}
    if filesystem.service.scheme == "http" and any(_SPECIAL_IN_HTTP.search(key) for _, key in split):
        raise NativeBackendError("over HTTP, Polars supports no globs, and no '%' and '#' in names")
    if not all(key for _, key in split):
        raise NativeBackendError("Polars reads hive partitions incorrectly from the root of a bucket")
    sources = [stores[container].base + key for container, key in split]
    if glob:
        sources = [to_polars_glob(source) for source in sources]
    options = dict(stores[split[0][0]].options)
    shown = {store.base: _shown_base(filesystem, container) for container, store in stores.items()}
    return Target(sources[0] if single else sources, options, "native", shown=shown)


def _roots(service: Service, paths: list[str]) -> list[str]:
    """Return the directory to mount for each path: its container, or the common directory on a local disk."""
    if service.form is Form.ABSOLUTE:
        folders = [GLOB.split(path)[0].rpartition("/")[0] or "/" for path in paths]
        return [posixpath.commonpath(folders)] * len(paths)
    return [urls.split(service, path)[0] for path in paths]


def _shown_base(filesystem: ServiceFileSystem, root: str) -> str:
    """Return the prefix of the user's URLs below a root."""
    url = filesystem.unstrip_protocol(root)
    return url if url.endswith("/") else f"{url}/"
