"""One table, a row per OpenDAL service: how its URLs read and what its options are called.

Everything that differs between services and is not a capability stands here, so that no other module
has to compare scheme names.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

import opendal.config

__all__ = ["SERVICES", "Form", "Home", "Service", "lookup"]


class Form(Enum):
    """What the first part of a service's URL means."""

    CONTAINER = "container"
    """``opendal+s3://container/key``: a bucket, container or share; one filesystem serves many."""
    HUB = "hub"
    """``opendal+hf://datasets/owner/name@revision/key``: a repository takes the container's place."""
    ENDPOINT = "endpoint"
    """``opendal+webdav://host:port/key``: the server."""
    PATH = "path"
    """``opendal+gdrive://folder/key``: no authority, all of it is the path."""
    ABSOLUTE = "absolute"
    """``opendal+fs:///folder/file``: an absolute local path."""


class Home(Enum):
    """Where the bytes live, which decides on retries, timeouts and the price of a stat."""

    REMOTE = "remote"
    DISK = "disk"
    PROCESS = "process"


_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Service:
    """One OpenDAL service as this package sees it.

    Parameters
    ----------
    scheme : str
        OpenDAL's name, such as ``"s3"`` or ``"hdfs-native"``.
    form : Form
        What the first part of a URL means.
    container : str, optional
        The option that names the container, such as ``"bucket"``.
    container_id : str, optional
        An option that every container has a value of its own for, such as ``"bucket_id"``.
    home : Home
        Where the bytes live.
    native : tuple of str
        Schemes other libraries use for it, such as ``"s3a"``; accepted by `lookup`.
    peers : Mapping
        Option names of s3fs, gcsfs, adlfs or ossfs and the OpenDAL option each stands for.
    endpoint_scheme : str, optional
        Scheme put before a host taken from a URL.
    default_endpoint : str, optional
        Used when no endpoint is given; may hold ``{account_name}``.
    url_name : str, optional
        Name in the URL scheme without ``+``; by default `scheme`.
    secure : tuple of str
        Names in URLs that mean HTTPS, where the service's own name means HTTP.
    accounts : bool
        Whether a URL may name the account: ``container@account.host``.
    queries : bool
        Whether a ``?`` in a URL begins a query, which OpenDAL would send as a part of the name.
    appends : bool
        Whether OpenDAL's append flag really appends. The capability flag does not tell: on S3 it
        replaces the object.
    utf8_containers : bool
        Whether names of containers may hold letters beyond ASCII.
    cancels : bool
        Whether a request may be dropped before its answer has come. Where the wheel then puts the connection
        back into its pool, the next request reads the answer to the one before: another key's bytes.
    silent : bool
        Whether its client tries to connect again and again until the timeout, and hides why it cannot.
    """

    scheme: str
    form: Form = Form.PATH
    container: str | None = None
    container_id: str | None = None
    home: Home = Home.REMOTE
    native: tuple[str, ...] = ()
    peers: Mapping[str, str] = field(default_factory=lambda: _NONE)
    endpoint_scheme: str | None = None
    default_endpoint: str | None = None
    url_name: str | None = None
    secure: tuple[str, ...] = ()
    accounts: bool = False
    queries: bool = False
    appends: bool = False
    utf8_containers: bool = False
    cancels: bool = True
    silent: bool = False

    @property
    def class_name(self) -> str:
        """Name of the filesystem class, such as ``"HdfsNativeFileSystem"``."""
        return "".join(word.capitalize() for word in self.scheme.split("-")) + "FileSystem"

    @property
    def protocols(self) -> tuple[str, ...]:
        """URL schemes, the canonical one first; the ones without ``+`` are for UPath and xarray."""
        with_plus = (self.scheme, *self.secure[:1])
        without_plus = (self.url_name or self.scheme, *self.secure[:1])
        return tuple(f"opendal+{n}" for n in with_plus) + tuple(f"opendal{n}" for n in without_plus)

    def is_secure(self, protocol: str) -> bool:
        """Whether a URL scheme, ours or another library's, means HTTPS beside one that means HTTP."""
        return protocol.removeprefix("opendal").removeprefix("+") in self.secure

    def canonical(self, protocol: str) -> str:
        """Return the canonical URL scheme that means the same as another one of this service."""
        return f"opendal+{self.secure[0] if self.is_secure(protocol) else self.scheme}"

    @property
    def endpoint(self) -> str:
        """Name of the option that says which server."""
        return "name_node" if "name_node" in self.options else "endpoint"

    @property
    def options(self) -> Mapping[str, str]:
        """Names of OpenDAL's options for this service, and the type of each."""
        return _config_options(self.scheme)


