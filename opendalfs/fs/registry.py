"""Filesystems by the name of a service or by a URL, and registration of native schemes with fsspec."""

from __future__ import annotations

import weakref
from typing import Any, Final

import fsspec

from opendalfs.errors import OptionError
from opendalfs.services import lookup

from .core import OpendalFileSystem
from .service_filesystem import ServiceFileSystem
from .services import FsFileSystem

__all__ = ["filesystem", "filesystem_class", "from_source", "from_url", "register", "url_to_fs"]

_CLASSES: Final[dict[str, type[ServiceFileSystem]]] = {
    cls.scheme: cls for cls in ServiceFileSystem.__subclasses__()
}
for _cls in _CLASSES.values():
    # An instance is dropped with its last reference. Its operators have their own cache.
    _cls._cache = weakref.WeakValueDictionary()


def filesystem_class(name: str) -> type[ServiceFileSystem]:
    """Return the filesystem class of a service.

    Parameters
    ----------
    name : str
        Name of the service, as `opendalfs.services.lookup` takes it.

    Returns
    -------
    type

    Raises
    ------
    ValueError
        For an unknown name; the text names the nearest known ones.
    """
    return _CLASSES[lookup(name).scheme]


def filesystem(name: str, **options: Any) -> ServiceFileSystem:
    """Return the filesystem of a service; paths are ``container/key``, as in s3fs.

    Parameters
    ----------
    name : str
        Name of the service: ``"s3"``, ``"opendal+s3"``, or another library's name such as ``"gs"``.
    **options
        Options of the service's class; ``help(opendalfs.S3FileSystem)`` lists those of S3.

    Returns
    -------
    ServiceFileSystem

    Raises
    ------
    OptionError
        For an unknown option, naming the nearest known one.
    ValueError
        For an unknown service, naming the nearest known ones.

    Examples
    --------
    >>> filesystem("memory")
    MemoryFileSystem()
    """
    return filesystem_class(name)(**options)


def from_source(source: str | OpendalFileSystem, **options: Any) -> OpendalFileSystem:
    """Return the filesystem that an engine adapter was given, or make it.

    Parameters
    ----------
    source : str or OpendalFileSystem
        Name of a service, a URL of one (which may name a server or an account), or a filesystem.
    **options
        Options for a name or URL; a filesystem has its options already.

    Returns
    -------
    OpendalFileSystem

    Raises
    ------
    OptionError
        For options in addition to a filesystem; for a URL that names another account than the options.
    ValueError
        For a URL that names another server than the options.
    """
    if isinstance(source, OpendalFileSystem):
        if options:
            raise OptionError(
                f"{source!r} already has its options: pass {', '.join(options)} to its constructor"
            )
        return source
    return from_url(source, **options) if "://" in source else filesystem_class(source)(**options)


def from_url(url: str, **options: Any) -> ServiceFileSystem:
    """Return the filesystem that serves a URL.

    Parameters
    ----------
    url : str
        URL of any service; it may name a server or an account.
    **options
        Options of the service's class. Credentials among them are sent to the server of the URL: if URLs
        come from somebody else, pass ``endpoint`` too.

    Returns
    -------
    ServiceFileSystem

    Raises
    ------
    OptionError
        For a wrong option; for a URL that names another account than the options.
    ValueError
        For a URL that names another server than the options.
    """
    cls = filesystem_class(url.partition("://")[0])
    fs = cls(**{**cls._get_kwargs_from_urls(url), **options})
    fs.check_server(url)
    return fs


def url_to_fs(url: str, **options: Any) -> tuple[OpendalFileSystem, str]:
    """Return the filesystem of a URL and the stripped path; a bare path is local.

    Parameters
    ----------
    url : str
        Such as ``"opendal+s3://bucket/key"``.
    **options
        Options of the service that the URL names.

    Returns
    -------
    OpendalFileSystem
    str
        The stripped path.

    Raises
    ------
    OptionError, ValueError
        As `from_url` does.
    """
    fs = from_source(url, **options) if "://" in url else FsFileSystem()
    return fs, fs._strip_protocol(url)


def register(*schemes: str) -> None:
    """Register native URL schemes with fsspec: ``fsspec.open("s3://...")`` then uses this package.

    The classes' ``protocol`` then holds the scheme too, for software that reads there which URLs a filesystem
    takes. URLs that the filesystem returns keep the ``opendal+`` scheme.

    Parameters
    ----------
    *schemes : str
        Such as ``"s3"``, ``"gs"``, ``"az"``. The previous implementation of each is replaced.

    Raises
    ------
    ValueError
        For an unknown scheme.

    Examples
    --------
    >>> register("gs", "az")
    """
    for scheme in schemes:
        cls = filesystem_class(scheme)
        fsspec.register_implementation(scheme, cls, clobber=True)
        if scheme not in cls.protocol:
            cls.protocol = (*cls.protocol, scheme)
