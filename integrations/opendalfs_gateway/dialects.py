"""The options with which other libraries reach a server of S3, in the words of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["DIALECTS", "Access", "duckdb_secret", "options"]


@dataclass(frozen=True, slots=True)
class Access:
    """What a client must know of a server."""

    endpoint: str
    bucket: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    @property
    def server(self) -> str:
        """Host and port."""
        return self.endpoint.partition("://")[2]


def _object_store(access: Access) -> dict[str, Any]:
    return {
        "aws_endpoint_url": access.endpoint,
        "aws_endpoint_url_s3": access.endpoint,
        "aws_access_key_id": access.access_key,
        "aws_secret_access_key": access.secret_key,
        "aws_region": access.region,
        "aws_allow_http": "true",
        "aws_virtual_hosted_style_request": "false",
        "aws_skip_signature": "false",
        "aws_s3_express": "false",
        "aws_conditional_put": "etag",
        "aws_copy_if_not_exists": "multipart",
        # A given proxy replaces that of the environment, and this one is never used.
        "aws_proxy_url": access.endpoint,
        "aws_proxy_excludes": access.server.rpartition(":")[0].strip("[]"),
    }


def _datafusion(access: Access) -> dict[str, Any]:
    return {
        "bucket_name": access.bucket,
        "region": access.region,
        "access_key_id": access.access_key,
        "secret_access_key": access.secret_key,
        "endpoint": access.endpoint,
        "allow_http": True,
    }


def _daft(access: Access) -> dict[str, Any]:
    return {
        "endpoint_url": access.endpoint,
        "region_name": access.region,
        "key_id": access.access_key,
        "access_key": access.secret_key,
        "use_ssl": False,
        "force_virtual_addressing": False,
    }


def _duckdb(access: Access) -> dict[str, Any]:
    return {
        "s3_endpoint": access.server,
        "s3_region": access.region,
        "s3_access_key_id": access.access_key,
        "s3_secret_access_key": access.secret_key,
        "s3_url_style": "path",
        "s3_use_ssl": False,
    }


def _boto3(access: Access) -> dict[str, Any]:
    return {
        "endpoint_url": access.endpoint,
        "region_name": access.region,
        "aws_access_key_id": access.access_key,
        "aws_secret_access_key": access.secret_key,
    }


def _s3fs(access: Access) -> dict[str, Any]:
    return {
        "endpoint_url": access.endpoint,
        "key": access.access_key,
        "secret": access.secret_key,
        "client_kwargs": {"region_name": access.region},
    }


def _gdal(access: Access) -> dict[str, Any]:
    return {
        "AWS_S3_ENDPOINT": access.server,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_ACCESS_KEY_ID": access.access_key,
        "AWS_SECRET_ACCESS_KEY": access.secret_key,
        "AWS_REGION": access.region,
    }


_MAKERS: Final[Mapping[str, Callable[[Access], dict[str, Any]]]] = {
    "object_store": _object_store,
    "datafusion": _datafusion,
    "daft": _daft,
    "duckdb": _duckdb,
    "boto3": _boto3,
    "s3fs": _s3fs,
    "gdal": _gdal,
}

DIALECTS: Final = tuple(_MAKERS)
"""The names that `options` takes."""


def options(access: Access, dialect: str) -> dict[str, Any]:
    """Return the options of one library.

    Raises
    ------
    ValueError
        For an unknown dialect.
    """
    make = _MAKERS.get(dialect)
    if make is None:
        raise ValueError(f"unknown dialect {dialect!r}: use one of {', '.join(DIALECTS)}")
    return make(access)


def duckdb_secret(access: Access, name: str) -> str:
    """Return the statement that makes DuckDB's httpfs use the server for its bucket, and for nothing else."""
    quoted = name.replace('"', '""')
    return (
        f'CREATE OR REPLACE SECRET "{quoted}" (TYPE s3, '
        f"KEY_ID '{access.access_key}', SECRET '{access.secret_key}', REGION '{access.region}', "
        f"ENDPOINT '{access.server}', URL_STYLE 'path', USE_SSL false, SCOPE 's3://{access.bucket}')"
    )