_AZURE: Final[Mapping[str, str]] = MappingProxyType({"anon": "skip_signature"})
_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "username": "access_key_id",
        "password": "secret_access_key",
        "token": "session_token",
        "anon": "skip_signature",
        "endpoint_url": "endpoint",
        "region_name": "region",
        "requester_pays": "enable_request_payer",
        "version_aware": "enable_versioning",
        "role": "role_arn",
    }
)
_OSS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "key": "access_key_id",
        "secret": "access_key_secret",
        "token": "security_token",
        "anon": "skip_signature",
        "endpoint_url": "endpoint",
    }
)
_CONTAINER: Final = Form.CONTAINER
_ENDPOINT: Final = Form.ENDPOINT

_ROWS: Final[tuple[Service, ...]] = (
    Service("aliyun-drive"),
    Service("alluxio", _ENDPOINT, endpoint_scheme="http"),
    Service(
        "azblob",
        _CONTAINER,
        "container",
        native=("az", "wasb", "wasbs"),
        peers=_AZURE,
        default_endpoint="https://{account_name}.blob.core.windows.net",
        accounts=True,
    ),
    Service(
        "azdls",
        _CONTAINER,
        "filesystem",
        native=("abfs", "abfss", "adl"),
        default_endpoint="https://{account_name}.dfs.core.windows.net",
        accounts=True,
    ),
    Service(
        "azfile",
        _CONTAINER,
        "share_name",
        default_endpoint="https://{account_name}.file.core.windows.net",
        accounts=True,
    ),
    Service("b2", _CONTAINER, "bucket", "bucket_id"),
    Service("cacache", home=Home.DISK),
    Service("cos", _CONTAINER, "bucket", native=("cosn",)),
    Service("dashmap", home=Home.PROCESS),
    Service("dropbox"),
    # opendalfs:// would read as the package's own scheme.
    Service("fs", Form.ABSOLUTE, home=Home.DISK, native=("file", "local"), url_name="local", appends=True),
    Service(
        "ftp",
        _ENDPOINT,
        endpoint_scheme="ftp",
        peers=MappingProxyType({"username": "user"}),
        cancels=False,
    ),
    Service(
        "gcs",
        _CONTAINER,
        "bucket",
        native=("gs",),
        peers=MappingProxyType({"endpoint_url": "endpoint", "anon": "skip_signature"}),
    ),
    Service("gcs-grpc", _CONTAINER, "bucket"),
    Service("gdrive"),
    Service("ghac"),
    Service("gridfs", cancels=False),
    Service("hdfs-native", _ENDPOINT, endpoint_scheme="hdfs", native=("hdfs",), appends=True),
    Service("hf", Form.HUB, native=("huggingface",)),
    Service("http", _ENDPOINT, endpoint_scheme="http", secure=("https",), queries=True),
    Service("ipfs", _ENDPOINT, endpoint_scheme="https"),
    Service("ipmfs", _ENDPOINT, endpoint_scheme="http"),
    Service("koofr", _ENDPOINT, endpoint_scheme="https"),
    Service("memcached", _ENDPOINT, endpoint_scheme="tcp", cancels=False),
    Service("memory", home=Home.PROCESS),
    Service("mini-moka", home=Home.PROCESS),
    Service("moka", home=Home.PROCESS),
    Service("mongodb", cancels=False),
    Service("mysql", cancels=False, silent=True),
    Service("obs", _CONTAINER, "bucket"),
    Service("onedrive"),
    Service("oss", _CONTAINER, "bucket", peers=_OSS),
    Service("persy", home=Home.DISK),
    Service("postgresql", native=("postgres",), cancels=False, silent=True),
    Service("redb", home=Home.DISK),
    Service("redis", _ENDPOINT, endpoint_scheme="redis", cancels=False, silent=True),
    Service("s3", _CONTAINER, "bucket", native=("s3a", "s3n", "r2"), peers=_KEYS),
    Service("seafile", _ENDPOINT, endpoint_scheme="https"),
    Service("sled", home=Home.DISK),
    Service("sqlite", home=Home.DISK),
    Service("swift", _CONTAINER, "container", utf8_containers=True),
    Service("tos", _CONTAINER, "bucket"),
    Service("upyun", _CONTAINER, "bucket"),
    Service("vercel-artifacts"),
    Service("webdav", _ENDPOINT, endpoint_scheme="http", native=("dav",), secure=("webdavs", "davs")),
    Service("webhdfs", _ENDPOINT, endpoint_scheme="http", appends=True),
    Service("yandex-disk"),
)

