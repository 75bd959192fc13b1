"""Empty, truncated, encrypted and changed Parquet files."""

from __future__ import annotations

import base64
import io
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

import opendalfs
import opendalfs_arrow
from opendalfs import ChangedError
from opendalfs.budget import Budget
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader
from opendalfs.testing import S3Server
from opendalfs_arrow import footer
from opendalfs_arrow.files import RandomFile
from opendalfs_arrow.footer import Footer, Tail
from opendalfs_arrow.scan import Scan
from tests.integrations.arrow.parquet import FS, Wide, mixed, store, written
from tests.integrations.arrow.places import (
    Place,
    numbers,
    read_twice,
    s3_place,
)


class TestOddFiles:
    def test_an_empty_file_raises_an_error_about_its_size(self) -> None:
        with pytest.raises(pa.ArrowInvalid, match="0 bytes"):
            pq.read_table(store(b""), filesystem=FS)

    @pytest.mark.parametrize("size", [3, 500, 2_000_000])
    def test_a_file_that_is_not_parquet_raises_that_error(self, size: int) -> None:
        with pytest.raises(pa.ArrowInvalid, match=r"[Pp]arquet"):
            pq.ParquetFile(store(bytes(size)), filesystem=FS)

    @pytest.mark.usefixtures("tiny")
    def test_a_truncated_file_raises_that_error(self) -> None:
        data = written(mixed(300))
        with pytest.raises(pa.ArrowInvalid, match="magic bytes not found"):
            pq.ParquetFile(store(data[:-200]), filesystem=FS)
        end = data[-8:]
        for length in (0, 2**31, len(data)):
            broken = data[:-8] + length.to_bytes(4, "little") + end[4:]
            with pytest.raises((pa.ArrowInvalid, OSError), match=r"(?i)footer|metadata|thrift"):
                pq.ParquetFile(store(broken), filesystem=FS)

    @pytest.mark.parametrize(
        "table", [pa.table({"a": pa.array([], pa.int64())}), pa.table({})], ids=["rows", "columns"]
    )
    def test_tables_of_nothing_come_back(self, table: pa.Table) -> None:
        path = store(written(table))
        assert pq.read_table(path, filesystem=FS).equals(table)
        assert opendalfs_arrow.read_table(path, filesystem=FS).equals(table)

    def test_a_footer_larger_than_the_tail_is_fetched_once(self) -> None:
        table = pa.table({f"column_{i}": pa.array([i] * 40) for i in range(1_000)})
        data = written(table, row_group_size=4)
        length = int.from_bytes(data[-8:-4], "little")
        assert length > footer.TAIL
        path = store(data)
        with opendalfs.trace() as trace:
            found = pq.read_table(path, columns=["column_7", "column_900"], filesystem=FS)
        assert found.equals(table.select(["column_7", "column_900"]))
        assert read_twice(trace) == 0
        start = len(data) - length - 8
        assert sum(r.bytes for r in trace.records if r.offset >= start) == length + 8

    def test_other_formats_read_through_the_same_handles(self) -> None:
        table = numbers(200_000)
        path = f"planner/{uuid.uuid4().hex}/f.arrow"
        with FS.open_output_stream(path) as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=30_000)
        found = ds.dataset(path, format="ipc", filesystem=FS)
        assert found.to_table().equals(table)
        assert found.to_table(columns=["c2"]).equals(table.select(["c2"]))


