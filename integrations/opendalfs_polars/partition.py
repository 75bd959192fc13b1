"""The base path of a `polars.PartitionBy`.

Polars 2.1 keeps it in a private attribute only, in a dataclass (``PartitionBy._pl_partition_by``). This is
the only module that uses the attribute; ``tests/integrations/polars/test_partition.py`` fails if Polars
changes it.
"""

from __future__ import annotations

import copy
import dataclasses

from polars.io.partition import PartitionBy

__all__ = ["base_path", "with_base_path"]


def base_path(partition: PartitionBy) -> str:
    """Return the base path, which may be a URL.

    Examples
    --------
    >>> import polars as pl
    >>> base_path(pl.PartitionBy("data/", key="year"))
    'data/'
    """
    return partition._pl_partition_by.base_path


def with_base_path(partition: PartitionBy, path: str) -> PartitionBy:
    """Return a copy with another base path.

    Examples
    --------
    >>> import polars as pl
    >>> base_path(with_base_path(pl.PartitionBy("data/", key="year"), "s3://lake/data/"))
    's3://lake/data/'
    """
    found = copy.copy(partition)
    found._pl_partition_by = dataclasses.replace(partition._pl_partition_by, base_path=path)
    return found
