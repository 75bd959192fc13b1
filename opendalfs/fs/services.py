"""The filesystem classes that serve URLs, one per service, and their registration with fsspec."""

from __future__ import annotations

import errno
import os
import weakref
from typing import Any, ClassVar, Final

import fsspec
from fsspec.config import apply_config
from fsspec.utils import stringify_path

from opendalfs import urls
from opendalfs.errors import NoContainerError, OptionError, UnsupportedError, redact
from opendalfs.listing import info
from opendalfs.listing.info import Info
from opendalfs.options import is_secret
from opendalfs.services import SERVICES, Form, lookup
from opendalfs.storage.connection import Connection

from .core import OpendalFileSystem

__all__ = [
    "AliyunDriveFileSystem",
    "AlluxioFileSystem",
    "AzblobFileSystem",
    "AzdlsFileSystem",
    "AzfileFileSystem",
    "B2FileSystem",
    "CacacheFileSystem",
    "CosFileSystem",
    "DashmapFileSystem",
    "DropboxFileSystem",
    "FsFileSystem",
    "FtpFileSystem",
    "GcsFileSystem",
    "GcsGrpcFileSystem",
    "GdriveFileSystem",
    "GhacFileSystem",
    "GridfsFileSystem",
    "HdfsNativeFileSystem",
    "HfFileSystem",
    "HttpFileSystem",
    "IpfsFileSystem",
    "IpmfsFileSystem",
    "KoofrFileSystem",
    "MemcachedFileSystem",
    "MemoryFileSystem",
    "MiniMokaFileSystem",
    "MokaFileSystem",
    "MongodbFileSystem",
    "MysqlFileSystem",
    "ObsFileSystem",
    "OnedriveFileSystem",
    "OssFileSystem",
    "PersyFileSystem",
    "PostgresqlFileSystem",
    "RedbFileSystem",
    "RedisFileSystem",
    "S3FileSystem",
    "SeafileFileSystem",
    "ServiceFileSystem",
    "SledFileSystem",
    "SqliteFileSystem",
    "SwiftFileSystem",
    "TosFileSystem",
    "UpyunFileSystem",
    "VercelArtifactsFileSystem",
    "WebdavFileSystem",
    "WebhdfsFileSystem",
    "YandexDiskFileSystem",
    "filesystem",
    "filesystem_class",
    "from_source",
    "from_url",
    "register",
    "resolve",
]


_WINDOWS: Final = os.name == "nt"


class ServiceFileSystem(OpendalFileSystem):
    """Base of the classes that serve a service's URLs: one instance for all its containers.

    Parameters
    ----------
    **options
        As `OpendalFileSystem` takes them, but for the container, which is the first part of each path.

    Examples
    --------
    >>> fs = MemoryFileSystem()
    >>> fs.pipe({"reports/a.csv": b"1", "reports/b.csv": b"2"})
    >>> fs.ls("opendal+memory://reports", detail=False)
    ['reports/a.csv', 'reports/b.csv']
    """

    scheme: ClassVar[str] = ""
    cachable = True
    _relative_paths = False

    def __init_subclass__(cls, scheme: str = "", **kwargs: Any) -> None:
        """Bind the class to its service."""
        super().__init_subclass__(**kwargs)
        if scheme:
            cls.scheme = scheme
            cls.service = SERVICES[scheme]
            cls.protocol = cls.service.protocols
            cls.root_marker = "/" if cls.service.form is Form.ABSOLUTE else ""

    def __init__(self, **options: Any) -> None:
        if _WINDOWS and self.service.form is Form.ABSOLUTE:
            raise UnsupportedError(
                f"{self.service.class_name} has paths from / on, which Windows lacks: use "
                f"OpendalFileSystem({self.scheme!r}, root='C:/folder'), or fsspec's 'file'"
            )
        super().__init__(self.scheme, **options)
        if self.service.form is Form.ABSOLUTE and "root" in self.native:
            raise OptionError(
                f"root= does not go here: paths of {self.service.class_name} are absolute. "
                f"OpendalFileSystem({self.scheme!r}, root=...) takes it as an option."
            )

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        return urls.strip(cls.service, stringify_path(path))

    @classmethod
    def _get_kwargs_from_urls(cls, path: str) -> dict[str, str]:
        told = urls.url_options(cls.service, path)
        if cls.service.endpoint in told:
            _check_configuration(cls, told)
        return told

    @classmethod
    def _parent(cls, path: str) -> str:
        return cls._strip_protocol(path).rpartition("/")[0] or cls.root_marker

    def unstrip_protocol(self, name: str) -> str:
        """Turn a path into a URL that finds it again, given the same options."""
        return urls.unstrip(self.service, name, self.endpoint)

    def _split_path(self, path: str) -> tuple[str, str]:
        return urls.split(self.service, path)

    def locate(self, path: str) -> tuple[Connection, str]:
        """Give the connection and the key behind a path: the way to a `Reader` or `Writer`."""
        if self.service.form in (Form.CONTAINER, Form.HUB) and not self._strip_protocol(path):
            kind = f"{self.service.container}s" if self.service.container else "repositories"
            raise UnsupportedError(
                f"{urls.no_container(self.service, stringify_path(path))} "
                f"(OpenDAL cannot list the {kind} of {self.service.scheme})"
            )
        return super().locate(path)

    async def _info(
        self, path: str, refresh: bool = False, version_id: str | None = None, **kwargs: Any
    ) -> Info:
        if self.service.form in (Form.CONTAINER, Form.HUB) and not self._strip_protocol(path):
            return info.directory("")
        return await super()._info(path, refresh, version_id, **kwargs)

    async def _isdir(self, path: str) -> bool:
        if not self._strip_protocol(path):
            return True
        return await super()._isdir(path)

    async def _root_info(self, connection: Connection, path: str) -> Info:
        if connection.container and connection.can("list"):
            try:
                await connection.holds_any("/")
            except NoContainerError as exc:
                if self.service.form is not Form.CONTAINER:
                    raise
                name = self.service.container
                told = (
                    f"No such {name}: create it with the service's own tools, or write '{name}/key' if "
                    f"{redact(path)!r} is meant to be a key ({connection.where})"
                )
                raise NoContainerError(errno.ENOENT, told, redact(path)) from exc.__cause__
        return info.directory(path)


