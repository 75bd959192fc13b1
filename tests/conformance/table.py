"""Writes docs/services.md and the table of README.md: ``python -m tests.conformance.table RESULTS``.

With ``--require-all`` it exits with 1 if a server is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from opendalfs.services import SERVICES

from .results import GROUPS, Counts, read_results

__all__ = ["GRADES", "PAGE", "README", "SERVERS", "grade", "main", "missing", "render", "summary"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "services.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- services: `make services` writes what stands from here -->\n\n", "\n<!-- to here -->"

GRADES: Final = {
    "proved": "the tests pass on a real server, or on the real local store, in every run of CI",
    "emulated": "they pass on an emulator of the service, which may differ from it",
    "untested": "the tests have not passed on any server of it",
}


class Shown(NamedTuple):
    """What a target is: its service, its server, and whether that is an emulator."""

    service: str
    server: str
    emulated: bool = False


SERVERS: Final = {
    "memory": Shown("memory", "this process"),
    "fs": Shown("fs", "local disk"),
    "s3": Shown("s3", "SeaweedFS"),
    "moto": Shown("s3", "moto", emulated=True),
    "webdav": Shown("webdav", "SeaweedFS"),
    "webdav-wsgidav": Shown("webdav", "WsgiDAV"),
    "webdav-nginx": Shown("webdav", "nginx, dav-ext"),
    "webdav-apache": Shown("webdav", "Apache, mod_dav"),
    "webdav-rclone": Shown("webdav", "rclone"),
    "http-nginx": Shown("http", "nginx"),
    "http-wsgidav": Shown("http", "WsgiDAV"),
    "ftp-pyftpdlib": Shown("ftp", "pyftpdlib"),
    "ftp-vsftpd": Shown("ftp", "vsftpd"),
    "redis": Shown("redis", "redis"),
    "memcached": Shown("memcached", "memcached"),
    "postgresql": Shown("postgresql", "PostgreSQL"),
    "mysql": Shown("mysql", "MariaDB"),
    "azblob": Shown("azblob", "Azurite", emulated=True),
    "gcs": Shown("gcs", "gcp-storage-emulator", emulated=True),
    **{name: Shown(name, "a local file") for name in ("sqlite", "redb", "sled", "persy", "cacache")},
    **{name: Shown(name, "this process") for name in ("dashmap", "moka", "mini-moka")},
    "operator-memory": Shown("memory", "this process, with `root`"),
    "operator-fs": Shown("fs", "local disk, with `root`"),
}
"""What each target of the suite is."""

INTRODUCTION = """\
# Services, and the servers that they were tested on

Every service of OpenDAL can be used, whatever its grade: `opendalfs.filesystem(name, ...)`. The grade says
what is known about it. This page is generated from a run of the same tests on each server
(`make services`), and so are the grades. CI runs it with `REQUIRE_ALL=1`: there a missing server is an error.

"""

UNTESTED = """
An *untested* service has the same code above OpenDAL as the others: options are checked, ranges planned,
writes published and errors translated alike. What is not known is whether its server, and OpenDAL's code
for it, do what opendalfs relies on: that a completed write is visible, that a failed one leaves the old
object, that a range is the requested one, that a listing is complete. Before you rely on it, write, list,
read, overwrite and remove some objects there, compare the bytes, and pass `verify_writes=True`.
"""

LIMITS = """
Some services pass only the tests of what OpenDAL can do there:

- no listings: {unlisted}
- no empty files: {never_empty}
- only reads: `http`
"""

COUNTS = """\
## Tests passed on each server

A cell is *passed of all*; the tests that are not passed are skipped, for the reasons below. None has
failed unless the last column says so.
"""

SAFETY = """
## What each of them needs

- **s3** is proved on SeaweedFS, not on Amazon's servers.
- **mysql** (MySQL, MariaDB): the column of the keys needs a collation that distinguishes all keys, and
  can be listed: with the default one, `Case` and `case` are one key, and writing one replaces the other.
  The tests use `` `key` varchar(255) character set utf8mb4 collate uca1400_nopad_as_cs primary key,
  `value` longblob `` on MariaDB. A `_bin` collation distinguishes them too, but OpenDAL cannot list it.
  opendalfs cannot see the collation.
- **memcached** takes values of up to 1 MiB unless it is started with `-I`; a larger one raises an
  `OSError` (EFBIG). It may evict any value at any time.
- **redis** waits 0.5 s for a response, whatever `io_timeout` is: OpenDAL's client has no option for it. Read
  a value that takes longer to arrive by ranges (`cat_file(path, start, end)`, `cat_ranges`).
- **redis**, **memcached**, **postgresql**, **sqlite**, **redb**, **persy** and **cacache** have no
  listings in OpenDAL: `ls`, `find` and `rm(recursive=True)` raise an error that names the service.
