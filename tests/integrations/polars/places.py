"""A folder on each kind of service for the Polars tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import opendalfs
from opendalfs.testing import S3Server, SeaweedFS

NAMES = ("s3", "memory", "fs", "webdav", "redb")


@dataclass
class Place:
    """A fresh directory on a service, with the options it takes."""

    name: str
    url: str
    options: dict[str, Any] = field(repr=False)

    @property
    def fs(self) -> opendalfs.OpendalFileSystem:
        return opendalfs.filesystem(self.name, **self.options)

    def path(self, key: str = "") -> str:
        return f"{self.url}/{key}"

    @property
    def lists(self) -> bool:
        return self.fs.locate(self.url)[0].can("list")

    def upload(self, folder: Path) -> None:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.fs.pipe_file(self.path(file.relative_to(folder).as_posix()), file.read_bytes())

    def exists(self, key: str) -> bool:
        return self.fs.exists(self.path(key), refresh=True)


@contextmanager
def place_on(name: str, server: S3Server, folder: Path) -> Iterator[Place]:
    """Yield a new folder on a service."""
    fresh = f"polars-{uuid4().hex[:12]}"
    if name == "s3":
        yield Place(name, f"opendal+s3://{server.bucket}/{fresh}", server.options)
        server.remove_prefix(f"{fresh}/")
    elif name == "memory":
        yield Place(name, f"opendal+memory://{fresh}", {})
    elif name == "fs":
        yield Place(name, f"opendal+fs://{folder}/{fresh}", {})
    elif name == "redb":
        options = {"datadir": str(folder / f"{fresh}.redb"), "table": "objects"}
        yield Place(name, f"opendal+redb://{fresh}", options)
    else:
        assert name == "webdav"
        assert isinstance(server, SeaweedFS)
        endpoint = server.webdav_endpoint
        yield Place(name, f"opendal+webdav://{endpoint.partition('://')[2]}/{fresh}", {"endpoint": endpoint})
