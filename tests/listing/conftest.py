"""S3 with pages of a few keys, in both orders of keys that servers have."""

from __future__ import annotations

import pytest

from opendalfs.listing import parallel
from opendalfs.storage import connection, listing_calls
from opendalfs.testing import S3Server
from tests.listing.small_pages import PAGE


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limits, so that a few keys are several pages, and a large tree."""
    for module in (listing_calls, parallel):
        monkeypatch.setattr(module, "PAGE", PAGE)
    pages = connection.Connection.pages
    monkeypatch.setattr(
        connection.Connection, "pages", lambda self, key, **how: pages(self, key, **{"limit": PAGE, **how})
    )


@pytest.fixture(params=["S3's order", "SeaweedFS's order"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Return a server: on S3 `a!/x` comes before `a/x`, on SeaweedFS after it."""
    name = "moto_server" if request.param == "S3's order" else "s3_server"
    found: S3Server = request.getfixturevalue(name)
    return found
