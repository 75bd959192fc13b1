"""Options that every service class takes."""

from __future__ import annotations

import asyncio
import os
from typing import TypedDict

__all__ = ["CommonOptions"]


class CommonOptions(TypedDict, total=False):
    """Options that every service class takes: those of `opendalfs.Tuning` and those of fsspec.

    `opendalfs.OpendalFileSystem` describes fsspec's.
    """

    retry_timeout: float | None
    retries: int | None
    retry_min_delay: float | None
    retry_max_delay: float | None
    timeout: float | None
    io_timeout: float | None
    concurrency: int | None
    max_concurrency: int | None
    block_size: int | None
    default_block_size: int | None
    read_chunk: int | None
    write_chunk: int | None
    max_gap: int | None
    hedge_reads: bool | None
    verify_writes: bool | None
    cache_dir: str | os.PathLike[str] | None
    cache_size: int | str | None
    cache_ttl: float | None
    asynchronous: bool
    loop: asyncio.AbstractEventLoop | None
    batch_size: int | None
    use_listings_cache: bool | None
    listings_expiry_time: float | None
    max_paths: int | None
    skip_instance_cache: bool
