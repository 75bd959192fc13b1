"""Pages of a list that fail are requested again, and the list is complete, in any order of keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.runtime.tasks import run
from opendalfs.testing import Fault, FaultProxy, S3Server

NAMES = sorted(
    [
        *(f"a/{i:02}" for i in range(25)),
        *(f"a!/{i:02}" for i in range(15)),
        *(f"a-{i:02}" for i in range(25)),
        *(f"b/{i}/x" for i in range(9)),
    ]
)

pytestmark = pytest.mark.usefixtures("small_pages")


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.endpoint) as proxy:
        yield proxy


def filesystem(proxy: FaultProxy, server: S3Server, **options: Any) -> Any:
    quick = {"retry_min_delay": 0.001, "retry_max_delay": 0.002, "timeout": 9, "io_timeout": 3}
    given = {**proxy.through(server.options), **quick, **options}
    return opendalfs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False, **given)


@pytest.fixture
def root(server: S3Server) -> str:
    root = f"{server.bucket}/{uuid4().hex}"
    opendalfs.S3FileSystem(**server.options).pipe({f"{root}/{name}": b"" for name in NAMES})
    return root


FAULTS = [
    Fault("list", "status-503", times=None, fraction=0.3),
    Fault("list", "reset-before", times=None, fraction=0.3),
    Fault("list", "short-body", times=None, fraction=0.3),
    Fault("list", "stall-before", nth=3, times=1),
]


def test_a_list_is_complete_whatever_pages_fail(proxy: FaultProxy, server: S3Server, root: str) -> None:
    fs = filesystem(proxy, server)
    here, key = fs.locate(root)
    children = sorted({name.partition("/")[0] for name in NAMES})
    for fault in FAULTS:
        proxy.inject(fault)
        entries = run(here.list, f"{key}/", recursive=True)
        paths = [entry.path.removeprefix(f"{key}/") for entry in entries if not entry.path.endswith("/")]
        assert sorted(paths) == NAMES
        assert [path.removeprefix(f"{root}/") for path in fs.find(root)] == NAMES
        assert [path.removeprefix(f"{root}/") for path in fs.ls(root, detail=False)] == children
        assert proxy.injected()
