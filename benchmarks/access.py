"""One S3 storage as each peer's client wants to be told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import boto3
import pyarrow.fs
from obstore.store import S3Store
from s3fs import S3FileSystem

from opendalfs import options
from opendalfs.services import lookup

__all__ = ["Access", "Skipped"]


class Skipped(Exception):
    """A peer cannot do this here; the message says why."""


@dataclass(frozen=True)
class Access:
    """Where an S3 storage is and who asks; empty strings leave it to the client's own ways.

    Parameters
    ----------
    endpoint, region : str
        Where.
    key, secret, token : str
        Who.
    """

    endpoint: str = ""
    region: str = ""
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Access:
        """Take it from options of opendalfs, in the names of OpenDAL or of s3fs.

        Parameters
        ----------
        given : dict
            The options.

        Returns
        -------
        Access
            The same for all clients.
        """
        native, _ = options.check(lookup("s3"), given, container=False)
        names = {
            "endpoint": "endpoint",
            "region": "region",
            "key": "access_key_id",
            "secret": "secret_access_key",
            "token": "session_token",
        }
        return cls(**{mine: native.get(theirs, "") for mine, theirs in names.items()})

    def s3fs(self, **settings: Any) -> S3FileSystem:
        """Make an s3fs that nobody else uses."""
        who = {"key": self.key or None, "secret": self.secret or None, "token": self.token or None}
        client = {"region_name": self.region} if self.region else {}
        where = {"endpoint_url": self.endpoint or None, "client_kwargs": client}
        return S3FileSystem(**who, **where, skip_instance_cache=True, **settings)

    def boto3(self) -> Any:
        """Make the client of Amazon's own SDK."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint or None,
            region_name=self.region or None,
            aws_access_key_id=self.key or None,
            aws_secret_access_key=self.secret or None,
            aws_session_token=self.token or None,
        )

    def obstore(self, bucket: str) -> S3Store:
        """Make a store of obstore for a bucket."""
        who = {
            "access_key_id": self.key,
            "secret_access_key": self.secret,
            "session_token": self.token,
            "region": self.region,
            "endpoint": self.endpoint,
        }
        plain = {"allow_http": True} if self.endpoint.startswith("http:") else {}
        return S3Store(bucket, client_options=plain, **{k: v for k, v in who.items() if v})  # type: ignore[arg-type]

    def pyarrow(self) -> pyarrow.fs.S3FileSystem:
        """Make Arrow's own S3 client, which remembers nothing."""
        names = {
            "access_key": self.key,
            "secret_key": self.secret,
            "session_token": self.token,
            "region": self.region,
            "endpoint_override": self.endpoint,
        }
        return pyarrow.fs.S3FileSystem(**{k: v for k, v in names.items() if v})  # type: ignore[arg-type]

    def polars(self) -> dict[str, str]:
        """Give the options of Polars' own store."""
        names = {
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret,
            "aws_session_token": self.token,
            "aws_region": self.region,
            "aws_endpoint_url": self.endpoint,
            "aws_allow_http": "true" if self.endpoint.startswith("http:") else "",
        }
        return {k: v for k, v in names.items() if v}

    def duckdb(self) -> str:
        """Give the SQL that tells DuckDB's httpfs."""
        _, _, host = self.endpoint.partition("://")
        names = {
            "KEY_ID": self.key,
            "SECRET": self.secret,
            "SESSION_TOKEN": self.token,
            "REGION": self.region,
            "ENDPOINT": host,
            "URL_STYLE": "path" if host else "",
        }
        told = [f"{k} '{v}'" for k, v in names.items() if v]
        plain = ["USE_SSL false"] if self.endpoint.startswith("http:") else []
        return f"CREATE SECRET (TYPE s3, {', '.join([*told, *plain])})"
