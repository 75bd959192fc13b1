"""The networks between client and server that `--network` names, and the cases that are compared on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT", "NETWORKS", "Network", "compared"]


@dataclass(frozen=True)
class Network:
    """What the proxy adds to each request.

    Parameters
    ----------
    about : str
        Which setting it stands for.
    latency : float
        Seconds to the first byte of a response.
    bandwidth : float
        Bytes per second on a connection; 0 is no limit.
    slow_share : float
        Fraction of the requests that are slow, chosen at random from a fixed seed.
    slow_factor : float
        How many times as long a slow request takes.
    """

    about: str
    latency: float
    bandwidth: float
    slow_share: float = 0.0
    slow_factor: float = 1.0

    def __str__(self) -> str:
        limit = f"{self.bandwidth / 1e6:g} MB/s a connection" if self.bandwidth else "no limit"
        slow = f", {self.slow_share:.0%} of requests {self.slow_factor:g}x slower" if self.slow_share else ""
        return f"{self.latency * 1e3:g} ms to the first byte, {limit}{slow}"


DEFAULT: Final = "lab"

NETWORKS: Final = {
    "lan": Network("a store in the same rack", 0.001, 1e9),
    "region": Network("a fast store in the same zone", 0.005, 200e6),
    "lab": Network("S3 in the same region", 0.030, 90e6),
    "far": Network("S3 on another continent", 0.100, 30e6),
    "tail": Network("S3 in the same region, some requests slow", 0.015, 90e6, 0.02, 20.0),
}

_CASES: Final = (
    "raw: cat_file, 1 MiB",
    "raw: cat_file, the big file",
    "raw: 200 reads of 1 MiB, median of one",
    "raw: 200 reads of 1 MiB, 99th percentile of one",
    "raw: cat_ranges, 150 x 1 MB",
    "raw: cat_ranges, 1,000 x 64 KiB",
    "raw: cat, 500 small files",
    "arrow: pq.read_table, 4 columns, 3 of them adjacent",
    "arrow: pq.read_table, 4 columns that lie apart",
    "arrow: pq.read_table, 4 columns, filter to 1 row group",
    "arrow: pq.read_table, all columns",
    "arrow: ParquetFile.read, 3 columns",
    "arrow: dataset.to_batches, 4 columns",
    "arrow: directory of 20 files, 3 columns",
    "duckdb: Q6, cold",
    "polars: 4 columns",
    "growth: directory of 100 files, 3 columns",
)


def compared(label: str) -> bool:
    """Whether a case is run on networks other than the default one, where every case is.

    Parameters
    ----------
    label : str
        Group and name of the case.
    """
    return label in _CASES
