"""The filesystem class of each service; their options are typed by `opendalfs.option_types`."""

from __future__ import annotations

from typing import Unpack

from opendalfs import option_types

from .service_filesystem import ServiceFileSystem

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
]


class AliyunDriveFileSystem(ServiceFileSystem, scheme="aliyun-drive"):
    """Files of Aliyun Drive."""

    def __init__(self, **options: Unpack[option_types.AliyunDriveOptions]) -> None:
        super().__init__(**options)


class AlluxioFileSystem(ServiceFileSystem, scheme="alluxio"):
    """Files of Alluxio, through its REST API."""

    def __init__(self, **options: Unpack[option_types.AlluxioOptions]) -> None:
        super().__init__(**options)


class AzblobFileSystem(ServiceFileSystem, scheme="azblob"):
    """Objects of Azure Blob Storage."""

    def __init__(self, **options: Unpack[option_types.AzblobOptions]) -> None:
        super().__init__(**options)


class AzdlsFileSystem(ServiceFileSystem, scheme="azdls"):
    """Files of Azure Data Lake Storage Gen2."""

    def __init__(self, **options: Unpack[option_types.AzdlsOptions]) -> None:
        super().__init__(**options)


class AzfileFileSystem(ServiceFileSystem, scheme="azfile"):
    """Files of Azure Files."""

    def __init__(self, **options: Unpack[option_types.AzfileOptions]) -> None:
        super().__init__(**options)


class B2FileSystem(ServiceFileSystem, scheme="b2"):
    """Objects of Backblaze B2."""

    def __init__(self, **options: Unpack[option_types.B2Options]) -> None:
        super().__init__(**options)


class CacacheFileSystem(ServiceFileSystem, scheme="cacache"):
    """Entries of a cacache folder on the local disk."""

    def __init__(self, **options: Unpack[option_types.CacacheOptions]) -> None:
        super().__init__(**options)


class CosFileSystem(ServiceFileSystem, scheme="cos"):
    """Objects of Tencent Cloud COS."""

    def __init__(self, **options: Unpack[option_types.CosOptions]) -> None:
        super().__init__(**options)


class DashmapFileSystem(ServiceFileSystem, scheme="dashmap"):
    """Values in the memory of this process, in a DashMap."""

    def __init__(self, **options: Unpack[option_types.DashmapOptions]) -> None:
        super().__init__(**options)


class DropboxFileSystem(ServiceFileSystem, scheme="dropbox"):
    """Files of Dropbox."""

    def __init__(self, **options: Unpack[option_types.DropboxOptions]) -> None:
        super().__init__(**options)


class FsFileSystem(ServiceFileSystem, scheme="fs"):
    """Files of the local disk, by absolute paths."""

    def __init__(self, **options: Unpack[option_types.FsOptions]) -> None:
        super().__init__(**options)


class FtpFileSystem(ServiceFileSystem, scheme="ftp"):
    """Files of an FTP server."""

    def __init__(self, **options: Unpack[option_types.FtpOptions]) -> None:
        super().__init__(**options)


class GcsFileSystem(ServiceFileSystem, scheme="gcs"):
    """Objects of Google Cloud Storage."""

    def __init__(self, **options: Unpack[option_types.GcsOptions]) -> None:
        super().__init__(**options)


class GcsGrpcFileSystem(ServiceFileSystem, scheme="gcs-grpc"):
    """Objects of Google Cloud Storage, through its gRPC API."""

    def __init__(self, **options: Unpack[option_types.GcsGrpcOptions]) -> None:
        super().__init__(**options)


class GdriveFileSystem(ServiceFileSystem, scheme="gdrive"):
    """Files of Google Drive."""

    def __init__(self, **options: Unpack[option_types.GdriveOptions]) -> None:
        super().__init__(**options)


class GhacFileSystem(ServiceFileSystem, scheme="ghac"):
    """Entries of the GitHub Actions cache."""

    def __init__(self, **options: Unpack[option_types.GhacOptions]) -> None:
        super().__init__(**options)


class GridfsFileSystem(ServiceFileSystem, scheme="gridfs"):
    """Files of MongoDB GridFS."""

    def __init__(self, **options: Unpack[option_types.GridfsOptions]) -> None:
        super().__init__(**options)


class HdfsNativeFileSystem(ServiceFileSystem, scheme="hdfs-native"):
    """Files of HDFS, without a Java client."""

    def __init__(self, **options: Unpack[option_types.HdfsNativeOptions]) -> None:
        super().__init__(**options)


class HfFileSystem(ServiceFileSystem, scheme="hf"):
    """Files of Hugging Face repositories and buckets."""

    def __init__(self, **options: Unpack[option_types.HfOptions]) -> None:
        super().__init__(**options)


class HttpFileSystem(ServiceFileSystem, scheme="http"):
    """Files of an HTTP server, read-only."""

    def __init__(self, **options: Unpack[option_types.HttpOptions]) -> None:
        super().__init__(**options)


class IpfsFileSystem(ServiceFileSystem, scheme="ipfs"):
    """Files of an IPFS gateway, read-only."""

    def __init__(self, **options: Unpack[option_types.IpfsOptions]) -> None:
        super().__init__(**options)


class IpmfsFileSystem(ServiceFileSystem, scheme="ipmfs"):
    """Files of the mutable file system of an IPFS node."""

    def __init__(self, **options: Unpack[option_types.IpmfsOptions]) -> None:
        super().__init__(**options)


class KoofrFileSystem(ServiceFileSystem, scheme="koofr"):
    """Files of Koofr."""

    def __init__(self, **options: Unpack[option_types.KoofrOptions]) -> None:
        super().__init__(**options)


