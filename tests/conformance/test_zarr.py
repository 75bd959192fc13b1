"""zarr's own test suite over its FsspecStore on opendalfs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("zarr")

from zarr.core.buffer import Buffer, cpu
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests

import opendalfs
from opendalfs.testing import S3Server


class StoreSuite(StoreTests[FsspecStore, cpu.Buffer]):
    """What the suite wants told of a store."""

    store_cls = FsspecStore
    buffer_cls = cpu.Buffer

    async def set(self, store: FsspecStore, key: str, value: Buffer) -> None:
        await store.fs._pipe_file(f"{store.path}/{key}", value.to_bytes())

    async def get(self, store: FsspecStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(await store.fs._cat_file(f"{store.path}/{key}"))

    def test_store_repr(self, store: FsspecStore) -> None:
        assert str(store) == f"<FsspecStore({type(store.fs).__name__}, {store.path})>"

    def test_store_supports_writes(self, store: FsspecStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: FsspecStore) -> None:
        assert store.supports_listing


class TestFs(StoreSuite):
    """On local files."""

    @pytest.fixture
    def store_kwargs(self, tmp_path: Path) -> dict[str, Any]:
        return {"fs": opendalfs.filesystem("fs", asynchronous=True), "path": str(tmp_path)}


class TestS3(StoreSuite):
    """On S3."""

    @pytest.fixture
    def store_kwargs(self, s3_server: S3Server) -> dict[str, Any]:
        fs = opendalfs.filesystem("s3", asynchronous=True, **s3_server.options)
        return {"fs": fs, "path": f"{s3_server.bucket}/zarr/{uuid4().hex}"}
