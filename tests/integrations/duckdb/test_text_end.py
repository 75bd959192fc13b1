"""Whether a written file is complete, by its last bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from opendalfs_duckdb.text_end import TextEnd
from opendalfs_duckdb.write_handle import is_parquet_complete


@pytest.mark.parametrize("options", ["", ", ENCRYPTION_CONFIG {footer_key: 'k'}"])
@pytest.mark.parametrize("rows", [0, 10_000])
def test_a_parquet_file_is_whole_only_with_its_end(tmp_path: Path, options: str, rows: int) -> None:
    con = duckdb.connect()
    con.execute("SET force_mbedtls_unsafe = 'true'")
    con.execute("PRAGMA add_parquet_key('k', '0123456789112345')")
    con.execute(f"COPY (SELECT range AS i FROM range({rows})) TO '{tmp_path}/a' (FORMAT parquet{options})")
    data = (tmp_path / "a").read_bytes()
    assert is_parquet_complete(data[:8], data[-4:], len(data)) is True
    for cut in (1, 9, len(data) - 12):
        part = data[:-cut]
        assert is_parquet_complete(part[:8], part[-4:], len(part)) is False
    assert is_parquet_complete(data[:4], data[:4], 4) is False


@pytest.mark.parametrize("text", [b"PAR1,PAR2\n1,2\n", b"PARENT_ID\n1\n", b"PARE,x,y,z\n1,2,3,4\n", b"a\n"])
def test_text_is_no_parquet_file(text: bytes) -> None:
    assert is_parquet_complete(text[:8], text[-4:], len(text)) is None


FULL = b"x" * (8 << 20) + b"\n"
WHOLE = gzip.compress(b"x\n1\n")


@pytest.mark.parametrize(
    ("name", "pieces", "whole"),
    [
        ("a.csv", [b"x", b"\n1\n"], True),
        ("a.csv", [b"x\n", b"1"], False),
        ("a.csv", [b"x\n", b"1\r"], True),
        ("a.csv", [], None),
        ("a.bin", [b"x"], None),
        ("A.JSON.GZ", [WHOLE[:10], WHOLE[10:]], True),
        ("a.json.gz", [WHOLE[:10], WHOLE[10:-8]], False),
        ("a.json.gz", [WHOLE[:10]], False),
        ("a.json.gz", [gzip.compress(b"x\n1")], False),
        ("a.json.gz", [gzip.compress(b"")], False),
        ("a.json.gz", [b"plain\n"], True),
        ("a.json.gz", [b"\x1f\x8bno gzip"], None),
        ("a.json", [FULL], False),
        ("a.json", [FULL, b"1\n"], True),
        ("a.json.gz", [WHOLE + bytes(8 << 20)], True),
        ("a.csv.zst", [b"\x28\xb5\x2f\xfd..."], False),
        ("a.bin", [b"\x28\xb5\x2f\xfd..."], None),
    ],
)
def test_text_is_whole_with_the_end_of_its_last_line(
    name: str, pieces: list[bytes], whole: bool | None
) -> None:
    end = TextEnd(name, lambda: True)
    for piece in pieces:
        end.add(piece)
    assert end.complete is whole


def test_gzip_is_read_only_where_somebody_asks() -> None:
    end = TextEnd("a.csv.gz", lambda: False)
    end.add(WHOLE[:20])
    assert end.complete is None