class MemcachedFileSystem(ServiceFileSystem, scheme="memcached"):
    """Values of a memcached server."""

    def __init__(self, **options: Unpack[option_types.MemcachedOptions]) -> None:
        super().__init__(**options)


class MemoryFileSystem(ServiceFileSystem, scheme="memory"):
    """Values in the memory of this process."""

    def __init__(self, **options: Unpack[option_types.MemoryOptions]) -> None:
        super().__init__(**options)


class MiniMokaFileSystem(ServiceFileSystem, scheme="mini-moka"):
    """Values in the memory of this process, in a mini-moka cache."""

    def __init__(self, **options: Unpack[option_types.MiniMokaOptions]) -> None:
        super().__init__(**options)


class MokaFileSystem(ServiceFileSystem, scheme="moka"):
    """Values in the memory of this process, in a moka cache."""

    def __init__(self, **options: Unpack[option_types.MokaOptions]) -> None:
        super().__init__(**options)


class MongodbFileSystem(ServiceFileSystem, scheme="mongodb"):
    """Values of a MongoDB collection."""

    def __init__(self, **options: Unpack[option_types.MongodbOptions]) -> None:
        super().__init__(**options)


class MysqlFileSystem(ServiceFileSystem, scheme="mysql"):
    """Values of a MySQL table."""

    def __init__(self, **options: Unpack[option_types.MysqlOptions]) -> None:
        super().__init__(**options)


class ObsFileSystem(ServiceFileSystem, scheme="obs"):
    """Objects of Huawei Cloud OBS."""

    def __init__(self, **options: Unpack[option_types.ObsOptions]) -> None:
        super().__init__(**options)


class OnedriveFileSystem(ServiceFileSystem, scheme="onedrive"):
    """Files of OneDrive."""

    def __init__(self, **options: Unpack[option_types.OnedriveOptions]) -> None:
        super().__init__(**options)


class OssFileSystem(ServiceFileSystem, scheme="oss"):
    """Objects of Alibaba Cloud OSS."""

    def __init__(self, **options: Unpack[option_types.OssOptions]) -> None:
        super().__init__(**options)


class PersyFileSystem(ServiceFileSystem, scheme="persy"):
    """Values of a persy file on the local disk."""

    def __init__(self, **options: Unpack[option_types.PersyOptions]) -> None:
        super().__init__(**options)


class PostgresqlFileSystem(ServiceFileSystem, scheme="postgresql"):
    """Values of a PostgreSQL table."""

    def __init__(self, **options: Unpack[option_types.PostgresqlOptions]) -> None:
        super().__init__(**options)


class RedbFileSystem(ServiceFileSystem, scheme="redb"):
    """Values of a redb file on the local disk."""

    def __init__(self, **options: Unpack[option_types.RedbOptions]) -> None:
        super().__init__(**options)


class RedisFileSystem(ServiceFileSystem, scheme="redis"):
    """Values of a Redis server."""

    def __init__(self, **options: Unpack[option_types.RedisOptions]) -> None:
        super().__init__(**options)


class S3FileSystem(ServiceFileSystem, scheme="s3"):
    """Objects of Amazon S3, and of servers with the same protocol."""

    def __init__(self, **options: Unpack[option_types.S3Options]) -> None:
        super().__init__(**options)


class SeafileFileSystem(ServiceFileSystem, scheme="seafile"):
    """Files of a Seafile server."""

    def __init__(self, **options: Unpack[option_types.SeafileOptions]) -> None:
        super().__init__(**options)


class SledFileSystem(ServiceFileSystem, scheme="sled"):
    """Values of a sled folder on the local disk."""

    def __init__(self, **options: Unpack[option_types.SledOptions]) -> None:
        super().__init__(**options)


class SqliteFileSystem(ServiceFileSystem, scheme="sqlite"):
    """Values of a SQLite table."""

    def __init__(self, **options: Unpack[option_types.SqliteOptions]) -> None:
        super().__init__(**options)


class SwiftFileSystem(ServiceFileSystem, scheme="swift"):
    """Objects of OpenStack Swift."""

    def __init__(self, **options: Unpack[option_types.SwiftOptions]) -> None:
        super().__init__(**options)


class TosFileSystem(ServiceFileSystem, scheme="tos"):
    """Objects of Volcengine TOS."""

    def __init__(self, **options: Unpack[option_types.TosOptions]) -> None:
        super().__init__(**options)


class UpyunFileSystem(ServiceFileSystem, scheme="upyun"):
    """Objects of Upyun."""

    def __init__(self, **options: Unpack[option_types.UpyunOptions]) -> None:
        super().__init__(**options)


class VercelArtifactsFileSystem(ServiceFileSystem, scheme="vercel-artifacts"):
    """Entries of Vercel's remote cache."""

    def __init__(self, **options: Unpack[option_types.VercelArtifactsOptions]) -> None:
        super().__init__(**options)


class WebdavFileSystem(ServiceFileSystem, scheme="webdav"):
    """Files of a WebDAV server."""

    def __init__(self, **options: Unpack[option_types.WebdavOptions]) -> None:
        super().__init__(**options)


class WebhdfsFileSystem(ServiceFileSystem, scheme="webhdfs"):
    """Files of HDFS, through its REST API."""

    def __init__(self, **options: Unpack[option_types.WebhdfsOptions]) -> None:
        super().__init__(**options)


class YandexDiskFileSystem(ServiceFileSystem, scheme="yandex-disk"):
    """Files of Yandex Disk."""

    def __init__(self, **options: Unpack[option_types.YandexDiskOptions]) -> None:
        super().__init__(**options)
