"""`target`: a URL of any service as a source that every Polars reader and sink takes."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from opendalfs import urls as paths
from opendalfs.errors import redact
from opendalfs.fs.registry import from_url
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.options import FSSPEC
from opendalfs.services import Form, Service, lookup
from opendalfs_gateway.server import gateway

from .glob import GLOB, translated
from .native_options import NativeBackendError, translate

__all__ = ["Backend", "Target", "is_ours", "place_of", "resolve", "target"]

Backend = Literal["auto", "native", "gateway"]
Url = str | os.PathLike[str]

_OURS: Final = re.compile(r"^opendal(\+?)([a-z0-9_-]+):(/*)", re.I)
_IN_HTTP: Final = re.compile(r"[*?\[%#]")


@dataclass(frozen=True, slots=True)
class Target:
    """What to hand to a Polars reader or sink.

    Parameters
    ----------
    source : str or list of str
        URL or path that Polars understands.
    storage_options : dict
        What Polars needs for it. It holds secrets, so no repr shows it.
    backend : {"native", "gateway"}
        Whether Polars' own store serves it, or the gateway.
    reason : str
        Why it is the gateway; empty for the native store.
    shown : dict of str
        What the user's URLs begin with, by what those in `source` begin with.

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
        """Give the user's URL of what Polars calls so."""
        for base, shown in self.shown.items():
            if url.startswith(base):
                return shown + url[len(base) :]
        return url


def is_ours(value: object) -> bool:
    """Tell whether a value is a URL, or a path made of one, that names storage as opendalfs does."""
    if not isinstance(value, (str, os.PathLike)):
        return False
    text = os.fspath(value)
    found = _OURS.match(text) if isinstance(text, str) else None
    # Without a plus it may be another library's scheme, as in "opendalx://".
    return found is not None and bool(found.group(1) or _known(found.group(2)))


def _known(name: str) -> bool:
    return paths.service_of(f"opendal{name.lower()}://") is not None


def _service(url: Url) -> tuple[Service, str]:
    text = os.fspath(url)
    found = _OURS.match(text)
    if found is None:
        raise ValueError(f"{redact(text)!r} is no URL of opendalfs: those are like 'opendal+s3://bucket/key'")
    if len(found.group(3)) < 2:
        raise ValueError(
            f"{redact(text)!r} has not the two slashes of a URL, of which pathlib leaves one. Polars would "
            "take it for a local folder: pass a str, or a universal_pathlib.UPath as str(path)"
        )
    return lookup(found.group(2)), text


def target(
    url: Url | Sequence[Url],
    storage_options: Mapping[str, Any] | None = None,
    backend: Backend = "auto",
    write: bool = False,
    glob: bool = True,
) -> Target:
    """Make a URL of any service, or several, into what Polars understands.

    Parameters
    ----------
    url : str, path-like, or sequence of these
        ``opendal+<service>://...``: a file, a glob, or a directory with a slash at its end. Several must be
        of one service and one server.
    storage_options : Mapping, optional
        Options of the service, in the names of OpenDAL or of s3fs, gcsfs, adlfs or ossfs.
    backend : {"auto", "native", "gateway"}
        ``"native"``: Polars' own store, with the options translated; refused where anything would be lost.
        ``"gateway"``: an S3 server on the loopback over opendalfs, for every service.
        ``"auto"``: native where nothing is lost, else the gateway; `Target.backend` and `Target.reason` tell.
        Sinks go through the gateway, as with its own store Polars may publish what a query that fails has
        written so far.
    write : bool
        Whether a sink will write there; a gateway is read-only otherwise. What Polars completes is published
        then, though its query may have failed; `sink_parquet` and its siblings wait for the query.
    glob : bool
        Whether ``*``, ``?`` and ``[`` in names are a glob, as the reader takes them. What Polars' stores get
        wrong in globs is mended in `Target.source`.

    Returns
    -------
    Target

    Raises
    ------
    NativeBackendError
        With ``backend="native"`` when anything would be lost; a ValueError that says what.
    OptionError
        For an option that the service does not have, naming the nearest one.
    ValueError
        For a URL that is none of ours, or that no service can reach.

    Examples
    --------
    >>> import polars as pl
    >>> t = target("opendal+memory://lake/answer.csv", write=True)
    >>> pl.DataFrame({"answer": [42]}).write_csv(t.source, storage_options=t.storage_options)
    >>> pl.scan_csv(t.source, storage_options=t.storage_options).collect().item()
    42
    """
    return resolve(url, storage_options, backend, write=write, glob=glob and not write)