class AliyunDriveFileSystem(ServiceFileSystem, scheme="aliyun-drive"):
    """aliyun-drive as a filesystem; see `ServiceFileSystem`."""


class AlluxioFileSystem(ServiceFileSystem, scheme="alluxio"):
    """alluxio as a filesystem; see `ServiceFileSystem`."""


class AzblobFileSystem(ServiceFileSystem, scheme="azblob"):
    """azblob as a filesystem; see `ServiceFileSystem`."""


class AzdlsFileSystem(ServiceFileSystem, scheme="azdls"):
    """azdls as a filesystem; see `ServiceFileSystem`."""


class AzfileFileSystem(ServiceFileSystem, scheme="azfile"):
    """azfile as a filesystem; see `ServiceFileSystem`."""


class B2FileSystem(ServiceFileSystem, scheme="b2"):
    """b2 as a filesystem; see `ServiceFileSystem`."""


class CacacheFileSystem(ServiceFileSystem, scheme="cacache"):
    """cacache as a filesystem; see `ServiceFileSystem`."""


class CosFileSystem(ServiceFileSystem, scheme="cos"):
    """cos as a filesystem; see `ServiceFileSystem`."""


class DashmapFileSystem(ServiceFileSystem, scheme="dashmap"):
    """dashmap as a filesystem; see `ServiceFileSystem`."""


class DropboxFileSystem(ServiceFileSystem, scheme="dropbox"):
    """dropbox as a filesystem; see `ServiceFileSystem`."""


class FsFileSystem(ServiceFileSystem, scheme="fs"):
    """fs as a filesystem; see `ServiceFileSystem`."""


class FtpFileSystem(ServiceFileSystem, scheme="ftp"):
    """ftp as a filesystem; see `ServiceFileSystem`."""


class GcsFileSystem(ServiceFileSystem, scheme="gcs"):
    """gcs as a filesystem; see `ServiceFileSystem`."""


class GcsGrpcFileSystem(ServiceFileSystem, scheme="gcs-grpc"):
    """gcs-grpc as a filesystem; see `ServiceFileSystem`."""


class GdriveFileSystem(ServiceFileSystem, scheme="gdrive"):
    """gdrive as a filesystem; see `ServiceFileSystem`."""


class GhacFileSystem(ServiceFileSystem, scheme="ghac"):
    """ghac as a filesystem; see `ServiceFileSystem`."""


class GridfsFileSystem(ServiceFileSystem, scheme="gridfs"):
    """gridfs as a filesystem; see `ServiceFileSystem`."""


class HdfsNativeFileSystem(ServiceFileSystem, scheme="hdfs-native"):
    """hdfs-native as a filesystem; see `ServiceFileSystem`."""


class HfFileSystem(ServiceFileSystem, scheme="hf"):
    """hf as a filesystem; see `ServiceFileSystem`."""


