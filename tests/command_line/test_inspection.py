"""`sign`, `parquet`, `trace`, `bench`, `cache`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import S3Server

from .conftest import Run

COMMAND = [sys.executable, "-m", "opendalfs"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    columns = {"id": pa.array(range(100_000)), "a": pa.array([{"b\x1b[0m": i % 3} for i in range(100_000)])}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=40_000)
    return tmp_path / "t.parquet"


def test_sign_prints_a_url_that_works(
    run: Run, s3_server: S3Server, s3_options: list[str], prefix: str
) -> None:
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/a.csv", b"12345")
    result = run("sign", f"s3://{prefix}/a.csv", "--expires", "15m", *s3_options)
    assert "X-Amz-Expires=900" in result.stdout
    with urlopen(result.stdout.strip()) as response:
        assert response.read() == b"12345"
    found = json.loads(run("sign", f"s3://{prefix}/b", "--method", "put", "--json", *s3_options).stdout)
    assert (found["method"], found["expires"], found["headers"]) == ("PUT", 3600, {})
    assert s3_server.secret_key not in found["url"].replace(s3_server.access_key, "", 1)


def test_sign_shows_no_key_of_the_encryption(run: Run) -> None:
    key = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleS0="
    options = {
        "key": "k",
        "secret": "sss",
        "region": "eu-west-1",
        "endpoint": "https://host.invalid",
        "server_side_encryption_customer_algorithm": "AES256",
        "server_side_encryption_customer_key": key,
        "server_side_encryption_customer_key_md5": "bWQ1LW1kNS1tZDUtbQ==",
    }
    arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    for flags in ([], ["--json"]):
        result = run("sign", "s3://lake/a", *flags, *arguments)
        assert result.exit_code == 0, result.output
        assert "customer-key" in result.output
        assert key not in result.output


def test_sign_refuses_times_that_are_none(run: Run) -> None:
    assert run("sign", "s3://lake/a", "--expires", "soon").exit_code == 2


def test_parquet_prints_columns_and_row_groups(run: Run, table: Path) -> None:
    lines = run("parquet", str(table)).stdout.splitlines()
    assert lines[0].startswith(f"{table}: {table.stat().st_size} bytes")
    assert lines[1] == "100000 rows, 2 columns, 3 row groups"
    assert lines[4].split()[0] == "id"
    assert [line.split()[:2] for line in lines[-3:]] == [["0", "40000"], ["1", "40000"], ["2", "20000"]]


def test_parquet_tells_where_the_bytes_are(run: Run, table: Path) -> None:
    found = json.loads(run("parquet", "--json", str(table)).stdout)
    metadata = pq.read_metadata(table)
    assert [column["name"] for column in found["columns"]] == ["id", "a.b\x1b[0m"]
    for group, expected in zip(found["row_groups"], range(3), strict=True):
        for chunk, column in zip(group["chunks"], range(2), strict=True):
            details = metadata.row_group(expected).column(column)
            assert chunk["bytes"] == details.total_compressed_size
            assert chunk["offset"] == details.dictionary_page_offset
    columns = sum(column["bytes"] for column in found["columns"])
    assert columns + found["footer"]["bytes"] <= found["bytes"]
    assert found["footer"]["offset"] + found["footer"]["bytes"] == found["bytes"]


def test_parquet_reads_only_the_footer(run: Run, table: Path) -> None:
    opendalfs.filesystem("memory").pipe_file("footer/t.parquet", table.read_bytes())
    assert table.stat().st_size > 300_000
    with opendalfs.trace() as trace:
        assert run("parquet", "memory://footer/t.parquet").exit_code == 0
    assert trace.bytes <= 64 << 10


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"no parquet at all", b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1" + bytes(8) + b"PARE"]
)
def test_parquet_refuses_other_files(data: bytes, run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    result = run("parquet", str(tmp_path / "x"))
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_bench_prints_latency_and_bandwidth(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"1")
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    result = run("bench", str(tmp_path), "--reads", "3")
    assert result.stdout.startswith(f"{tmp_path}/large: latency ")
    assert "B/s" in result.stdout
    found = json.loads(run("bench", str(tmp_path / "small"), "--json").stdout)
    assert (found["reads"], found["bandwidth"]) == (20, None)
    assert run("bench", str(tmp_path / "missing")).exit_code == 3


def test_cache_shows_and_clears(run: Run, s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    fs = opendalfs.filesystem("s3", cache_dir=tmp_path / "cache", **s3_server.options)
    fs.pipe_file(f"{prefix}/a", bytes(1_000_000))
    fs.cat_file(f"{prefix}/a")
    found = json.loads(run("cache", "info", "--json", str(tmp_path / "cache")).stdout)
    assert found["objects"] == 1
    assert found["bytes"] >= 1_000_000
    assert run("cache", "clear", str(tmp_path / "cache")).exit_code == 0
    assert "0 objects, 0 blocks" in run("cache", "info", str(tmp_path / "cache")).stdout


PROGRAM = """
import atexit, sys, opendalfs
fs = opendalfs.filesystem("memory")
fs.pipe_file("a/b", b"hello")
print("output", __name__, *sys.argv[1:])
atexit.register(lambda: fs.cat_file("a/b"))
sys.exit(7)
"""


def traced(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "trace", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.services
def test_trace_runs_a_program_and_shows_its_requests(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = traced("--save", "t.json", "--", sys.executable, "program.py", "--flag", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "output __main__ --flag\n"), done.stderr
    assert "write               1              5" in done.stderr
    assert "a/b" in done.stderr
    saved = json.loads((tmp_path / "t.json").read_text())
    # The program's own functions for its exit run before the trace ends.
    assert {"write", "read"} <= {one["operation"] for one in saved}
    assert {one["key"] for one in saved} == {"a/b"}


@pytest.mark.services
@pytest.mark.parametrize("kind", ["-m", "-c"])
def test_trace_runs_modules_and_code(kind: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = "program" if kind == "-m" else PROGRAM
    done = traced("--save", "t.svg", "--", sys.executable, "-W", "error", kind, program, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "output __main__\n"), done.stderr
    assert "write               1              5" in done.stderr
    assert (tmp_path / "t.svg").read_text().startswith("<svg")


@pytest.mark.services
def test_trace_says_if_a_program_left_no_trace(tmp_path: Path) -> None:
    done = traced("--", sys.executable, "-c", "import os; os._exit(5)", cwd=tmp_path)
    assert done.returncode == 5
    assert "no trace" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--", "ls"], ["--", "python"], ["--", "python", "-c"], ["--save", "x.gif", "--", "python", "x"]],
)
def test_trace_refuses_what_it_cannot_run(arguments: list[str], run: Run) -> None:
    assert run("trace", *arguments).exit_code == 2
