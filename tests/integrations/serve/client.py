"""Clients of a server that `opendalfs.serve` has started."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from opendalfs_gateway import S3Endpoint

__all__ = ["Answer", "Bucket", "Raw", "client_of", "code_of", "if_met", "status_of"]


def client_of(server: S3Endpoint, **changes: Any) -> Any:
    """Return a client of boto3, which repeats no request."""
    # Presigned URLs of boto3 have Signature Version 2 by default.
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32, signature_version="s3v4")
    return boto3.client("s3", **{**server.storage_options("boto3"), **changes}, config=config)


def status_of(error: pytest.ExceptionInfo[ClientError]) -> int:
    status: int = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    code: str = error.value.response["Error"]["Code"]
    return code


def if_met(call: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any] | None:
    """Return the answer to a request; None if its condition is not met."""
    try:
        return call(**arguments)
    except ClientError as exc:
        if exc.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
            raise
        return None


@dataclass
class Answer:
    """A response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The error code in its XML."""
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


class Raw:
    """Sends requests that are signed by botocore, and then changed."""

    def __init__(self, server: S3Endpoint) -> None:
        self.server = server
        self.host = urlsplit(server.endpoint).netloc
        self.credentials = Credentials(server.access_key, server.secret_key)

    def signed(
        self, method: str, path: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the headers of a request, signed for what its path means, in whatever form it is sent."""
        path, mark, query = path.partition("?")
        url = f"{self.server.endpoint}{quote(unquote(path), safe='/~')}{mark}{query}"
        request = AWSRequest(method, url, dict(headers or {}), data)
        request.headers["Host"] = self.host
        S3SigV4Auth(self.credentials, "s3", "us-east-1").add_auth(request)
        return {name: str(value) for name, value in request.headers.items()}

    def presigned(
        self, method: str, path: str, seconds: int = 60, headers: Mapping[str, str] | None = None
    ) -> str:
        """Return the target of a presigned request."""
        request = AWSRequest(method, f"{self.server.endpoint}{path}", dict(headers or {}))
        S3SigV4QueryAuth(self.credentials, "s3", "us-east-1", expires=seconds).add_auth(request)
        return str(request.url).removeprefix(self.server.endpoint)

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, data: bytes = b""
    ) -> Answer:
        """Send a request as it is."""
        connection = http.client.HTTPConnection(urlsplit(self.server.endpoint).netloc, timeout=30)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            sent = dict(headers or {})
            names = {name.lower() for name in sent}
            if "host" not in names:
                sent["Host"] = self.host
            if data and "content-length" not in names:
                sent["Content-Length"] = str(len(data))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.headers.items()))
        finally:
            connection.close()

    def call(
        self, method: str, path: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sign a request and send it."""
        return self.send(method, path, self.signed(method, path, data, headers), data)


class Bucket:
    """A client of one bucket, in a folder of its own."""

    def __init__(self, server: S3Endpoint) -> None:
        self.server = server
        self.s3 = client_of(server)
        self.folder = os.urandom(4).hex()

    def at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.server.bucket, "Key": f"{self.folder}/{key}"}

    def put(self, key: str, data: bytes, **options: Any) -> str:
        etag: str = self.s3.put_object(**self.at(key), Body=data, **options)["ETag"]
        return etag

    def get(self, key: str, **options: Any) -> bytes:
        data: bytes = self.s3.get_object(**self.at(key), **options)["Body"].read()
        return data

    def list(self, prefix: str = "", **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.s3.list_objects_v2(
            Bucket=self.server.bucket, Prefix=f"{self.folder}/{prefix}", **options
        )
        return found

    def keys(self, found: dict[str, Any]) -> list[str]:
        return [item["Key"].removeprefix(f"{self.folder}/") for item in found.get("Contents", [])]

    def prefixes(self, found: dict[str, Any]) -> list[str]:
        return [item["Prefix"].removeprefix(f"{self.folder}/") for item in found.get("CommonPrefixes", [])]