SERVICES: Final[Mapping[str, Service]] = MappingProxyType({row.scheme: row for row in _ROWS})
"""Every service of the ``opendal`` wheel, by OpenDAL's name."""

_NATIVE: Final[Mapping[str, str]] = MappingProxyType(
    {alias: row.scheme for row in _ROWS for alias in (*row.native, *row.secure)}
)


_S3: Final = "it speaks S3, so use 's3' with endpoint_url='https://...'"
_AZURES: Final = "use 'azblob' (Blob Storage), 'azdls' (Data Lake) or 'azfile' (Files)"
_PRODUCTS: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(
        ("ceph", "cloudflare", "digitalocean", "garage", "minio", "rustfs", "seaweedfs", "wasabi"), _S3
    )
    | dict.fromkeys(("azure", "azure-blob", "azure-storage", "microsoft"), _AZURES)
    | dict.fromkeys(("gcp", "google", "google-cloud-storage"), "use 'gcs'")
    | dict.fromkeys(("alibaba", "aliyun"), "use 'oss' for object storage, 'aliyun-drive' for the drive")
    | dict.fromkeys(
        ("nextcloud", "owncloud"), "it speaks WebDAV, so use 'webdav' with endpoint='https://...'"
    )
    | dict.fromkeys(
        ("cloudflare-kv", "sftp", "vercel-blob"), "the opendal package for Python is built without it"
    )
    | dict.fromkeys(("smb", "ssh"), "OpenDAL does not speak it; fsspec does")
    | {
        "amazon": "use 's3'",
        "aws": "use 's3'",
        "backblaze": "use 'b2'",
        "huawei": "use 'obs'",
        "tencent": "use 'cos'",
        "volcengine": "use 'tos'",
        "hadoop": "use 'hdfs-native', or 'webhdfs' over HTTP",
    }
)
"""Names of products, vendors and protocols that people try, and what to write instead."""


def lookup(name: str) -> Service:
    """Find a service by any name it goes by.

    Parameters
    ----------
    name : str
        OpenDAL's name (``"s3"``), ours (``"opendal+s3"``, ``"opendals3"``), one of other libraries
        (``"s3a"``, ``"gs"``, ``"abfss"``), or any of these with ``_`` for ``-``.

    Returns
    -------
    Service

    Raises
    ------
    ValueError
        If no service has that name. The first line says what to write instead, where that is known; the
        second lists the services.

    Examples
    --------
    >>> lookup("opendal+s3").scheme
    's3'
    >>> lookup("gs").scheme
    'gcs'
    """
    plain = name.lower().replace("_", "-")
    if plain == "opendalfs":
        raise ValueError(
            "'opendalfs' is this package, not a service: write opendal+fs:// for the local disk, or "
            "opendal+s3:// for S3"
        )
    for prefix in ("opendal+", "opendal"):
        if plain.startswith(prefix):
            plain = plain[len(prefix) :]
            break
    found = SERVICES.get(_NATIVE.get(plain, plain))
    if found is not None:
        return found
    raise ValueError(f"{_unknown(name, plain)}\nThe services are: {', '.join(SERVICES)}.")


def _unknown(name: str, plain: str) -> str:
    """Return one line that says what to write instead of a name that no service has."""
    if plain in ("", "://"):
        return (
            f"{name!r} names no service: write it as in opendal+s3://bucket/key, or pass it as in scheme='s3'"
        )
    if plain in _PRODUCTS:
        return f"no OpenDAL service is called {name!r}: {_PRODUCTS[plain]}"
    near = difflib.get_close_matches(plain, [*SERVICES, *_NATIVE], n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"no OpenDAL service is called {name!r}.{hint}"


@functools.cache
def _config_options(scheme: str) -> Mapping[str, str]:
    """Read a service's options off the wheel's own TypedDict, so that they cannot drift."""
    name = "".join(word.capitalize() for word in scheme.split("-")) + "Config"
    annotations = getattr(opendal.config, name).__annotations__
    return MappingProxyType(
        {option: _option_type(kind) for option, kind in annotations.items() if option != "scheme"}
    )


def _option_type(annotation: object) -> str:
    text = getattr(annotation, "__forward_arg__", None) or str(annotation)
    found = re.search(r"Required\[(.*)\]", text)
    kind = found.group(1) if found else text
    return "path" if "PathLike" in kind else kind
