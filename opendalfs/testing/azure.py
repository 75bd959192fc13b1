"""A local emulator of Azure Blob Storage."""

from __future__ import annotations

import hmac
import http.client
from base64 import b64decode, b64encode
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

from opendalfs.testing.server import (
    HOST,
    Server,
    ServerError,
    free_ports,
    http_status,
    require_program,
)

__all__ = ["Azurite"]


class Azurite(Server):
    """Azure Blob Storage by Microsoft's Azurite, which npm installs.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Azurite
    >>> with Azurite() as server:
    ...     fs = opendalfs.filesystem("azblob", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """

    name = "Azurite"
    account_name = "devstoreaccount1"
    # Not a secret: the default account of Azurite, from its manual.
    account_key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's service ``azblob``, without the container."""
        return {
            "endpoint": f"{self.endpoint}/{self.account_name}",
            "account_name": self.account_name,
            "account_key": self.account_key,
        }

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = require_program("azurite-blob", "npm install -g azurite")
        (self.port,) = free_ports(1)
        options = ["--blobHost", HOST, "--blobPort", str(self.port), "--location", str(directory)]
        return [program, *options, "--silent", "--skipApiVersionCheck"], []

    def _is_ready(self) -> bool:
        if http_status(self.endpoint) is None:
            return False
        self._make_container()
        return True

    def _make_container(self) -> None:
        """Create the container by a signed request; OpenDAL creates none."""
        path = f"/{self.account_name}/{self.bucket}"
        fields = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        signed = "".join(f"{name}:{value}\n" for name, value in fields.items())
        empty = 12 * "\n"  # headers that this request lacks
        text = f"PUT{empty}{signed}/{self.account_name}{path}\nrestype:container"
        digest = hmac.digest(b64decode(self.account_key), text.encode(), "sha256")
        fields["Authorization"] = f"SharedKey {self.account_name}:{b64encode(digest).decode()}"
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        with closing(connection):
            connection.request("PUT", f"{path}?restype=container", headers=fields)
            status = connection.getresponse().status
        if status not in (http.client.CREATED, http.client.CONFLICT):
            raise ServerError(f"Azurite did not create the container {self.bucket!r}: HTTP status {status}")