- **memcached, postgresql, mysql, mongodb, gridfs, sqlite, redb, sled, persy, cacache** transfer the whole
  value for any range. A value is received once for a read of many ranges, a download or a copy, and once
  for an open file. Open files keep 256 MiB of values together: above that, each read of an open file
  receives its value again, and two reads may be of two values, as may the reads of one query of Polars.
  Read large values by `cat_file` or `get`.
- On these services and **redis**, a lookup of the size transfers the value too: `info`, `open`, `get`, `cp`.
- **ftp** and most WebDAV servers have no usable entity tags, so a read of several requests is not pinned
  to one version there.
- **azdls** and **azfile** are untested: Azurite emulates blobs, queues and tables, and neither the `dfs`
  endpoint of Data Lake Storage (Azure/Azurite#409) nor Azure Files. No other emulator was found in PyPI, npm
  or Debian.
- **obs** is untested too; only its presigned URLs are compared with Huawei's description. Pass an `endpoint`
  without the bucket, as `https://obs.cn-north-4.myhuaweicloud.com`: with a bucket in the host, OpenDAL takes
  the host for a domain of your own, and signs for another resource.
"""


def grade(service: str, results: Mapping[str, Counts]) -> str:
    """Return the grade of a service by its servers on which tests have passed and none has failed."""
    green = [
        shown
        for name, shown in SERVERS.items()
        if shown.service == service and results[name].passed.total() and not results[name].failed.total()
    ]
    if not green:
        return "untested"
    return "emulated" if all(server.emulated for server in green) else "proved"


def summary(results: Mapping[str, Counts]) -> str:
    """Return the grades for the counts of all targets, as the page and README.md show them."""
    lines = ["| grade | services | meaning |", "|---|---|---|"]
    for name, meaning in GRADES.items():
        graded = [f"`{service}`" for service in SERVICES if grade(service, results) == name]
        lines.append(f"| *{name}* | {' '.join(graded)} | {meaning} |")
    unlisted, never_empty = (_skipping(results, why) for why in ("cannot list", "cannot write empty files"))
    lines.append(LIMITS.format(unlisted=" ".join(unlisted), never_empty=" ".join(never_empty)))
    return "\n".join(lines)


def _skipping(results: Mapping[str, Counts], why: str) -> list[str]:
    """Return the services with a test that was skipped for a reason that ends with `why`."""
    found = {
        shown.service
        for name, shown in SERVERS.items()
        if any(reason.endswith(why) for reason in results[name].reasons)
    }
    return [f"`{service}`" for service in SERVICES if service in found]


def render(results: Mapping[str, Counts]) -> str:
    """Return the page for the counts of all targets."""
    lines = [INTRODUCTION + summary(results) + UNTESTED, COUNTS]
    lines += [*_counts(results), SAFETY, *_reasons(results)]
    return "\n".join(lines)


def missing(results: Mapping[str, Counts]) -> list[str]:
    """Return the targets on which no test has passed, for example because their server is not installed."""
    return [name for name in SERVERS if name not in results or not results[name].passed.total()]


def _counts(results: Mapping[str, Counts]) -> Iterator[str]:
    yield "| service | server | " + " | ".join(GROUPS) + " | passed | skipped | failed |"
    yield "|---" * (len(GROUPS) + 5) + "|"
    for name in sorted(SERVERS, key=lambda name: list(SERVICES).index(SERVERS[name].service)):
        shown, counts = SERVERS[name], results[name]
        cells = [_cell(counts, group) for group in GROUPS]
        totals = (counts.passed.total(), counts.skipped.total(), counts.failed.total())
        server = f"{shown.server} (emulator)" if shown.emulated else shown.server
        yield f"| `{shown.service}` | {server} | " + " | ".join([*cells, *map(str, totals)]) + " |"
    yield ""
    for group, what in GROUPS.items():
        yield f"- *{group}*: {what}"


def _cell(counts: Counts, group: str) -> str:
    passed = counts.passed[group]
    total = passed + counts.failed[group] + counts.skipped[group]
    return f"{passed} of {total}" if total else "-"


def _reasons(results: Mapping[str, Counts]) -> Iterator[str]:
    yield "## Why tests are skipped\n"
    yield "| service | server | tests | reason |"
    yield "|---|---|---|---|"
    for name, shown in SERVERS.items():
        for reason, count in sorted(results[name].reasons.items()):
            yield f"| `{shown.service}` | {shown.server} | {count} | {reason} |"
    yield ""


def _write(results: Mapping[str, Counts]) -> None:
    PAGE.write_text(render(results))
    before, begin, rest = README.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no lines {BEGIN.strip()!r} and {END.strip()!r}")
    README.write_text(before + begin + summary(results) + end + after)


def main(arguments: Sequence[str]) -> int:
    """Write the page and README.md if no server is missing, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.table")
    parser.add_argument("results", type=Path)
    parser.add_argument("--require-all", action="store_true", help="exit with 1 if a server is missing")
    parsed = parser.parse_args(arguments)
    results = read_results(parsed.results)
    if absent := missing(results):
        print(f"docs/services.md stays as it is: no test has passed on {', '.join(absent)}")
        return int(parsed.require_all)
    _write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
