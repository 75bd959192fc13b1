"""Every service that Apache OpenDAL supports, as one fsspec filesystem, for PyArrow, DuckDB and Polars.

Examples
--------
>>> import opendalfs
>>> fs = opendalfs.filesystem("memory")
>>> fs.pipe_file("bucket/key", b"hello")
>>> fs.cat_file("bucket/key")
b'hello'
"""

import typing as _typing

from opendalfs import installation as _installation

_installation.require("fsspec")

from opendalfs.errors import ChangedError, NoContainerError, OptionError, RangeError, UnsupportedError
from opendalfs.fs import services as _services
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.progress import BytesCallback
from opendalfs.fs.registry import filesystem, register
from opendalfs.fs.services import *  # noqa: F403
from opendalfs.fs.signed_urls import SignedURL
from opendalfs.listing import ListingTable
from opendalfs.options import Tuning
from opendalfs.read.cache import CacheInfo, cache_info, clear_cache
from opendalfs.runtime.process import ForkError
from opendalfs.tracing import Request, Trace, trace

__all__ = [
    "BytesCallback",
    "CacheInfo",
    "ChangedError",
    "ForkError",
    "ListingTable",
    "NoContainerError",
    "OpendalFileSystem",
    "OptionError",
    "RangeError",
    "Request",
    "SignedURL",
    "Trace",
    "Tuning",
    "UnsupportedError",
    "cache_info",
    "clear_cache",
    "filesystem",
    "register",
    "trace",
]
__all__ += _services.__all__

# Not in __all__: each needs its engine, and `from opendalfs import *` must work without any.
_ENGINES = {
    "arrow": ("pyarrow",),
    "duckdb": ("duckdb",),
    "polars": ("polars", "aiohttp"),
    "serve": ("aiohttp",),
}
"""The packages that each function needs, the engine first: the extra of that name in pyproject.toml."""

_ADAPTERS = {name: f"opendalfs_{name}" for name in _ENGINES} | {"serve": "opendalfs_gateway"}
"""The package that has each function."""

_installation.check()


def __dir__() -> list[str]:
    return sorted([*__all__, *_ENGINES, "__doc__", "__file__", "__name__", "__path__", "__version__"])


if _typing.TYPE_CHECKING:
    # Without __getattr__, so that type checkers report misspelt names.
    from opendalfs_arrow import arrow as arrow
    from opendalfs_duckdb import duckdb as duckdb
    from opendalfs_gateway import serve as serve
    from opendalfs_polars import polars as polars

    __version__: str
else:

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("opendalfs")
        if name not in _ENGINES:
            raise AttributeError(f"module 'opendalfs' has no attribute {name!r}")
        from importlib import import_module

        for package in _ENGINES[name]:
            _installation.require(package)
        needs = [f"{package}>={_installation.FLOORS[package]}" for package in _ENGINES[name]]
        try:
            import_module(_ENGINES[name][0])
            return getattr(import_module(_ADAPTERS[name]), name)
        except ImportError as exc:
            # The command does not use this package's extra: on PyPI its name belongs to another package.
            command = " ".join(f"'{need}'" for need in needs)
            raise ImportError(
                f"opendalfs.{name}() needs {' and '.join(needs)}: pip install {command}"
            ) from exc
