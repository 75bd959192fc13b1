"""The table of services: a row for each, with the form of its URLs and the names of its options.

Whatever differs between services and is not a capability of OpenDAL's is here, so that other modules need not
compare names of services.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

import opendal.config

__all__ = ["SERVICES", "Form", "Locality", "Service", "lookup"]


class Form(Enum):
    """The meaning of the first part of a service's URL."""

    CONTAINER = "container"
    """``opendal+s3://container/key``: a bucket, container or share; one filesystem serves all of them."""
    HUB = "hub"
    """``opendal+hf://datasets/owner/name@revision/key``: a repository instead of a container."""
    ENDPOINT = "endpoint"
    """``opendal+webdav://host:port/key``: the server."""
    PATH = "path"
    """``opendal+gdrive://folder/key``: the URL has no authority, only a path."""
    ABSOLUTE = "absolute"
    """``opendal+fs:///folder/file``: an absolute local path."""


class Locality(Enum):
    """Where the data is, which decides on retries and timeouts, and whether a stat is cheap."""

    REMOTE = "remote"
    DISK = "disk"
    PROCESS = "process"


_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Service:
    """A service of OpenDAL.

    Parameters
    ----------
    scheme : str
        OpenDAL's name, such as ``"s3"`` or ``"hdfs-native"``.
    form : Form
        The meaning of the first part of a URL.
    container : str, optional
        The option that names the container, such as ``"bucket"``.
    container_id : str, optional
        An option that has its own value for each container, such as ``"bucket_id"``.
    locality : Locality
        Where the data is.
    native : tuple of str
        URL schemes of other libraries for it, such as ``"s3a"``; `lookup` accepts them.
    peers : Mapping
        Option names of s3fs, gcsfs, adlfs or ossfs, and OpenDAL's name for each.
    endpoint_scheme : str, optional
        Scheme of the endpoint if a URL names a host.
    default_endpoint : str, optional
        Endpoint if no option names one; may contain ``{account_name}``.
    url_name : str, optional
        Name in the URL scheme without ``+``; by default `scheme`.
    secure : tuple of str
        Names in URLs that mean HTTPS if the service's own name means HTTP.
    accounts : bool
        Whether a URL may name the account: ``container@account.host``.
    queries : bool
        Whether a ``?`` in a URL begins a query, which OpenDAL would send as a part of the name.
    appends : bool
        Whether OpenDAL's append flag appends. The capability flag does not say so: on S3 it replaces the
        object.
    utf8_containers : bool
        Whether names of containers may contain letters beyond ASCII.
    cancels : bool
        Whether a request may be cancelled before its response has come. For some services the wheel then
        returns the connection to its pool, and the next request reads the response of the one before: the
        bytes of another key.
    silent : bool
        Whether its client retries to connect until the timeout, and hides why it cannot.
    whole_values : bool
        Whether OpenDAL receives the whole value for any range of it, and returns the range.
    copies_later : bool
        Whether the server may copy after it has responded. The target is empty until then, and OpenDAL does
        not show it.
    signs : bool
        Whether a URL that OpenDAL signs allows one method for one file. The capability flags do not say so.
    signs_instead : str
        What signs URLs of a service for which OpenDAL does not, for the error.
    """

    scheme: str
    form: Form = Form.PATH
    container: str | None = None
    container_id: str | None = None
    locality: Locality = Locality.REMOTE
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
    whole_values: bool = False
    copies_later: bool = False
    signs: bool = False
    signs_instead: str = ""

    @property
    def class_name(self) -> str:
        """Name of the filesystem class, such as ``"HdfsNativeFileSystem"``."""
        return "".join(word.capitalize() for word in self.scheme.split("-")) + "FileSystem"

    @property
    def protocols(self) -> tuple[str, ...]:
        """URL schemes, the canonical one first; those without ``+`` are for UPath and xarray."""
        with_plus = (self.scheme, *self.secure[:1])
        without_plus = (self.url_name or self.scheme, *self.secure[:1])
        return tuple(f"opendal+{n}" for n in with_plus) + tuple(f"opendal{n}" for n in without_plus)

    def is_secure(self, protocol: str) -> bool:
        """Whether a URL scheme means HTTPS, for a service that has one for HTTP too."""
        return protocol.removeprefix("opendal").removeprefix("+") in self.secure

    def canonical(self, protocol: str) -> str:
        """Return the canonical URL scheme for another one of this service, with the same security."""
        return f"opendal+{self.secure[0] if self.is_secure(protocol) else self.scheme}"

    @property
    def endpoint(self) -> str:
        """Name of the option for the server."""
        return "name_node" if "name_node" in self.options else "endpoint"

    @property
    def options(self) -> Mapping[str, str]:
        """Names of OpenDAL's options for this service, and the type of each."""
        return _config_options(self.scheme)