class HttpFileSystem(ServiceFileSystem, scheme="http"):
    """http as a filesystem; see `ServiceFileSystem`."""


class IpfsFileSystem(ServiceFileSystem, scheme="ipfs"):
    """ipfs as a filesystem; see `ServiceFileSystem`."""


class IpmfsFileSystem(ServiceFileSystem, scheme="ipmfs"):
    """ipmfs as a filesystem; see `ServiceFileSystem`."""


class KoofrFileSystem(ServiceFileSystem, scheme="koofr"):
    """koofr as a filesystem; see `ServiceFileSystem`."""


class MemcachedFileSystem(ServiceFileSystem, scheme="memcached"):
    """memcached as a filesystem; see `ServiceFileSystem`."""


class MemoryFileSystem(ServiceFileSystem, scheme="memory"):
    """memory as a filesystem; see `ServiceFileSystem`."""


class MiniMokaFileSystem(ServiceFileSystem, scheme="mini-moka"):
    """mini-moka as a filesystem; see `ServiceFileSystem`."""


class MokaFileSystem(ServiceFileSystem, scheme="moka"):
    """moka as a filesystem; see `ServiceFileSystem`."""


class MongodbFileSystem(ServiceFileSystem, scheme="mongodb"):
    """mongodb as a filesystem; see `ServiceFileSystem`."""


class MysqlFileSystem(ServiceFileSystem, scheme="mysql"):
    """mysql as a filesystem; see `ServiceFileSystem`."""


class ObsFileSystem(ServiceFileSystem, scheme="obs"):
    """obs as a filesystem; see `ServiceFileSystem`."""


class OnedriveFileSystem(ServiceFileSystem, scheme="onedrive"):
    """onedrive as a filesystem; see `ServiceFileSystem`."""


class OssFileSystem(ServiceFileSystem, scheme="oss"):
    """oss as a filesystem; see `ServiceFileSystem`."""


class PersyFileSystem(ServiceFileSystem, scheme="persy"):
    """persy as a filesystem; see `ServiceFileSystem`."""


class PostgresqlFileSystem(ServiceFileSystem, scheme="postgresql"):
    """postgresql as a filesystem; see `ServiceFileSystem`."""


class RedbFileSystem(ServiceFileSystem, scheme="redb"):
    """redb as a filesystem; see `ServiceFileSystem`."""


class RedisFileSystem(ServiceFileSystem, scheme="redis"):
    """redis as a filesystem; see `ServiceFileSystem`."""


class S3FileSystem(ServiceFileSystem, scheme="s3"):
    """s3 as a filesystem; see `ServiceFileSystem`."""


class SeafileFileSystem(ServiceFileSystem, scheme="seafile"):
    """seafile as a filesystem; see `ServiceFileSystem`."""


class SledFileSystem(ServiceFileSystem, scheme="sled"):
    """sled as a filesystem; see `ServiceFileSystem`."""


class SqliteFileSystem(ServiceFileSystem, scheme="sqlite"):
    """sqlite as a filesystem; see `ServiceFileSystem`."""


class SwiftFileSystem(ServiceFileSystem, scheme="swift"):
    """swift as a filesystem; see `ServiceFileSystem`."""


class TosFileSystem(ServiceFileSystem, scheme="tos"):
    """tos as a filesystem; see `ServiceFileSystem`."""


class UpyunFileSystem(ServiceFileSystem, scheme="upyun"):
    """upyun as a filesystem; see `ServiceFileSystem`."""


class VercelArtifactsFileSystem(ServiceFileSystem, scheme="vercel-artifacts"):
    """vercel-artifacts as a filesystem; see `ServiceFileSystem`."""


class WebdavFileSystem(ServiceFileSystem, scheme="webdav"):
    """webdav as a filesystem; see `ServiceFileSystem`."""


class WebhdfsFileSystem(ServiceFileSystem, scheme="webhdfs"):
    """webhdfs as a filesystem; see `ServiceFileSystem`."""


class YandexDiskFileSystem(ServiceFileSystem, scheme="yandex-disk"):
    """yandex-disk as a filesystem; see `ServiceFileSystem`."""


_CLASSES: dict[str, type[ServiceFileSystem]] = {cls.scheme: cls for cls in ServiceFileSystem.__subclasses__()}
for _cls in _CLASSES.values():
    # An instance lives as long as somebody holds it; the operators behind it are kept elsewhere.
    _cls._cache = weakref.WeakValueDictionary()


