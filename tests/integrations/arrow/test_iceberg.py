"""pyiceberg through `opendalfs_arrow.iceberg.OpendalFileIO`, with a catalog in SQLite and files on S3."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual

import opendalfs
from opendalfs.testing import S3Server
from opendalfs_arrow.iceberg import OpendalFileIO
from tests.integrations.arrow.places import numbers

FILE_IO = "opendalfs_arrow.iceberg.OpendalFileIO"


def s3_properties(server: S3Server) -> dict[str, str]:
    return {
        "s3.endpoint": server.endpoint,
        "s3.access-key-id": server.access_key,
        "s3.secret-access-key": server.secret_key,
        "s3.region": server.region,
    }


@pytest.fixture(params=["s3", "opendal+s3", "opendal+memory"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server) -> Iterator[SqlCatalog]:
    place = f"{s3_server.bucket}/iceberg/{uuid.uuid4().hex}"
    properties = {
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"{request.param}://{place}",
        "py-io-impl": FILE_IO,
        **s3_properties(s3_server),
    }
    made = SqlCatalog("test", **properties)
    made.create_namespace("shop")
    yield made
    made.close()


class TestTables:
    def test_a_table_is_created_appended_to_and_scanned(self, catalog: SqlCatalog) -> None:
        first, second = numbers(10_000, seed=1), numbers(10_000, seed=2)
        table = catalog.create_table("shop.orders", schema=first.schema)
        assert isinstance(table.io, OpendalFileIO)
        with opendalfs.trace() as trace:
            table.append(first)
            table.append(second)
        assert trace.count("write") > 0
        again = catalog.load_table("shop.orders")
        with opendalfs.trace() as trace:
            found = again.scan().to_arrow().sort_by([("id", "ascending"), ("c1", "ascending")])
        assert trace.count("read") > 0
        both = pa.concat_tables([first, second]).sort_by([("id", "ascending"), ("c1", "ascending")])
        assert found.select(both.column_names).cast(both.schema).equals(both)

    def test_a_scan_filters_and_selects(self, catalog: SqlCatalog) -> None:
        data = numbers(10_000)
        table = catalog.create_table("shop.orders", schema=data.schema)
        table.append(data)
        wanted = And(GreaterThanOrEqual("id", 4_000), GreaterThanOrEqual("c1", 0.5))
        found = table.scan(row_filter=wanted, selected_fields=("id", "c2")).to_arrow()
        rows = [
            i >= 4_000 and c >= 0.5 for i, c in zip(*(data[n].to_pylist() for n in ("id", "c1")), strict=True)
        ]
        assert found.cast(data.select(["id", "c2"]).schema).equals(data.filter(rows).select(["id", "c2"]))

    def test_rows_are_deleted_and_files_purged(self, catalog: SqlCatalog) -> None:
        data = numbers(1_000)
        table = catalog.create_table("shop.orders", schema=data.schema)
        table.append(data)
        table.delete(EqualTo("id", 7))
        assert table.scan().to_arrow().num_rows == 999
        catalog.purge_table("shop.orders")
        assert not catalog.table_exists("shop.orders")


class TestFileIO:
    def test_files_are_written_found_and_removed(self, s3_server: S3Server) -> None:
        io: Any = OpendalFileIO(s3_properties(s3_server))
        for copy in (io, pickle.loads(pickle.dumps(io))):
            location = f"s3://{s3_server.bucket}/iceberg/{uuid.uuid4().hex}"
            with copy.new_output(location).create() as out:
                out.write(b"12345")
            with pytest.raises(FileExistsError):
                copy.new_output(location).create()
            assert len(copy.new_input(location)) == 5
            assert copy.new_input(location).open().read() == b"12345"
            copy.delete(location)
            assert not copy.new_input(location).exists()
            with pytest.raises(FileNotFoundError):
                copy.delete(location)

    @pytest.mark.parametrize(
        ("location", "properties", "options"),
        [
            (
                "s3a://b/k",
                {"client.region": "eu-1", "s3.anonymous": "true"},
                {"region": "eu-1", "skip_signature": "true"},
            ),
            ("gs://b/k", {"gcs.service.host": "http://h:1"}, {"endpoint": "http://h:1"}),
            ("abfss://c@acct.dfs.core.windows.net/k", {"adls.account-key": "a2V5"}, {"account_name": "acct"}),
            ("wasbs://c@acct.blob.core.windows.net/k", {"adls.client-id": "x"}, {"account_name": "acct"}),
            ("oss://b/k", {"s3.endpoint": "oss.example.com"}, {"endpoint": "https://oss.example.com"}),
            ("opendal+webdav://h:80/k", {"opendal.root": "/r"}, {"endpoint": "http://h:80", "root": "/r"}),
        ],
    )
    def test_properties_become_options(
        self, location: str, properties: dict[str, str], options: dict[str, str]
    ) -> None:
        io: Any = OpendalFileIO({"uri": "http://catalog", **properties})
        native = io.new_input(location)._filesystem.handler.fs.native
        assert options.items() <= native.items()

    def test_local_files_and_unknown_schemes_are_as_in_pyiceberg(self, tmp_path: Path) -> None:
        io: Any = OpendalFileIO({})
        assert isinstance(io.new_input(str(tmp_path / "x"))._filesystem, pafs.LocalFileSystem)
        with pytest.raises(ValueError, match="nope"):
            io.new_input("nope://x/y")
