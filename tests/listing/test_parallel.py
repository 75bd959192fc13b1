"""Large trees are listed by several concurrent lists, without missing an entry."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs import S3FileSystem
from opendalfs.storage import connection
from opendalfs.testing import DelayProxy, Moto, S3Server
from tests.effort import effort
from tests.listing.small_pages import PAGE

pytestmark = pytest.mark.usefixtures("small_pages")


@pytest.fixture
def fs(server: S3Server) -> S3FileSystem:
    return opendalfs.filesystem("s3", use_listings_cache=False, **server.options)


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.bucket


def fill(fs: S3FileSystem, bucket: str, names: list[str], markers: tuple[str, ...] = ()) -> str:
    root = f"{bucket}/parallel/{uuid4().hex}"
    for name in markers:
        fs.mkdir(f"{root}/{name}")
    fs.pipe({f"{root}/{name}": b"" for name in names})
    return root


def below(fs: S3FileSystem, root: str) -> list[str]:
    return [path.removeprefix(f"{root}/") for path in fs.find(root)]


FOLDERS = [f"d{i:02}/{j:02}" for i in range(12) for j in range(15)]


def test_the_directories_of_a_large_tree_are_listed_side_by_side(moto_server: Moto) -> None:
    with DelayProxy(moto_server.endpoint, latency=0.02) as proxy:
        fs = opendalfs.filesystem("s3", use_listings_cache=False, **proxy.through(moto_server.options))
        names = [f"d{i}/{j:02}" for i in range(PAGE - 1) for j in range(2 * PAGE - 1)]
        root = fill(fs, moto_server.bucket, names)
        with opendalfs.trace() as trace:
            assert below(fs, root) == names
    # 18 pages of keys, one of names, and one to tell that there is no more of the first directory.
    assert trace.requests <= 18 + 1 + 1
    # One after another it would be 20.
    assert trace.in_flight >= 4
    assert trace.round_trips <= 9


def test_runs_of_several_directories_cost_a_page_more_each(fs: S3FileSystem, bucket: str) -> None:
    root = fill(fs, bucket, FOLDERS)
    with opendalfs.trace() as trace:
        assert below(fs, root) == FOLDERS
    assert len(trace.records) > 4
    assert trace.requests <= 18 + 1 + len(trace.records)


@pytest.mark.parametrize(("pages", "requests"), [(1, 1), (2, 2 + 1), (3, 3 + 1)])
def test_a_small_tree_is_one_list_and_at_most_one_look_at_its_names(
    fs: S3FileSystem, bucket: str, pages: int, requests: int
) -> None:
    names = FOLDERS[: pages * PAGE - 1]
    root = fill(fs, bucket, names)
    with opendalfs.trace() as trace:
        assert below(fs, root) == names
    assert len(trace.records) <= 2
    assert trace.requests == requests


def test_files_in_one_directory_are_listed_page_by_page(fs: S3FileSystem, bucket: str) -> None:
    names = [f"f{i:03}" for i in range(45)]
    root = fill(fs, bucket, names)
    with opendalfs.trace() as trace:
        assert below(fs, root) == names
    assert trace.requests <= 5 + 1


def test_keys_between_directories_and_markers_are_found(fs: S3FileSystem, bucket: str) -> None:
    names = [*FOLDERS, "a", "d03-", "d03.x/1", "d05!/1", "z", "d11/x/y/z"]
    root = fill(fs, bucket, names, markers=("d00", "d04", "d09", "e-empty"))
    assert below(fs, root) == sorted(names)
    assert {f"{root}/e-empty", f"{root}/d11/x"} <= set(fs.find(root, withdirs=True))


def test_a_part_of_a_name_is_swept_too(fs: S3FileSystem, bucket: str) -> None:
    root = fill(fs, bucket, [*FOLDERS, "x/1"])
    found = fs.find(root, prefix="d0")
    assert [p.removeprefix(f"{root}/") for p in found] == [n for n in FOLDERS if n.startswith("d0")]


def test_a_filesystem_with_a_root_is_swept_below_it(moto_server: Moto) -> None:
    options = {k: v for k, v in moto_server.options.items() if k != "bucket"}
    fs = opendalfs.OpendalFileSystem(
        "s3", bucket=moto_server.bucket, root=f"/parallel/{uuid4().hex}", use_listings_cache=False, **options
    )
    fs.pipe(dict.fromkeys(FOLDERS, b""))
    assert fs.find("") == FOLDERS


@pytest.fixture(scope="module")
def plain(moto_server: Moto, s3_server: S3Server) -> list[S3FileSystem]:
    return [
        opendalfs.filesystem("s3", use_listings_cache=False, **server.options)
        for server in (moto_server, s3_server)
    ]


NAME = st.text("ab!-0/é", min_size=1, max_size=4).map(lambda s: "/".join(p for p in s.split("/") if p) or "a")


@effort(6)
@given(names=st.sets(st.tuples(NAME, NAME).map("/".join), min_size=25, max_size=70))
def test_any_tree_is_found_whole(plain: list[S3FileSystem], moto_server: Moto, names: set[str]) -> None:
    # No name may be a file here and a directory there: a filer has no place for that.
    files = {n for n in names if not any(other.startswith(f"{n}/") for other in names)}
    for fs in plain:
        root = fill(fs, moto_server.bucket, sorted(files))
        assert below(fs, root) == sorted(files)
        fs.rm(root, recursive=True)


def test_a_server_without_order_is_listed_page_by_page_from_then_on(
    moto_server: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = opendalfs.filesystem("s3", use_listings_cache=False, retries=3, **moto_server.options)
    names = [*FOLDERS, "z"]
    root = fill(fs, moto_server.bucket, names)
    pages = connection.Connection.pages

    def from_the_start(self: connection.Connection, key: str, **how: object) -> object:
        # As servers do that know no start-after.
        how.pop("start_after", None)
        return pages(self, key, **how)

    monkeypatch.setattr(connection.Connection, "pages", from_the_start)
    assert below(fs, root) == names
    with opendalfs.trace() as trace:
        assert below(fs, root) == names
    assert len(trace.records) == 1
