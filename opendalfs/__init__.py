"""Every service that Apache OpenDAL speaks, as one fsspec filesystem, for PyArrow, DuckDB and Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opendalfs.fs import services
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.services import *  # noqa: F403
from opendalfs.fs.services import filesystem, register
from opendalfs.runtime.process import ForkError
from opendalfs.tracing import Trace, trace

from . import installation
from .errors import ChangedError, OptionError, UnsupportedError

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
__all__ += services.__all__

# Not in __all__: each needs its engine, and `from opendalfs import *` must work without any.
_ENGINES = {
    "arrow": ("pyarrow>=26",),
    "duckdb": ("duckdb>=2.0",),
    "polars": ("polars>=2.1", "aiohttp>=3.14"),
}
"""What each needs, the engine first: as the extra of that name in pyproject.toml."""

installation.check()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("opendalfs")
    if name not in _ENGINES:
        raise AttributeError(f"module 'opendalfs' has no attribute {name!r}")
    from importlib import import_module

    needs = _ENGINES[name]
    try:
        import_module(needs[0].partition(">")[0])
        return getattr(import_module(f"opendalfs_{name}"), name)
    except ImportError as exc:
        # Not by the extra of this package: on PyPI its name belongs to another one.
        command = " ".join(f"'{need}'" for need in needs)
        raise ImportError(f"opendalfs.{name}() needs {' and '.join(needs)}: pip install {command}") from exc