def _check_configuration(cls: type[ServiceFileSystem], told: dict[str, str]) -> None:
    """Raise if credentials in fsspec's configuration would go to another server, named by a URL.

    fsspec merges the configuration (files, and ``FSSPEC_*`` variables) into the options of each instance,
    where they can no longer be told from the ones that the caller gave along with the URL.
    """
    configured = apply_config(cls, {})
    endpoint = configured.get(cls.service.endpoint)
    secret = next((name for name in configured if is_secret(cls.service.peers.get(name, name))), None)
    if secret is not None and not urls.same_server(endpoint or "none", told[cls.service.endpoint]):
        raise OptionError(
            f"the URL names the server {told[cls.service.endpoint]}, but fsspec's configuration has "
            f"{secret} for {redact(str(endpoint or 'no server'))}: "
            f"give {cls.service.endpoint} there too, or no {secret}"
        )


def filesystem_class(name: str) -> type[ServiceFileSystem]:
    """Give the class that serves a service's URLs.

    Parameters
    ----------
    name : str
        Of the service, as `opendalfs.services.lookup` takes it.

    Returns
    -------
    type

    Raises
    ------
    ValueError
        For a name that no service goes by, with the nearest ones.
    """
    return _CLASSES[lookup(name).scheme]


def filesystem(name: str, **options: Any) -> ServiceFileSystem:
    """Make the filesystem of a service; paths are ``container/key``, as in s3fs.

    Parameters
    ----------
    name : str
        Of the service: ``"s3"``, ``"opendal+s3"``, or another library's name such as ``"gs"``.
    **options
        As `OpendalFileSystem` takes them.

    Returns
    -------
    ServiceFileSystem

    Examples
    --------
    >>> filesystem("memory")
    MemoryFileSystem()
    """
    return filesystem_class(name)(**options)


def from_source(source: str | OpendalFileSystem, **options: Any) -> OpendalFileSystem:
    """Make a filesystem of what an engine adapter was given.

    Parameters
    ----------
    source : str or OpendalFileSystem
        Name of a service, one of its URLs (which may name a server or an account), or a filesystem.
    **options
        For a name or URL; a filesystem has its options already.

    Returns
    -------
    OpendalFileSystem

    Raises
    ------
    OptionError
        For options beside a filesystem; for a URL that names another account than the options.
    ValueError
        For a URL that names another server than the options.
    """
    if isinstance(source, OpendalFileSystem):
        if options:
            raise OptionError(f"{source!r} has its options already, so {', '.join(options)} cannot be given")
        return source
    return from_url(source, **options) if "://" in source else filesystem_class(source)(**options)


def from_url(url: str, **options: Any) -> ServiceFileSystem:
    """Return the filesystem that serves a URL.

    Parameters
    ----------
    url : str
        Of any service; it may name a server or an account.
    **options
        As `OpendalFileSystem` takes them. Credentials among them go to the server of the URL, so hold
        them to one server by ``endpoint`` where URLs come from somebody else.

    Returns
    -------
    ServiceFileSystem

    Raises
    ------
    OptionError
        If an option is wrong, or the URL names another account than the options.
    ValueError
        If the URL names another server than the options.
    """
    cls = filesystem_class(url.partition("://")[0])
    fs = cls(**{**cls._get_kwargs_from_urls(url), **options})
    fs.check_server(url)
    return fs


def resolve(url: str, **options: Any) -> tuple[OpendalFileSystem, str]:
    """Find the filesystem of a URL, and the path there; a bare path is local.

    Parameters
    ----------
    url : str
        Such as ``"opendal+s3://bucket/key"``.
    **options
        Of the service that it names.

    Returns
    -------
    OpendalFileSystem
    str
        The stripped path.
    """
    fs = from_source(url, **options) if "://" in url else FsFileSystem()
    return fs, fs._strip_protocol(url)


def register(*schemes: str) -> None:
    """Serve native schemes too: afterwards ``fsspec.open("s3://...")`` comes here.

    The ``protocol`` of the class, and of the instances there are, then holds the scheme too, for software
    that looks there for the URLs that a filesystem takes. URLs that the filesystem makes keep the scheme
    that needs no registration.

    Parameters
    ----------
    *schemes : str
        Such as ``"s3"``, ``"gs"``, ``"az"``; what served them before no longer does.

    Raises
    ------
    ValueError
        For a scheme that no service goes by.

    Examples
    --------
    >>> register("gs", "az")
    """
    for scheme in schemes:
        cls = filesystem_class(scheme)
        fsspec.register_implementation(scheme, cls, clobber=True)
        if scheme not in cls.protocol:
            cls.protocol = (*cls.protocol, scheme)