class Keys(pe.KmsClient):  # type: ignore[misc]
    """Wraps keys by themselves, which is enough to have them wrapped."""

    def __init__(self, config: pe.KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


class TestEncryption:
    CRYPTO = pe.CryptoFactory(Keys)
    CONNECTION = pe.KmsConnectionConfig()
    TABLE = mixed(12_000).select(["id", "word", "noise"])

    def store(self, plain_footer: bool) -> str:
        config = pe.EncryptionConfiguration(
            footer_key="footer", column_keys={"column": ["word"]}, plaintext_footer=plain_footer
        )
        sink = io.BytesIO()
        properties = self.CRYPTO.file_encryption_properties(self.CONNECTION, config)
        with pq.ParquetWriter(sink, self.TABLE.schema, encryption_properties=properties) as writer:
            for start in range(0, 12_000, 2_000):
                writer.write_table(self.TABLE.slice(start, 2_000))
        return store(sink.getvalue())

    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("plain_footer", [False, True])
    @pytest.mark.parametrize("columns", [None, ["id"], ["word"], ["noise", "word"]], ids=str)
    @pytest.mark.parametrize("read", [pq.read_table, opendalfs_arrow.read_table], ids=["inferred", "planned"])
    def test_encrypted_files_come_back(
        self, plain_footer: bool, columns: list[str] | None, read: Callable[..., pa.Table]
    ) -> None:
        path = self.store(plain_footer)
        keys = self.CRYPTO.file_decryption_properties(self.CONNECTION)
        with opendalfs.trace() as trace:
            found = read(path, columns=columns, filesystem=FS, decryption_properties=keys)
        assert found.equals(self.TABLE if columns is None else self.TABLE.select(columns))
        assert read_twice(trace) == 0

    @pytest.mark.usefixtures("small")
    def test_plain_columns_of_a_signed_footer_are_read_without_keys(self) -> None:
        path = self.store(plain_footer=True)
        assert pq.ParquetFile(path, filesystem=FS).read(["id"]).equals(self.TABLE.select(["id"]))


@pytest.fixture(scope="module")
def s3(s3_server: S3Server, far: dict[str, Any]) -> Place:
    return s3_place(s3_server, **far)


class TestChange:
    @pytest.mark.parametrize("how", ["file", "dataset", "planned"])
    def test_a_file_overwritten_in_the_middle_of_a_scan_raises(
        self, wide: Wide, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = wide.put()
        fs = opendalfs_arrow.arrow(wide.place.core)
        # Nothing past the middle is fetched before the reader is near it.
        fs.handler.cache.budget = Budget(0)
        sink = io.BytesIO()
        pq.write_table(
            numbers(200_000, 16, seed=5),
            sink,
            row_group_size=25_000,
            compression="none",
            use_dictionary=False,
        )
        overwritten = threading.Lock()
        fetch = Reader.fetch

        def overwrite_half_way(reader: Reader, part: Range) -> Any:
            half = reader.size // 2
            if half < part.start < reader.size - footer.TAIL and overwritten.acquire(blocking=False):
                wide.place.core.pipe_file(path, sink.getvalue())
            return fetch(reader, part)

        monkeypatch.setattr(Reader, "fetch", overwrite_half_way)
        seen = []
        with pytest.raises(ChangedError):
            seen.extend(_batches(fs, path, how))
        assert overwritten.locked()
        fs.handler.cache.budget = None
        # The dataset's threads may run into the change before it has given anything.
        assert seen or how == "dataset"
        got = pa.Table.from_batches(seen, schema=wide.table.schema)
        assert got.equals(wide.table.slice(0, got.num_rows))


def _batches(fs: Any, path: str, how: str) -> Any:
    if how == "dataset":
        found = ds.dataset(path, filesystem=fs, format=ds.ParquetFileFormat(pre_buffer=False))
        return found.to_batches(batch_readahead=0, fragment_readahead=0)
    if how == "file":
        return pq.ParquetFile(path, filesystem=fs, pre_buffer=False).iter_batches(batch_size=25_000)
    return _planned(fs, path)


def _planned(fs: Any, path: str) -> Any:
    metadata = pq.read_metadata(path, filesystem=fs)
    plan = [c.range for g in range(8) for c in Footer(metadata).chunks(g)]
    scan = Scan(Tail(fs.handler.reader(path)), plan=plan, budget=Budget(0))
    file = pa.PythonFile(RandomFile(scan), mode="r")
    return pq.ParquetFile(file, metadata=metadata, pre_buffer=False).iter_batches(batch_size=25_000)
