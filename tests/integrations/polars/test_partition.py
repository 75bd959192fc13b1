"""What `opendalfs_polars.partition` relies on: Polars has no public accessor of a PartitionBy's base path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl

from opendalfs_polars.partition import base_path, with_base_path


def test_polars_keeps_the_base_path_in_a_private_dataclass_only() -> None:
    partition = pl.PartitionBy("data/", key="year")
    assert not [name for name in dir(partition) if not name.startswith("_")]
    assert dataclasses.is_dataclass(partition._pl_partition_by)
    assert partition._pl_partition_by.base_path == "data/"


def test_a_copy_with_another_base_path_leaves_the_original_as_it_was(tmp_path: Path) -> None:
    partition = pl.PartitionBy(tmp_path / "first", key="k", include_key=False)
    other = with_base_path(partition, str(tmp_path / "second"))
    assert base_path(partition) == str(tmp_path / "first")
    pl.LazyFrame({"a": [1, 2], "k": ["x", "y"]}).sink_parquet(other, mkdir=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second"]
    assert pl.read_parquet(tmp_path / "second").columns == ["a", "k"]
