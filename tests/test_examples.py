"""Every example, and every Python block of the README and the docs, runs."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.code_blocks import code_blocks

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
SHARED = {"tpch"}
CLUSTERS = {"dask_scan", "ray_scan", "spark_scan"}  # tests/clusters/test_clusters.py runs these
OURS = {"benchmarks", "examples", "tests"}


def without_a_start(server: S3Server) -> dict[str, str]:
    """Return an environment in which `s3_server` returns this running server."""
    names = ("access_key", "secret_key", "region", "bucket", "endpoint")
    return {**os.environ, **{f"OPENDALFS_TEST_S3_{name.upper()}": getattr(server, name) for name in names}}


def run(server: S3Server, folder: Path, example: str, *arguments: str) -> str:
    """Run a copy of an example in another folder, as a user who copied it does."""
    script = shutil.copy(ROOT / "examples" / f"{example}.py", folder)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        env=without_a_start(server),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", sorted({*EXAMPLES} - CLUSTERS - SHARED))
def test_a_copy_of_the_example_runs_and_prints_something(
    example: str, s3_server: S3Server, tmp_path: Path
) -> None:
    output = run(s3_server, tmp_path, example)
    assert output.strip()
    if example == "quickstart":
        last = output.splitlines()[-1]
        assert last == '  make demo ARGS="--url opendal+s3://BUCKET/PREFIX -o region=REGION"'


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_imports_neither_tests_nor_benchmarks_nor_other_examples(example: str) -> None:
    tree = ast.parse((ROOT / "examples" / f"{example}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in imported} & OURS


def test_the_quickstart_runs_on_a_storage_that_the_user_names(s3_server: S3Server, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    output = run(s3_server, tmp_path, "quickstart", "--url", f"opendal+fs://{lake}")
    assert "The tables are equal to the local files." in output
    assert "Both find" in output
    assert not list(lake.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "s3://b/p"], "--url s3://b/p does not begin with 'opendal+': pass opendal+s3://b/p"),
        (["--url", "bucket"], "--url bucket does not begin with 'opendal+': pass opendal+s3://bucket/prefix"),
        (["--url", "opendal+s3://b", "-o", "key"], "an option of -o has no value: pass -o KEY=VALUE"),
        (["-o", "key=k"], "-o is for your own storage: pass --url opendal+s3://bucket/prefix too"),
        (["--url", "opendal+s33://b"], "ValueError: Protocol not known: opendal+s33"),
        (
            ["--url", "opendal+s3://b", "-o", "regoin=x"],
            "OptionError: s3 has no option 'regoin': did you mean 'region'?",
        ),
    ],
)
def test_wrong_arguments_of_the_quickstart_end_with_one_line(arguments: list[str], message: str) -> None:
    from examples import quickstart

    with pytest.raises(SystemExit) as caught:
        quickstart.main(arguments)
    assert caught.value.code == message


def test_requests_that_leave_no_trace_are_not_shown_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    from examples import quickstart

    quickstart.report("polars", "orders", lambda: None, None)
    assert "not traced" in capsys.readouterr().out


# The blocks of upstream.md build upon each other: tests/test_upstream.py runs them. Those of docs/clouds
# run in tests/credentials/test_cloud_pages.py, those for an own server in tests/docs/test_readme.py, and
# those of tools.md, for packages that only `make tools` installs, in tests/tools.
PAGES = [
    ROOT / "README.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if page.parent.name != "clouds" and page.name not in ("upstream.md", "tools.md")
    ),
]

RUN_BLOCKS = """
import json, sys
for block in json.load(sys.stdin):
    print(block)
    exec(compile(block, "block", "exec"), {"__name__": "block"})
"""


@pytest.mark.timeout(400)
def test_the_python_blocks_of_the_pages_run(s3_server: S3Server, tmp_path: Path) -> None:
    """On a bucket and files of the names that they use, with the credentials in the environment."""
    blocks = [block for page in PAGES for block in code_blocks(page) if "127.0.0.1:9000" not in block]
    assert len(blocks) > 5
    text = json.dumps(blocks)
    for name, value in (("key", s3_server.access_key), ("secret", s3_server.secret_key)):
        text = re.sub(rf'(\\"{name}\\": |\b{name}=)\\"\.\.\.\\"', rf'\1\\"{value}\\"', text)
    fs = opendalfs.filesystem("s3", **s3_server.options)
    s3_server.make_bucket("my-bucket")
    try:
        for name in ("orders.parquet", "orders/1.parquet"):
            table = pa.table({"o_orderkey": [1, 2, 3]})
            pq.write_table(table, f"my-bucket/{name}", filesystem=opendalfs.arrow(fs))
        environment = {
            "AWS_ENDPOINT_URL": s3_server.endpoint,
            "AWS_ACCESS_KEY_ID": s3_server.access_key,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
            "AWS_REGION": s3_server.region,
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN_BLOCKS],
            cwd=tmp_path,
            env={**without_a_start(s3_server), **environment},
            input=text,
            capture_output=True,
            text=True,
            timeout=360,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        s3_server.remove_prefix("", bucket="my-bucket")
        s3_server.client.delete_bucket(Bucket="my-bucket")
