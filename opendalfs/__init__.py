"""Every service that Apache OpenDAL speaks, as one fsspec filesystem, for PyArrow, DuckDB and Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import filesystems
from .errors import ChangedError, OptionError, UnsupportedError
from .filesystems import *  # noqa: F403
from .filesystems import filesystem, register
from .fs import OpendalFileSystem
from .lifecycle import ForkError
from .tracing import Trace, trace

if TYPE_CHECKING:
    from opendalfs_arrow import arrow as arrow
    from opendalfs_duckdb import duckdb as duckdb
    from opendalfs_polars import polars as polars

__all__ = [
    "ChangedError",
    "ForkError",
    "OpendalFileSystem",
    "OptionError",
    "Trace",
    "UnsupportedError",
    "filesystem",
    "register",
    "trace",
]
__all__ += filesystems.__all__

# Not in __all__: each needs its engine, and `from opendalfs import *` must work without any.
_ENGINES = {"arrow": "pyarrow", "duckdb": "duckdb", "polars": "polars"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("opendalfs")
    if name not in _ENGINES:
        raise AttributeError(f"module 'opendalfs' has no attribute {name!r}")
    from importlib import import_module

    try:
        import_module(_ENGINES[name])
    except ImportError as exc:
        raise ImportError(
            f"opendalfs.{name}() needs {_ENGINES[name]}: pip install 'opendalfs[{name}]'"
        ) from exc
    return getattr(import_module(f"opendalfs_{name}"), name)
