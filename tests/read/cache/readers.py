"""Random reads of objects that others overwrite, each compared with what was written."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from functools import lru_cache
from typing import Any

import opendalfs

from .program import ROOT

KEYS = [f"random/{i}" for i in range(6)]
_HEAD = 16


@lru_cache(512)
def content(key: str, number: int) -> bytes:
    """Return what the write of a number wrote to a key: the number first, then random bytes."""
    chosen = random.Random(f"{key} {number}")
    size = chosen.choice((0, 100, 40_000, 300_000, 700_000))
    return b"%016d" % number + chosen.randbytes(size)


def read_some(fs: Any, chosen: random.Random, oldest: dict[str, int]) -> int:
    """Read an object in one of several ways; return the number of bytes that were compared.

    Parameters
    ----------
    fs : OpendalFileSystem
        The filesystem.
    chosen : random.Random
        What to read.
    oldest : dict of str
        For each key, the number of a write that had ended: no read may be older.
    """
    key = chosen.choice(KEYS)
    least = oldest.get(key, 0)
    how = chosen.randrange(3)
    try:
        if how == 0:
            data = fs.cat_file(key)
            compare(key, least, data[:_HEAD], [(0, len(content(key, int(data[:_HEAD]))), data)])
            return len(data)
        with fs.open(key, cache_type="none") as file:
            spans = [(0, _HEAD)]
            for _ in range(chosen.randrange(1, 5)):
                start = chosen.randrange(file.size)
                spans.append((start, min(file.size, start + chosen.randrange(1, 200_000))))
            if how == 1:
                found = [file.read_at(start, stop - start) for start, stop in spans]
            else:
                found = file.reader.read_ranges(spans, gap=chosen.choice((0, 5_000)))
    except opendalfs.ChangedError:
        # It was overwritten between the open and the read.
        return 0
    compare(key, least, found[0], [(*span, data) for span, data in zip(spans, found, strict=True)])
    return sum(map(len, found))


def compare(key: str, least: int, head: bytes, found: list[tuple[int, int, bytes]]) -> None:
    """Raise unless all bytes are of the one write that the first ones name."""
    number = int(head)
    assert number >= least, f"{key} is of write {number}, and {least} had ended before"
    for start, stop, data in found:
        assert data == content(key, number)[start:stop], f"wrong bytes of {key}, {start} to {stop}"


def read_for(seconds: float, seed: int, options: dict[str, Any]) -> dict[str, int]:
    """Read for a time; return how many reads and cache hits there were."""
    fs = opendalfs.OpendalFileSystem("s3", **options)
    chosen = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    with opendalfs.trace() as trace:
        while time.monotonic() < end:
            read_some(fs, chosen, {})
            count += 1
    return {"reads": count, "hits": trace.cache_hits}


def start(seconds: float, seed: int, options: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a process that reads for a time."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(seconds), str(seed), json.dumps(options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    print(json.dumps(read_for(float(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))))
