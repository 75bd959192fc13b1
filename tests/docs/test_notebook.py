"""examples/notebook.ipynb: its stored outputs are whole, and those of a fresh run have the same shape."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.test_examples import without_a_start

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
NAMES = ("orders.parquet", "small/00.json", "small/mine.json")
"""Files of a user, some of which have the names of those that the notebook writes."""


def code_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of code of a notebook."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shape(cell: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the kinds of a cell's outputs."""
    return [
        (output["output_type"], [output["name"]] if "name" in output else sorted(output["data"]))
        for output in cell["outputs"]
    ]


def texts(cell: dict[str, Any], kind: str) -> str:
    """Return the outputs of one kind."""
    found = [output.get("text", output.get("data", {}).get(kind, "")) for output in cell["outputs"]]
    return "".join("".join(text) for text in found)


def check(path: Path) -> None:
    """Raise unless every cell has run, in order and without an error, and shows what it is for."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds == {"stream", "execute_result"}
    shown = {cell["id"]: texts(cell, "text/html") for cell in cells}
    assert "<b>S3FileSystem</b>" in shown["start"]
    assert all(f"{name}.parquet</td>" in shown["ls"] for name in ("lineitem", "orders"))
    assert re.search(r"2[45] files, 9\.6 kB; the first 3 are shown", shown["find"])
    for name in ("read", "loop", "cat"):
        assert "<svg" in shown[name]
        assert 'fill="currentColor" font-family' in shown[name]
    for name in ("loop", "cat"):
        # On a busy machine some reads are sent again.
        assert shown[name].count("<rect") >= 24
    assert "1-URGENT" in shown["scan"]
    assert "1-URGENT" in texts(cells[[cell["id"] for cell in cells].index("sql")], "text/plain")
    for name in ("put", "get"):
        assert re.search(rf"^{name}: 100%\|", shown[name], re.MULTILINE), shown[name]


def test_the_stored_outputs_are_those_of_a_whole_run() -> None:
    check(NOTEBOOK)
    assert "secret_access_key=***" in texts(code_cells(NOTEBOOK)[0], "text/html")


def test_the_notebook_is_small_and_shows_nothing_of_the_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    assert not re.search(r"[\s\"'(=](/(home|root|tmp|Users|var|work|private)/|[A-Z]:\\\\)", text)
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", text)) <= {"9000"}
    notebook = json.loads(text)
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])


def run(target: Path, environment: dict[str, str]) -> None:
    """Run the notebook in an empty directory; skip the test where the packages for that are missing."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "run_notebook.py", target],
        cwd=target.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check(target)


@pytest.mark.tools
@pytest.mark.timeout(300)
def test_a_fresh_run_has_outputs_of_the_same_shape(s3_server: S3Server, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.ipynb"
    run(fresh, without_a_start(s3_server))
    stored = code_cells(NOTEBOOK)
    assert [cell["source"] for cell in code_cells(fresh)] == [cell["source"] for cell in stored]
    assert [shape(cell) for cell in code_cells(fresh)] == [shape(cell) for cell in stored]


@pytest.mark.tools
@pytest.mark.timeout(300)
def test_it_runs_on_a_bucket_that_the_user_names_and_leaves_its_files_alone(
    s3_server: S3Server, tmp_path: Path
) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    own = f"{s3_server.bucket}/lake-{uuid4().hex}"
    mine = {f"{own}/{name}": b"mine" for name in ("a", *(f"opendalfs-notebook/{name}" for name in NAMES))}
    fs.pipe(mine)
    environment = {
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "AWS_REGION": s3_server.region,
        "OPENDALFS_URL": f"opendal+s3://{own}",
    }
    target = tmp_path / "own.ipynb"
    run(target, {**os.environ, **environment})
    assert s3_server.secret_key not in target.read_text(encoding="utf-8")
    fs.invalidate_cache()
    assert fs.cat(fs.find(own)) == mine
