"""The same cells for s3fs, obstore and the native store of Polars, to compare.

Their verdicts are recorded, and fail no test.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from .engines import ENGINES, UPLOAD
from .engines import LONG as LONG_ROWS
from .operation import LARGE, MANY, OPTIONS, SMALL, Operation, Place, content

__all__ = ["PEERS"]

MiB = 1 << 20
NEW = content(5_000, 11)
LONG = content(5 * MiB + 100_000, 12)
ONE = {"a.bin": LARGE}
TREE = {f"t/{name}": SMALL for name in ("a.bin", "b.bin", "sub/c.bin", "sub/deep/e.bin")}


def s3fs_of(place: Place) -> Any:
    """Return a filesystem of s3fs with the timeouts and retries of the matrix."""
    import s3fs

    config = {
        "connect_timeout": OPTIONS["timeout"],
        "read_timeout": OPTIONS["io_timeout"],
        "retries": {"mode": "standard", "total_max_attempts": int(OPTIONS["retries"]) + 1},
    }
    names = ("key", "secret", "endpoint_url", "client_kwargs")
    options = {name: place.options[name] for name in names}
    return s3fs.S3FileSystem(**options, config_kwargs=config, skip_instance_cache=True)


def obstore_of(place: Place) -> Any:
    """Return a store of obstore with the timeouts and retries of the matrix."""
    from obstore.store import S3Store

    delay = timedelta(seconds=float(OPTIONS["retry_min_delay"]))
    most = timedelta(seconds=float(OPTIONS["retry_max_delay"]))
    return S3Store(
        place.server.bucket,
        prefix=place.prefix,
        endpoint=place.options["endpoint_url"],
        access_key_id=place.options["key"],
        secret_access_key=place.options["secret"],
        region=place.server.region,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": timedelta(seconds=float(OPTIONS["io_timeout"]))},
        retry_config={
            "max_retries": int(OPTIONS["retries"]),
            "retry_timeout": timedelta(seconds=float(OPTIONS["io_timeout"])),
            "backoff": {"init_backoff": delay, "max_backoff": most, "base": 2},
        },
    )


def _s3fs_open(place: Place) -> bytes:
    pieces = []
    with s3fs_of(place).open(place.path("a.bin"), block_size=OPTIONS["block_size"]) as file:
        while piece := file.read(100_000):
            pieces.append(piece)
    return b"".join(pieces)


def _s3fs_get(place: Place) -> bytes:
    s3fs_of(place).get_file(place.path("a.bin"), str(place.local / "a.bin"))
    return (place.local / "a.bin").read_bytes()


def _s3fs_find(place: Place) -> list[str]:
    return sorted(path.removeprefix(f"{place.root}/") for path in s3fs_of(place).find(place.path("t")))


def _obstore_cat(place: Place) -> bytes:
    return bytes(obstore_of(place).get("a.bin").bytes())


def _obstore_open(place: Place) -> bytes:
    import obstore

    pieces = []
    file = obstore.open_reader(obstore_of(place), "a.bin", buffer_size=int(OPTIONS["block_size"]))
    while piece := bytes(file.read(100_000)):
        pieces.append(piece)
    return b"".join(pieces)


def _obstore_find(place: Place) -> list[str]:
    return sorted(info["path"] for page in obstore_of(place).list("t/") for info in page)


def polars_options(place: Place) -> dict[str, Any]:
    """Return the options of the native store of Polars with the timeouts and retries of the matrix."""
    return {
        "aws_access_key_id": place.options["key"],
        "aws_secret_access_key": place.options["secret"],
        "aws_endpoint_url": place.options["endpoint_url"],
        "aws_region": place.server.region,
        "aws_allow_http": "true",
        "timeout": f"{OPTIONS['io_timeout']:g}s",
        "max_retries": int(OPTIONS["retries"]),
    }


def _polars_scan(place: Place) -> Any:
    found = pl.scan_parquet(f"s3://{place.path('d/*.parquet')}", storage_options=polars_options(place))
    return sorted(found.select("i", "v").collect().rows())


def _polars_sink(place: Place) -> None:
    frame = pl.LazyFrame(pl.from_arrow(LONG_ROWS))
    frame.sink_parquet(f"s3://{place.path('w.parquet')}", storage_options=polars_options(place))


def _peer(name: str, requests: dict[str, int], run: Any, **more: Any) -> Operation:
    return Operation(name, requests, run, calls=8, fails=8, errors=(Exception,), **more)


def _operations(library: str, cat: Any, read: Any, get: Any, find: Any, pipe: Any) -> list[Operation]:
    whole: dict[str, Any] = {"result": lambda objects: objects["a.bin"], "before": ONE}
    old = {"w.bin": SMALL}
    return [
        _peer(f"{library}: cat_file", {"get": 1}, cat, **whole),
        _peer(f"{library}: open", {"get": 1}, read, **whole),
        _peer(f"{library}: get", {"get": 1}, get, **whole),
        _peer(f"{library}: find", {"list": 1}, find, result=sorted, before=TREE, misled=([],)),
        _peer(
            f"{library}: pipe, small", {"put": 1}, lambda p: pipe(p, NEW), before=old, after={"w.bin": NEW}
        ),
        _peer(
            f"{library}: pipe, multipart",
            {"create": 1, "part": 1, "complete": 1},
            lambda p: pipe(p, LONG),
            before=old,
            after={"w.bin": LONG},
        ),
    ]


_GATEWAY = {operation.name: operation for operation in ENGINES}
"""The operations of opendalfs, of which those of the native store have the objects and the results."""


def _native(name: str, requests: dict[str, int], run: Any) -> Operation:
    ours = _GATEWAY[f"Polars, {name}, gateway"]
    return _peer(
        f"Polars, {name}, native", requests, run, result=ours.result, before=ours.before, after=ours.after
    )


PEERS = {
    "Polars, native": [
        _native("scan_parquet", {"list": 1, "get": MANY}, _polars_scan),
        _native("sink_parquet", UPLOAD, _polars_sink),
    ],
    "s3fs": _operations(
        "s3fs",
        lambda place: s3fs_of(place).cat_file(place.path("a.bin")),
        _s3fs_open,
        _s3fs_get,
        _s3fs_find,
        lambda place, data: s3fs_of(place).pipe_file(place.path("w.bin"), data, chunksize=5 * MiB) and None,
    ),
    "obstore": _operations(
        "obstore",
        _obstore_cat,
        _obstore_open,
        _obstore_cat,
        _obstore_find,
        lambda place, data: obstore_of(place).put("w.bin", data, chunk_size=5 * MiB) and None,
    ),
}