_AZURE_SAS: Final = "generate_blob_sas() of azure-storage-blob"
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
        copies_later=True,
        signs_instead=_AZURE_SAS,
    ),
    Service(
        "azdls",
        _CONTAINER,
        "filesystem",
        native=("abfs", "abfss", "adl"),
        default_endpoint="https://{account_name}.dfs.core.windows.net",
        accounts=True,
        signs_instead=_AZURE_SAS,
    ),
    Service(
        "azfile",
        _CONTAINER,
        "share_name",
        default_endpoint="https://{account_name}.file.core.windows.net",
        accounts=True,
        signs_instead="generate_file_sas() of azure-storage-file-share",
    ),
    Service(
        "b2",
        _CONTAINER,
        "bucket",
        "bucket_id",
        signs_instead="the service s3 with the endpoint_url= of the bucket",
    ),
    Service("cacache", locality=Locality.DISK, whole_values=True),
    Service(
        "cos",
        _CONTAINER,
        "bucket",
        native=("cosn",),
        signs_instead="get_presigned_url() of cos-python-sdk-v5",
    ),
    Service("dashmap", locality=Locality.PROCESS),
    Service("dropbox"),
    # opendalfs:// would read as the package's own scheme.
    Service(
        "fs", Form.ABSOLUTE, locality=Locality.DISK, native=("file", "local"), url_name="local", appends=True
    ),
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
        signs=True,
    ),
    Service("gcs-grpc", _CONTAINER, "bucket"),
    Service("gdrive"),
    Service("ghac"),
    Service("gridfs", cancels=False, whole_values=True),
    Service("hdfs-native", _ENDPOINT, endpoint_scheme="hdfs", native=("hdfs",), appends=True),
    Service("hf", Form.HUB, native=("huggingface",)),
    Service("http", _ENDPOINT, endpoint_scheme="http", secure=("https",), queries=True, signs=True),
    Service("ipfs", _ENDPOINT, endpoint_scheme="https"),
    Service("ipmfs", _ENDPOINT, endpoint_scheme="http"),
    Service("koofr", _ENDPOINT, endpoint_scheme="https"),
    Service("memcached", _ENDPOINT, endpoint_scheme="tcp", cancels=False, whole_values=True),
    Service("memory", locality=Locality.PROCESS),
    Service("mini-moka", locality=Locality.PROCESS),
    Service("moka", locality=Locality.PROCESS),
    Service("mongodb", cancels=False, whole_values=True),
    Service("mysql", cancels=False, silent=True, whole_values=True),
    Service("obs", _CONTAINER, "bucket", signs=True),
    Service("onedrive"),
    Service("oss", _CONTAINER, "bucket", peers=_OSS, signs=True),
    Service("persy", locality=Locality.DISK, whole_values=True),
    Service("postgresql", native=("postgres",), cancels=False, silent=True, whole_values=True),
    Service("redb", locality=Locality.DISK, whole_values=True),
    Service("redis", _ENDPOINT, endpoint_scheme="redis", cancels=False, silent=True),
    Service("s3", _CONTAINER, "bucket", native=("s3a", "s3n", "r2"), peers=_KEYS, signs=True),
    Service("seafile", _ENDPOINT, endpoint_scheme="https"),
    Service("sled", locality=Locality.DISK, whole_values=True),
    Service("sqlite", locality=Locality.DISK, whole_values=True),
    Service("swift", _CONTAINER, "container", utf8_containers=True, signs=True),
    Service("tos", _CONTAINER, "bucket", signs=True),
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
    | dict.fromkeys(("smb", "ssh"), "OpenDAL does not support it; use fsspec")
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
"""Names of products, vendors and protocols that users try, and what to write instead."""


def lookup(name: str) -> Service:
    """Return the service of a name.

    Parameters
    ----------
    name : str
        OpenDAL's name (``"s3"``), a URL scheme of this package (``"opendal+s3"``, ``"opendals3"``) or of
        another library (``"s3a"``, ``"gs"``, ``"abfss"``); ``_`` and ``-`` are the same.

    Returns
    -------
    Service

    Raises
    ------
    ValueError
        For an unknown name. The first line says what to write instead, if that is known; the second lists
        the services.

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
    """Return the line that says what to write instead of an unknown name."""
    if plain in ("", "://"):
        return f"{name!r} is not a service: write a URL as in opendal+s3://bucket/key, or pass scheme='s3'"
    if plain in _PRODUCTS:
        return f"no OpenDAL service is called {name!r}: {_PRODUCTS[plain]}"
    near = difflib.get_close_matches(plain, [*SERVICES, *_NATIVE], n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"no OpenDAL service is called {name!r}{hint}"


@functools.cache
def _config_options(scheme: str) -> Mapping[str, str]:
    """Return the options of a service's TypedDict in the wheel, so that they are always current."""
    name = "".join(word.capitalize() for word in scheme.split("-")) + "Config"
    annotations = getattr(opendal.config, name).__annotations__
    return MappingProxyType(
        {option: _option_type(kind) for option, kind in annotations.items() if option != "scheme"}
    )


def _option_type(annotation: object) -> str:
    text = getattr(annotation, "__forward_arg__", None) or str(annotation)
    if text.startswith(("Required[", "NotRequired[")):
        text = text.partition("[")[2].removesuffix("]")
    return "path" if "PathLike" in text else text
