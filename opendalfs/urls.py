"""Pure functions that translate paths and URLs to containers and keys, and back.

The paths of a filesystem
-------------------------
URLs and the engine adapters use the service classes, such as ``S3FileSystem``:

================  =================================  ==========================================
form of service   path                               URL
================  =================================  ==========================================
container         ``container/key``                  ``opendal+s3://container/key``
hub               ``datasets/owner/name@rev/key``    ``opendal+hf://datasets/owner/name@rev/key``
endpoint          ``key``                            ``opendal+webdav://host:port/key``
path              ``key``                            ``opendal+gdrive://key``
absolute          ``/folder/file``                   ``opendal+fs:///folder/file``
================  =================================  ==========================================

Paths of ``OpendalFileSystem(scheme, **options)`` are keys below the container and root of its options.
A path has no trailing slash and, except for ``fs``, no leading one; the root is ``""`` (``"/"`` for ``fs``).

Directories in object stores
----------------------------
An object store has keys, not directories. A directory exists if a key starts with its name and a slash. A
marker is such a key too: the empty object ``name/``, which mkdir writes and which is never listed as a file.
A file and a directory may have the same name; ``info`` then returns the file, and listings contain both.

Keys that cannot be reached
---------------------------
OpenDAL removes leading and repeated slashes and outer white space from a path, and HTTP clients resolve ``.``
and ``..``. A path with any of these would lead to another key, so it is an error.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from .azure import URL_HOST, is_host_of
from .errors import redact
from .services import SERVICES, Form, Service

__all__ = [
    "HUB_KINDS",
    "check_directories",
    "check_key",
    "join",
    "no_container",
    "same_server",
    "serves",
    "service_of",
    "split",
    "strip",
    "unstrip",
    "url_options",
    "url_server",
]

HUB_KINDS: Final = {"datasets": "dataset", "spaces": "space", "models": "model", "buckets": "bucket"}
"""First part of a path on the Hugging Face hub, and the kind of repository that it means."""

_USERINFO: Final = re.compile(r"(?<=://)[^/]*@")
_SPACE_BEFORE_SLASH: Final = re.compile(r"\s/")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
"""Bytes of a name that is not UTF-8, as Python writes them."""

_BY_PROTOCOL: Final = {protocol: row for row in SERVICES.values() for protocol in row.protocols}


def strip(service: Service, path: str) -> str:
    """Return the path of a URL, or a path in its canonical form.

    Parameters
    ----------
    service : Service
        The service of the path.
    path : str
        A URL under one of the service's protocols, or a path.

    Returns
    -------
    str
        Without protocol, endpoint and trailing slash.

    Raises
    ------
    ValueError
        For a URL with a key but no container, such as ``opendal+s3:///key``.

    Examples
    --------
    >>> from opendalfs.services import SERVICES
    >>> strip(SERVICES["s3"], "opendal+s3://bucket/a/b/")
    'bucket/a/b'
    >>> strip(SERVICES["webdav"], "opendal+webdav://host:80/a/b")
    'a/b'
    """
    rest, is_url = _without_protocol(service, path)
    if service.form is Form.ABSOLUTE:
        return _absolute(rest, is_url)
    if service.form is Form.ENDPOINT and is_url:
        rest = rest.partition("/")[2]
    if service.form is Form.CONTAINER and is_url and rest.startswith("/") and rest.strip("/"):
        raise ValueError(no_container(service, path))
    if service.accounts and is_url:
        rest = _without_account(rest)
    return rest.lstrip("/").rstrip("/")


def no_container(service: Service, path: str) -> str:
    """Return the error message for a path without a container."""
    container = service.container or "repository"
    example = f"{service.protocols[0]}://{service.container or 'owner/name'}/key"
    return f"{redact(path)!r} does not name a {container}: write {example!r}"


def unstrip(service: Service, path: str, endpoint: str | None = None) -> str:
    """Return the URL of a path.

    Parameters
    ----------
    service : Service
        The service of the path.
    path : str
        A path as `strip` returns it, or a URL, which is returned in its canonical form.
    endpoint : str, optional
        The server, for services whose URLs name it.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        For a URL with a key but no container.
    """
    plain = strip(service, path)
    protocol = service.protocols[0]
    if service.form is not Form.ENDPOINT:
        return f"{protocol}://{plain}"
    server = (endpoint or "").rstrip("/")
    if service.secure and server.startswith("https:"):
        protocol = service.canonical(service.secure[0])
    url = f"{protocol}://{server.partition('://')[2] or server}/{plain}"
    # A URL cannot contain a path of the endpoint, or a scheme other than the usual one.
    return url if same_server(url_server(service, url), server) else f"{protocol}:///{plain}"


def url_options(service: Service, url: str) -> dict[str, str]:
    """Return the options that a URL contains in addition to its path.

    Parameters
    ----------
    service : Service
        The service of the URL.
    url : str
        A URL, or a path, which contains none.

    Returns
    -------
    dict of str
        ``endpoint``, user and password for services whose URLs name a server. For Azure's
        ``container@account.host``, the host as ``url_host``, which `options.check` compares with the others.

    Raises
    ------
    ValueError
        For a URL with a key but no container; for a user or password that the service does not take.

    Examples
    --------
    >>> from opendalfs.services import SERVICES
    >>> url_options(SERVICES["webdav"], "opendal+webdav://host:8080/a")
    {'endpoint': 'http://host:8080'}
    """
    rest, is_url = _without_protocol(service, url)
    if not is_url:
        return {}
    authority = rest.partition("/")[0]
    if service.form is Form.CONTAINER and not authority and rest.strip("/"):
        raise ValueError(no_container(service, url))
    if service.accounts and "@" in authority:
        return {URL_HOST: authority.partition("@")[2]}
    if service.form is not Form.ENDPOINT or not authority:
        return {}
    return _endpoint_options(service, url.partition("://")[0], authority)


def _endpoint_options(service: Service, protocol: str, authority: str) -> dict[str, str]:
    scheme = "https" if service.is_secure(protocol) else service.endpoint_scheme
    parts = urlsplit(f"{scheme}://{authority}")
    options = {service.endpoint: f"{scheme}://{authority.rpartition('@')[2]}"}
    user = next((n for n in ("username", "user", "user_name") if n in service.options), None)
    for name, value in ((user, parts.username), ("password", parts.password)):
        if not value:
            continue
        if name not in service.options:
            raise ValueError(
                f"the URL contains a {name or 'user'}, which {service.scheme} does not take: remove it"
            )
        options[str(name)] = unquote(value)
    return options


def url_server(service: Service, url: str) -> str | None:
    """Return the server that a URL names; None for a path and for a URL that names none."""
    return url_options(service, url).get(service.endpoint)


def same_server(one: str | None, other: str | None) -> bool:
    """Whether two endpoints are the same, or one of them is missing."""
    return not one or not other or one.rstrip("/") == other.rstrip("/")


def serves(service: Service, endpoint: str | None, url: str) -> bool:
    """Whether a filesystem serves a URL: a path, or a URL that names no other server.

    Parameters
    ----------
    service : Service
        The service of the filesystem.
    endpoint : str or None
        The endpoint in its options.
    url : str
        A URL or a path.

    Returns
    -------
    bool
    """
    if "://" not in url:
        return True
    options = url_options(service, url)
    host, server = options.get(URL_HOST), options.get(service.endpoint)
    if host is not None:
        return endpoint is not None and is_host_of(endpoint, host)
    return server is None or (endpoint is not None and same_server(server, _USERINFO.sub("", endpoint)))


def split(service: Service, path: str) -> tuple[str, str]:
    """Return the container and the key of a path.

    Parameters
    ----------
    service : Service
        The service of the path.
    path : str
        A path as `strip` returns it.

    Returns
    -------
    container : str
        Empty for services without containers, and for the root; ``"/"`` for absolute paths.
    key : str
        OpenDAL's path; empty for the root of a container.

    Examples
    --------
    >>> from opendalfs.services import SERVICES
    >>> split(SERVICES["s3"], "bucket/a/b")
    ('bucket', 'a/b')
    >>> split(SERVICES["hf"], "datasets/owner/name@main/data/x.parquet")
    ('datasets/owner/name@main', 'data/x.parquet')
    """
    if service.form is Form.CONTAINER:
        container, _, key = path.partition("/")
        return container, key
    if service.form is Form.HUB:
        parts = path.split("/")
        depth = 3 if parts[0] in HUB_KINDS else 2
        return "/".join(parts[:depth]), "/".join(parts[depth:])
    if service.form is Form.ABSOLUTE:
        return "/", path.lstrip("/")
    return "", path


def join(service: Service, container: str, key: str) -> str:
    """Return the path of a container and key: the inverse of `split`."""
    if not container:
        return key
    if service.form is Form.ABSOLUTE:
        return container + key
    return f"{container}/{key}" if key else container


def check_key(key: str, path: str) -> str:
    """Return a key unchanged, or raise if OpenDAL would change it.

    Parameters
    ----------
    key : str
        The key for OpenDAL.
    path : str
        The path as the user wrote it, for the message.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        For outer and repeated slashes, for ``.`` and ``..`` as parts, for white space at either end, and for
        what is no UTF-8.
    """
    odd = "//" in key or key != key.strip() or key[:1] == "/" or "\0" in key
    odd = odd or (not key.isascii() and _SURROGATE.search(key) is not None)
    if odd or (("./" in key or key.endswith(".")) and _has_dots(key)):
        raise ValueError(
            f"{redact(path)!r} cannot be reached through OpenDAL: correct the path, or rename the object "
            "with other tools\nOpenDAL removes repeated slashes and outer white space, and replaces what is "
            "no UTF-8; HTTP clients resolve '.' and '..'. So it would be another key."
        )
    return key


def check_directories(key: str, path: str) -> None:
    """Raise if a directory in a key has a name that OpenDAL would change: it could not be listed.

    Parameters
    ----------
    key : str
        The key for OpenDAL, of a service that lists directory by directory.
    path : str
        The path as the user wrote it, for the message.

    Raises
    ------
    ValueError
        For white space before a slash.
    """
    if _SPACE_BEFORE_SLASH.search(key):
        raise ValueError(
            f"{redact(path)!r} has a directory whose name ends with white space: remove the white space\n"
            "OpenDAL would list it under another name, and leave out what is in it."
        )


def _has_dots(key: str) -> bool:
    return any(part in (".", "..") for part in key.split("/"))


def _without_protocol(service: Service, path: str) -> tuple[str, bool]:
    if "::" not in path and "://" not in path:
        return path, False
    for protocol in (*service.protocols, *service.native, *service.secure):
        if path.startswith(protocol):
            for mark in ("://", "::"):
                if path.startswith(mark, len(protocol)):
                    return path[len(protocol) + len(mark) :], mark == "://"
    if path.startswith(f"{service.scheme}://"):
        return path[len(service.scheme) + 3 :], True
    return path, False


def _without_account(rest: str) -> str:
    authority, slash, key = rest.partition("/")
    return authority.partition("@")[0] + slash + key


def _absolute(path: str, is_url: bool) -> str:
    if is_url or path.startswith("/"):
        whole = "/" + path.lstrip("/")
    else:
        whole = os.path.abspath(os.path.expanduser(path)) if path else "/"
    return posixpath.normpath(whole)


def service_of(url: str) -> Service | None:
    """Return the service of an ``opendal+<service>://`` URL; None for any other string."""
    protocol, mark, _ = url.partition("://")
    return _BY_PROTOCOL.get(protocol) if mark else None