def resolve(
    url: Url | Sequence[Url],
    storage_options: Mapping[str, Any] | None,
    backend: Backend,
    *,
    write: bool = False,
    hold: bool = False,
    glob: bool = False,
) -> Target:
    """Do what `target` does; with `hold` the gateway publishes nothing before it is told to."""
    if backend not in ("auto", "native", "gateway"):
        raise ValueError(f"backend is 'auto', 'native' or 'gateway', not {backend!r}")
    single = isinstance(url, (str, os.PathLike))
    urls = [url] if isinstance(url, (str, os.PathLike)) else list(url)
    if not urls:
        raise ValueError("no URL is given")
    place, found = place_of(urls, storage_options or {})
    if write:
        for path in found:
            place.locate(path)[0].require("write", "write")
    reason = "the gateway was asked for"
    if backend == "auto" and write:
        reason = "with its own store Polars may publish what a query that fails has written so far"
    elif backend != "gateway":
        try:
            return _native(place, found, single, write=write, glob=glob)
        except NativeBackendError as exc:
            if backend == "native":
                raise
            reason = str(exc)
    server = gateway()
    roots = _roots(place.service, found)
    bases = {root: server.mount(place, root, write=write, hold=hold) for root in dict.fromkeys(roots)}
    sources = [bases[root] + path[len(root) :].lstrip("/") for root, path in zip(roots, found, strict=True)]
    shown = {base: _shown(place, root) for root, base in bases.items()}
    if glob:
        sources = [translated(source) for source in sources]
    return Target(sources[0] if single else sources, dict(server.storage_options), "gateway", reason, shown)


def place_of(urls: Sequence[Url], options: Mapping[str, Any]) -> tuple[ServiceFileSystem, list[str]]:
    """Find what URLs name.

    Parameters
    ----------
    urls : sequence of str or path-like
        Of one service and one server.
    options : Mapping
        Of the service; those that only fsspec has a use for are left out.

    Returns
    -------
    ServiceFileSystem
        The filesystem that all are of.
    list of str
        The path of each, a slash at its end kept.
    """
    services = [_service(url) for url in urls]
    service = services[0][0]
    told = paths.url_options(service, services[0][1])
    for other, text in services[1:]:
        if other is not service or paths.url_options(service, text) != told:
            raise ValueError("several URLs of one scan are of one service and one server")
    given = {k: v for k, v in options.items() if k not in FSSPEC}
    place = from_url(services[0][1], **given)
    found = []
    for _, text in services:
        path = paths.strip(service, text)
        # Here a path that OpenDAL would take for another one is refused.
        place.locate(path)
        found.append(f"{path}/" if text.endswith("/") and path not in ("", "/") else path)
    return place, found


def _native(place: ServiceFileSystem, found: list[str], single: bool, *, write: bool, glob: bool) -> Target:
    cuts = [paths.split(place.service, path) for path in found]
    stores = {container: translate(place, container, write=write) for container, _ in cuts}
    if place.service.scheme == "http" and any(_IN_HTTP.search(key) for _, key in cuts):
        raise NativeBackendError("over HTTP Polars takes no globs, and '%' and '#' for parts of the URL")
    if not all(key for _, key in cuts):
        raise NativeBackendError("Polars reads hive partitions wrongly from the root of a bucket")
    sources = [stores[container].base + key for container, key in cuts]
    if glob:
        sources = [translated(source) for source in sources]
    options = dict(stores[cuts[0][0]].options)
    shown = {store.base: _shown(place, container) for container, store in stores.items()}
    return Target(sources[0] if single else sources, options, "native", shown=shown)


def _roots(service: Service, found: list[str]) -> list[str]:
    """Give the directory to mount for each path: its container; of a disk as little as will do."""
    if service.form is Form.ABSOLUTE:
        folders = [GLOB.split(path)[0].rpartition("/")[0] or "/" for path in found]
        return [posixpath.commonpath(folders)] * len(found)
    return [paths.split(service, path)[0] for path in found]


def _shown(place: ServiceFileSystem, root: str) -> str:
    """Give what a URL of the user's begins with where Polars sees the root."""
    url = place.unstrip_protocol(root)
    return url if url.endswith("/") else f"{url}/"
