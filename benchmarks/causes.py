"""Why opendalfs is slower than a peer, as sentences for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.cases.arrow import PYARROW
from benchmarks.cases.cache import (
    BLOCKCACHE,
    FILECACHE,
    FILES,
    FIRST,
    GROUP,
    ROUND_TRIP,
    SCAN,
    SECOND,
    TABLE,
    UNCACHED,
)
from benchmarks.cases.cold import QUERY, READS, WARM
from benchmarks.cases.model import OBSTORE, S3FS
from benchmarks.cases.polar import POLARS
from benchmarks.runner import Result

__all__ = ["CAUSES", "GOAL_CAUSES", "slower"]

_THRESHOLD: Final = 0.95
"""A peer counts as faster when it takes less than this part of our time; the rest is noise between rounds."""

_PER_FILE: Final = (
    "each file costs opendalfs about 45 µs of Python (a deadline, a place among the concurrent calls, the "
    "invalidation of cached listings), which obstore does in Rust"
)

_REMOVAL: Final = (
    "opendalfs looks for a marker object of the directory and lists once more to be sure, two more requests"
)
_NATIVE: Final = "the same reader does the work; opendalfs adds the translation of options"

_SECOND: Final = (
    "memory, connections and threads are there already; docs/benchmarks.md says where the first time goes"
)
_IMPORTS: Final = "it imports neither opendalfs nor fsspec, asyncio and opendal, which opendalfs uses"

CAUSES: Final = {
    ("raw: cat_file, 1 KiB", OBSTORE): "one request each; the rest is our deadline and error handling",
    ("raw: get, 500 small files", OBSTORE): f"{_PER_FILE}; opendalfs also lists the directory first",
    ("raw: put, 500 small files", OBSTORE): _PER_FILE,
    ("raw: pipe, 500 small files", OBSTORE): _PER_FILE,
    ("raw: cat, 500 small files", OBSTORE): _PER_FILE,
    ("raw: 200 info via asyncio", OBSTORE): _PER_FILE,
    ("raw: 200 exists via asyncio", OBSTORE): _PER_FILE,
    ("raw: find, 20,000 keys, no delay", OBSTORE): "opendalfs builds a dictionary for each key in Python",
    ("raw: rm(recursive), 500 small files", OBSTORE): _REMOVAL,
    ("raw: rm(recursive), 500 small files", S3FS): _REMOVAL,
    ("raw: put, the big file", OBSTORE): "the server is the limit: parts by plain HTTP take as long",
    **{(f"cold: {name}", WARM): _SECOND for name in (*READS, QUERY)},
    ("cold: interpreter and imports", PYARROW): _IMPORTS,
    ("cold: interpreter and imports", "Python itself"): _IMPORTS,
    ("polars: 4 columns", POLARS): _NATIVE,
    ("polars: 4 columns, filter to 1 row group", POLARS): _NATIVE,
}
"""By the label of the case and the name of the peer."""

_COPY: Final = "its second run, too, is one request and reads of a local copy; what is left is the decoding"
_SMALL_FILES: Final = (
    "a small file takes pyarrow 0.4 ms of the processor, and opendalfs as much again, for its version, the "
    "look-up in the cache and the switches between threads"
)
_FIRST_FILES: Final = "a small file takes some 0.05 ms of the processor more, to name and to write its range"

GOAL_CAUSES: Final[Mapping[tuple[str, str], str]] = {
    **{(name, peer): _COPY for name in (TABLE, GROUP) for peer in (FILECACHE, BLOCKCACHE)},
    (GROUP, PYARROW): (
        "after the response to the HEAD all five reads from the cache end within 11 ms; the decoding of the "
        "row group, which is the same for all, takes most of the time"
    ),
    (SCAN, POLARS): (
        "the decoding takes most of the time, and the bytes pass through a local socket, which takes 0.15 s "
        "of the processor for 83 MB"
    ),
    **{(FILES, peer): _SMALL_FILES for peer in (PYARROW, ROUND_TRIP)},
    (TABLE, PYARROW): "the decoding takes most of the time, which is the same for all",
    (f"{FIRST}{TABLE.removeprefix(SECOND)}", UNCACHED): (
        "the kernel takes 0.15 s or 0.6 s to provide the memory of a process, by the state of the machine; "
        "rounds with as much of it differ by 5 %, and all else takes 0.45 s of the processor in both"
    ),
    (f"{FIRST}cat, the big file", UNCACHED): (
        "323 MB are more than may wait for the end of the reads, so most are written while others are read, "
        "which takes 0.2 s of the kernel"
    ),
    (f"{FIRST}cat of a pattern, 400 small files", UNCACHED): _FIRST_FILES,
    (f"{FIRST}directory of 400 small files, 2 columns", UNCACHED): _FIRST_FILES,
    (f"{FIRST}and its exit, {TABLE.removeprefix(SECOND)}", UNCACHED): (
        "the exit waits until the cache is written, which is behind the read"
    ),
}
"""Why goals of the group ``cache`` are missed, by the name of the case and of the peer."""


def slower(result: Result, peers: list[str], ours: str) -> list[str]:
    """Return a sentence for each peer that is faster than opendalfs in one case.

    Parameters
    ----------
    result : Result
        What was measured.
    peers : list of str
        The peers to compare.
    ours : str
        The name of opendalfs among the peers.

    Returns
    -------
    list of str
    """
    sentences = []
    for peer in peers:
        ratio = result.ratio(peer, "seconds", ours)
        if ratio is not None and ratio < _THRESHOLD:
            cause = CAUSES.get((result.label, peer), "the cause is not known yet")
            sentences.append(f"**{result.name}**: {peer} takes {ratio:.2f} times as long as {ours}: {cause}.")
    return sentences
