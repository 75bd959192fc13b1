"""Access to one S3 storage, as the client of each peer expects it."""

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
    """Raised when a peer cannot do this here; the message says why."""


@dataclass(frozen=True)
class Access:
    """Endpoint and credentials of an S3 storage; empty strings leave a value to the client's defaults.

    Parameters
    ----------
    endpoint, region : str
        Address of the server.
    key, secret, token : str
        Credentials.
    """

    endpoint: str = ""
    region: str = ""
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Access:
        """Read the access from options of opendalfs, with the names of OpenDAL or of s3fs.

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
        """Return a new s3fs, which is not in its instance cache."""
        return S3FileSystem(**self.s3fs_options(), skip_instance_cache=True, **settings)

    def s3fs_options(self) -> dict[str, Any]:
        """Return the options of s3fs."""
        who = {"key": self.key or None, "secret": self.secret or None, "token": self.token or None}
        client = {"region_name": self.region} if self.region else {}
        return {**who, "endpoint_url": self.endpoint or None, "client_kwargs": client}

    def boto3(self) -> Any:
        """Return a client of boto3."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint or None,
            region_name=self.region or None,
            aws_access_key_id=self.key or None,
            aws_secret_access_key=self.secret or None,
            aws_session_token=self.token or None,
        )

    def obstore(self, bucket: str) -> S3Store:
        """Return an obstore store for a bucket."""
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
        """Return the native S3 client of Arrow, which has no cache."""
        return pyarrow.fs.S3FileSystem(**self.pyarrow_options())  # type: ignore[arg-type]

    def pyarrow_options(self) -> dict[str, str]:
        """Return the options of the native S3 client of Arrow."""
        names = {
            "access_key": self.key,
            "secret_key": self.secret,
            "session_token": self.token,
            "region": self.region,
            "endpoint_override": self.endpoint,
        }
        return {k: v for k, v in names.items() if v}

    def polars(self) -> dict[str, str]:
        """Return the options of the native store of Polars."""
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
        """Return the SQL that creates the secret for httpfs of DuckDB."""
        _, _, host = self.endpoint.partition("://")
        names = {
            "KEY_ID": self.key,
            "SECRET": self.secret,
            "SESSION_TOKEN": self.token,
            "REGION": self.region,
            "ENDPOINT": host,
            "URL_STYLE": "path" if host else "",
        }
        pairs = [f"{k} '{v}'" for k, v in names.items() if v]
        plain = ["USE_SSL false"] if self.endpoint.startswith("http:") else []
        return f"CREATE SECRET (TYPE s3, {', '.join([*pairs, *plain])})"
