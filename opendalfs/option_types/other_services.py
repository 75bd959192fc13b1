"""Options of all other services; generated: see tools/."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .common import CommonOptions

__all__ = [
    "AliyunDriveOptions",
    "AlluxioOptions",
    "CacacheOptions",
    "DashmapOptions",
    "DropboxOptions",
    "FsOptions",
    "FtpOptions",
    "GdriveOptions",
    "GhacOptions",
    "GridfsOptions",
    "HdfsNativeOptions",
    "HttpOptions",
    "IpfsOptions",
    "IpmfsOptions",
    "KoofrOptions",
    "MemcachedOptions",
    "MemoryOptions",
    "MiniMokaOptions",
    "MokaOptions",
    "MongodbOptions",
    "MysqlOptions",
    "OnedriveOptions",
    "PersyOptions",
    "PostgresqlOptions",
    "RedbOptions",
    "RedisOptions",
    "SeafileOptions",
    "SledOptions",
    "SqliteOptions",
    "VercelArtifactsOptions",
    "WebdavOptions",
    "WebhdfsOptions",
    "YandexDiskOptions",
]


class AliyunDriveOptions(CommonOptions, total=False):
    """Options of `opendalfs.AliyunDriveFileSystem`."""

    access_token: str | None
    client_id: str | None
    client_secret: str | None
    drive_type: str | None
    refresh_token: str | None
    root: str | os.PathLike[str] | None


class AlluxioOptions(CommonOptions, total=False):
    """Options of `opendalfs.AlluxioFileSystem`."""

    endpoint: str | None
    root: str | os.PathLike[str] | None


class CacacheOptions(CommonOptions, total=False):
    """Options of `opendalfs.CacacheFileSystem`."""

    datadir: str | None


class DashmapOptions(CommonOptions, total=False):
    """Options of `opendalfs.DashmapFileSystem`."""

    root: str | os.PathLike[str] | None


class DropboxOptions(CommonOptions, total=False):
    """Options of `opendalfs.DropboxFileSystem`."""

    access_token: str | None
    client_id: str | None
    client_secret: str | None
    refresh_token: str | None
    root: str | os.PathLike[str] | None


class FsOptions(CommonOptions, total=False):
    """Options of `opendalfs.FsFileSystem`."""

    atomic_write_dir: str | os.PathLike[str] | None


class FtpOptions(CommonOptions, total=False):
    """Options of `opendalfs.FtpFileSystem`."""

    endpoint: str | None
    password: str | None
    root: str | os.PathLike[str] | None
    user: str | None
    username: str | None


class GdriveOptions(CommonOptions, total=False):
    """Options of `opendalfs.GdriveFileSystem`."""

    access_token: str | None
    client_id: str | None
    client_secret: str | None
    refresh_token: str | None
    root: str | os.PathLike[str] | None


class GhacOptions(CommonOptions, total=False):
    """Options of `opendalfs.GhacFileSystem`."""

    endpoint: str | None
    root: str | os.PathLike[str] | None
    runtime_token: str | None
    version: str | None


class GridfsOptions(CommonOptions, total=False):
    """Options of `opendalfs.GridfsFileSystem`."""

    bucket: str | None
    chunk_size: int | None
    connection_string: str | None
    database: str | None
    root: str | os.PathLike[str] | None


class HdfsNativeOptions(CommonOptions, total=False):
    """Options of `opendalfs.HdfsNativeFileSystem`."""

    enable_append: bool | None
    name_node: str | None
    options: Mapping[str, str] | None
    root: str | os.PathLike[str] | None


class HttpOptions(CommonOptions, total=False):
    """Options of `opendalfs.HttpFileSystem`."""

    endpoint: str | None
    password: str | None
    root: str | os.PathLike[str] | None
    token: str | None
    username: str | None


class IpfsOptions(CommonOptions, total=False):
    """Options of `opendalfs.IpfsFileSystem`."""

    endpoint: str | None
    root: str | os.PathLike[str] | None


class IpmfsOptions(CommonOptions, total=False):
    """Options of `opendalfs.IpmfsFileSystem`."""

    endpoint: str | None
    root: str | os.PathLike[str] | None


class KoofrOptions(CommonOptions, total=False):
    """Options of `opendalfs.KoofrFileSystem`."""

    email: str | None
    endpoint: str | None
    password: str | None
    root: str | os.PathLike[str] | None


class MemcachedOptions(CommonOptions, total=False):
    """Options of `opendalfs.MemcachedFileSystem`."""

    connection_pool_max_size: int | None
    default_ttl: str | None
    endpoint: str | None
    password: str | None
    root: str | os.PathLike[str] | None
    username: str | None


class MemoryOptions(CommonOptions, total=False):
    """Options of `opendalfs.MemoryFileSystem`."""

    root: str | os.PathLike[str] | None


class MiniMokaOptions(CommonOptions, total=False):
    """Options of `opendalfs.MiniMokaFileSystem`."""

    max_capacity: int | None
    root: str | os.PathLike[str] | None
    time_to_idle: str | None
    time_to_live: str | None


class MokaOptions(CommonOptions, total=False):
    """Options of `opendalfs.MokaFileSystem`."""

    max_capacity: int | None
    name: str | None
    root: str | os.PathLike[str] | None
    time_to_idle: str | None
    time_to_live: str | None


class MongodbOptions(CommonOptions, total=False):
    """Options of `opendalfs.MongodbFileSystem`."""

    collection: str | None
    connection_string: str | None
    database: str | None
    key_field: str | None
    root: str | os.PathLike[str] | None
    value_field: str | None


class MysqlOptions(CommonOptions, total=False):
    """Options of `opendalfs.MysqlFileSystem`."""

    connection_string: str | None
    key_field: str | None
    root: str | os.PathLike[str] | None
    table: str | None
    value_field: str | None


class OnedriveOptions(CommonOptions, total=False):
    """Options of `opendalfs.OnedriveFileSystem`."""

    access_token: str | None
    client_id: str | None
    client_secret: str | None
    enable_versioning: bool | None
    refresh_token: str | None
    root: str | os.PathLike[str] | None


class PersyOptions(CommonOptions, total=False):
    """Options of `opendalfs.PersyFileSystem`."""

    datafile: str | None
    index: str | None
    segment: str | None


class PostgresqlOptions(CommonOptions, total=False):
    """Options of `opendalfs.PostgresqlFileSystem`."""

    connection_string: str | None
    key_field: str | None
    root: str | os.PathLike[str] | None
    table: str | None
    value_field: str | None


class RedbOptions(CommonOptions, total=False):
    """Options of `opendalfs.RedbFileSystem`."""

    datadir: str | None
    root: str | os.PathLike[str] | None
    table: str | None


class RedisOptions(CommonOptions, total=False):
    """Options of `opendalfs.RedisFileSystem`."""

    cluster_endpoints: str | None
    connection_pool_max_size: int | None
    db: int | None
    default_ttl: str | None
    endpoint: str | None
    password: str | None
    root: str | os.PathLike[str] | None
    username: str | None


class SeafileOptions(CommonOptions, total=False):
    """Options of `opendalfs.SeafileFileSystem`."""

    endpoint: str | None
    password: str | None
    repo_name: str | None
    root: str | os.PathLike[str] | None
    username: str | None


class SledOptions(CommonOptions, total=False):
    """Options of `opendalfs.SledFileSystem`."""

    datadir: str | None
    root: str | os.PathLike[str] | None
    tree: str | None


class SqliteOptions(CommonOptions, total=False):
    """Options of `opendalfs.SqliteFileSystem`."""

    connection_string: str | None
    key_field: str | None
    root: str | os.PathLike[str] | None
    table: str | None
    value_field: str | None


class VercelArtifactsOptions(CommonOptions, total=False):
    """Options of `opendalfs.VercelArtifactsFileSystem`."""

    access_token: str | None
    endpoint: str | None
    team_id: str | None
    team_slug: str | None


class WebdavOptions(CommonOptions, total=False):
    """Options of `opendalfs.WebdavFileSystem`."""

    disable_copy: bool | None
    disable_create_dir: bool | None
    enable_conditional_read: bool | None
    enable_user_metadata: bool | None
    endpoint: str | None
    password: str | None
    root: str | os.PathLike[str] | None
    token: str | None
    user_metadata_prefix: str | None
    user_metadata_uri: str | None
    username: str | None


class WebhdfsOptions(CommonOptions, total=False):
    """Options of `opendalfs.WebhdfsFileSystem`."""

    atomic_write_dir: str | os.PathLike[str] | None
    delegation: str | None
    disable_list_batch: bool | None
    endpoint: str | None
    root: str | os.PathLike[str] | None
    user_name: str | None


class YandexDiskOptions(CommonOptions, total=False):
    """Options of `opendalfs.YandexDiskFileSystem`."""

    access_token: str | None
    root: str | os.PathLike[str] | None
