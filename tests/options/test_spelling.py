"""The names of options: ``**options`` in our own functions, ``storage_options=`` where an engine has that."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import pytest

import opendalfs
import opendalfs_arrow
import opendalfs_polars as op

OURS = [
    opendalfs.OpendalFileSystem.__init__,
    opendalfs.S3FileSystem.__init__,
    opendalfs.filesystem,
    opendalfs.arrow,
    opendalfs.duckdb,
    opendalfs.polars,
]
ENGINES = [opendalfs_arrow.read_table, op.target, op.scan_parquet, op.read_csv, op.sink_ipc, op.write_ndjson]


@pytest.mark.parametrize("function", OURS)
def test_our_functions_take_options_as_keywords(function: Callable[..., Any]) -> None:
    kinds = {p.name: p.kind for p in signature(function).parameters.values()}
    assert kinds.get("options") is Parameter.VAR_KEYWORD
    assert "storage_options" not in kinds


@pytest.mark.parametrize("function", ENGINES)
def test_functions_of_an_engine_take_storage_options(function: Callable[..., Any]) -> None:
    assert signature(function).parameters["storage_options"].default is None
