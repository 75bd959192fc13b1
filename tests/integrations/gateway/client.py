"""An S3 client of the gateway."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import opendalfs
from opendalfs.fs.services import ServiceFileSystem
from opendalfs_gateway.server import Gateway


def client_of(server: Gateway, **changes: str) -> Any:
    options = {**server.storage_options, **changes}
    return boto3.client(
        "s3",
        endpoint_url=options["aws_endpoint_url"],
        aws_access_key_id=options["aws_access_key_id"],
        aws_secret_access_key=options["aws_secret_access_key"],
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, max_pool_connections=16
        ),
    )


class Mounted:
    """A mount, on a store in this process unless `fs` is given, and a client that may write there."""

    def __init__(
        self,
        server: Gateway,
        name: str,
        *,
        write: bool = True,
        hold: bool = False,
        fs: ServiceFileSystem | None = None,
    ) -> None:
        self.server = server
        self.fs = fs or opendalfs.filesystem("memory")
        self.name = name
        self.base = server.mount(self.fs, name, write=write, hold=hold)
        url = urlsplit(self.base)
        self.bucket, self.prefix = url.netloc, url.path.lstrip("/")
        self.s3 = client_of(server)

    def at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def get(self, key: str, **arguments: Any) -> bytes:
        body: bytes = self.s3.get_object(**self.at(key), **arguments)["Body"].read()
        return body


def status_of(error: pytest.ExceptionInfo[ClientError]) -> int:
    status: int = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return status
