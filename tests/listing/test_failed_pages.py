"""Pages of a list that fail are requested again, and the list is complete, in any order of keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.listing import parallel
from opendalfs.runtime.tasks import run
from opendalfs.storage import connection, listing_calls
from opendalfs.testing import Fault, FaultProxy, Moto, S3Server

PAGE = 10
NAMES = sorted(
    [
        *(f"a/{i:02}" for i in range(25)),
        *(f"a!/{i:02}" for i in range(15)),
        *(f"a-{i:02}" for i in range(25)),
        *(f"b/{i}/x" for i in range(9)),
    ]
)
"""On S3 `a!/x` comes before `a/x`, on SeaweedFS after it."""


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limits, so that a few keys are several pages."""
    for module in (listing_calls, parallel):
        monkeypatch.setattr(module, "PAGE", PAGE)
    pages = connection.Connection.pages
    monkeypatch.setattr(
        connection.Connection, "pages", lambda self, key, **how: pages(self, key, **{"limit": PAGE, **how})
    )


@pytest.fixture(params=["S3's order", "SeaweedFS's order"])
def server(request: pytest.FixtureRequest) -> Any:
    name = "moto_server" if request.param == "S3's order" else "s3_server"
    return request.getfixturevalue(name)


@pytest.fixture
def proxy(server: Moto | S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.endpoint) as proxy:
        yield proxy


def filesystem(proxy: FaultProxy, server: Any, **options: Any) -> Any:
    quick = {"retry_min_delay": 0.001, "retry_max_delay": 0.002, "timeout": 9, "io_timeout": 3}
    given = {**proxy.through(server.options), **quick, **options}
    return opendalfs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False, **given)


@pytest.fixture
def root(server: Any, bucket: str) -> str:
    bucket = getattr(server, "bucket", bucket) if isinstance(server, Moto) else bucket
    root = f"{bucket}/{uuid4().hex}"
    opendalfs.S3FileSystem(**server.options).pipe({f"{root}/{name}": b"" for name in NAMES})
    return root


FAULTS = [
    Fault("list", "status-503", times=None, fraction=0.3),
    Fault("list", "reset-before", times=None, fraction=0.3),
    Fault("list", "short-body", times=None, fraction=0.3),
    Fault("list", "stall-before", nth=3, times=1),
]


def test_a_list_is_complete_whatever_pages_fail(proxy: FaultProxy, server: Any, root: str) -> None:
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
