"""Credentials of a provider are renewed while a filesystem is used, and no request fails."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.credential_providers import sdk_objects
from opendalfs.storage import credentials, listing_calls
from opendalfs.testing import Request, Response, S3Server, ScriptedServer
from tests.credentials.expiring import Keys

DATA = bytes(range(256)) * 16


def test_thirty_reads_survive_three_expiries(keys: Keys, front: ScriptedServer, path: str) -> None:
    keys.most = 10
    fs = opendalfs.S3FileSystem(**keys.options(front))
    for i in range(40):
        assert fs.cat_file(path, start=i, end=i + 100) == DATA[i : i + 100]
    assert keys.issued == 4
    assert keys.refused == 3


async def test_thirty_reads_of_coroutines_survive_three_expiries(
    keys: Keys, front: ScriptedServer, path: str
) -> None:
    fs = opendalfs.S3FileSystem(asynchronous=True, **keys.options(front))
    for _ in range(40):
        assert await fs._cat_file(path) == DATA
    assert (keys.issued, keys.refused) == (4, 3)


def test_keys_are_renewed_before_they_expire(
    keys: Keys, front: ScriptedServer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Due after 2 s, with 6 s left.
    monkeypatch.setattr(credentials, "_MARGIN_RATIO", 0.75)
    keys.most, keys.lifetime = 10**9, 8.0
    fs = opendalfs.S3FileSystem(**keys.options(front))
    while keys.issued < 2:
        assert fs.cat_file(path) == DATA
        time.sleep(0.02)
    first, second = keys.issued_at
    assert second < first + keys.lifetime
    assert keys.refused == 0


def test_each_operation_survives_an_expiry(keys: Keys, front: ScriptedServer, prefix: str) -> None:
    fs = opendalfs.S3FileSystem(**keys.options(front))
    name = f"{prefix}/d/a"
    operations = [
        lambda: fs.pipe_file(name, DATA),
        lambda: fs.info(name),
        lambda: fs.cat_file(name),
        lambda: fs.cat_ranges([name, name], [0, 5], [3, 9]),
        lambda: fs.ls(f"{prefix}/d", refresh=True),
        lambda: fs.find(prefix),
        lambda: fs.exists(f"{prefix}/none"),
        lambda: fs.isdir(f"{prefix}/d"),
        lambda: fs.open(name).read(),
        lambda: fs.reader(name).read(0, 5),
        lambda: fs.copy(name, f"{prefix}/d/b"),
        lambda: fs.mv(f"{prefix}/d/b", f"{prefix}/d/c"),
        lambda: fs.url(name),
        lambda: fs.rm_file(f"{prefix}/d/c"),
        lambda: fs.rm(f"{prefix}/d", recursive=True),
    ]
    for operation in operations:
        keys.expire()
        fs.invalidate_cache()
        operation()
    # A signed URL takes no request, so that nobody refuses its key.
    assert keys.issued == len(operations) - 1


def test_threads_that_meet_an_expiry_cause_one_renewal(keys: Keys, front: ScriptedServer, path: str) -> None:
    keys.most, keys.delay = 10**9, 0.2
    fs = opendalfs.S3FileSystem(**keys.options(front))
    with ThreadPoolExecutor(16) as pool:
        for issued in (1, 2):
            barrier = threading.Barrier(16)

            def read(_: int, barrier: threading.Barrier = barrier) -> bytes:
                barrier.wait()
                return fs.cat_file(path)

            assert set(pool.map(read, range(16))) == {DATA}
            assert keys.issued == issued
            keys.expire()


async def test_tasks_and_threads_share_a_renewal(keys: Keys, front: ScriptedServer, path: str) -> None:
    keys.most, keys.delay = 10**9, 0.2
    coroutines = opendalfs.S3FileSystem(asynchronous=True, **keys.options(front))
    threads = opendalfs.S3FileSystem(**keys.options(front))
    reads = [coroutines._cat_file(path) for _ in range(16)]
    reads += [asyncio.to_thread(threads.cat_file, path) for _ in range(8)]
    assert set(await asyncio.gather(*reads)) == {DATA}
    assert keys.issued == 1


def test_a_request_does_not_wait_for_a_renewal_before_the_expiry(
    keys: Keys, front: ScriptedServer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_MARGIN_RATIO", 1.0)
    keys.most, keys.lifetime = 10**9, 100.0
    fs = opendalfs.S3FileSystem(**keys.options(front))
    assert fs.cat_file(path) == DATA
    keys.blocked.clear()
    assert fs.cat_file(path) == DATA
    assert fs.cat_file(path) == DATA
    assert keys.issued == 1
    keys.blocked.set()
    while keys.issued == 1:
        time.sleep(0.01)


def test_an_async_provider_may_keep_what_belongs_to_its_event_loop(
    keys: Keys, front: ScriptedServer, path: str
) -> None:
    loops = set()

    async def provider() -> object:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        return keys()

    fs = opendalfs.S3FileSystem(**{**keys.options(front), "credential_provider": provider})
    for _ in range(12):
        assert fs.cat_file(path) == DATA
    assert keys.issued == 2
    assert len(loops) == 1


def test_a_read_that_began_with_the_old_keys_ends(
    keys: Keys, front: ScriptedServer, s3_server: S3Server
) -> None:
    keys.most = 10**9
    started, go = threading.Event(), threading.Event()

    def respond(request: Request) -> Response:
        response = keys.respond(request)
        if "slow" in request.target:
            started.set()
            go.wait(30)
        return response

    fs = opendalfs.filesystem("s3", **s3_server.options)
    base = f"{s3_server.bucket}/{uuid4().hex}"
    fs.pipe({f"{base}/slow": DATA, f"{base}/fast": DATA})
    front.respond = respond
    live = opendalfs.S3FileSystem(**keys.options(front), hedge_reads=False)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(live.cat_file, f"{base}/slow")
        started.wait(30)
        keys.expire()
        assert live.cat_file(f"{base}/fast") == DATA
        gc.collect()
        go.set()
        assert slow.result() == DATA
    fs.rm(base, recursive=True)


def test_a_denial_that_new_keys_do_not_change_is_raised(keys: Keys, front: ScriptedServer, path: str) -> None:
    keys.most = 10**9
    fs = opendalfs.S3FileSystem(**keys.options(front))
    front.respond = lambda _: Response(403)
    for _ in range(5):
        with pytest.raises(PermissionError, match="Access denied"):
            fs.cat_file(path)
    # Not one renewal for each denied request.
    assert keys.issued == 2


def test_a_trace_shows_the_repeated_request_and_no_token(
    keys: Keys, front: ScriptedServer, path: str
) -> None:
    fs = opendalfs.S3FileSystem(**keys.options(front))
    fs.cat_file(path)
    keys.expire()
    with opendalfs.trace() as trace:
        fs.cat_file(path)
    assert trace.records[0].retried == ("expired",)
    assert "hush" not in f"{trace} {fs!r} {fs} {fs.fsid} {fs.storage_options}"


def test_an_upload_whose_credentials_expire_fails_and_publishes_nothing(
    keys: Keys, front: ScriptedServer, prefix: str
) -> None:
    keys.most = 10**9
    fs = opendalfs.S3FileSystem(write_chunk=5 << 20, **keys.options(front))
    file = fs.open(f"{prefix}/large", "wb")
    file.write(bytes(11 << 20))
    keys.expire()

    def write_the_rest() -> None:
        for _ in range(20):
            file.write(bytes(5 << 20))
        file.commit()

    with pytest.raises(OSError, match="write on s3"):
        write_the_rest()
    file.discard()
    assert not fs.exists(f"{prefix}/large")
    fs.pipe_file(f"{prefix}/large", bytes(11 << 20))


def upload(fs: opendalfs.S3FileSystem, name: str) -> None:
    """Write 11 MiB in three parts."""
    with fs.open(name, "wb") as file:
        file.write(bytes(11 << 20))


def test_after_an_upload_whose_credentials_had_expired_the_next_one_has_new_ones(
    keys: Keys, front: ScriptedServer, prefix: str
) -> None:
    keys.most = 10**9
    fs = opendalfs.S3FileSystem(write_chunk=5 << 20, **keys.options(front))
    upload(fs, f"{prefix}/large")
    keys.expire()
    with pytest.raises(PermissionError, match="provider's credentials have expired: repeat a long upload"):
        upload(fs, f"{prefix}/large")
    upload(fs, f"{prefix}/large")
    assert keys.issued == 2


class Frozen(NamedTuple):
    access_key: str
    secret_key: str
    token: str


class Session:
    """As one of boto3: it does not say when its keys expire, and renews them when it is asked for them."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def get_credentials(self) -> Frozen:
        found, _ = self.keys()
        return Frozen(found["key"], found["secret"], found["token"])


@pytest.mark.parametrize("call", ["upload", "signed URL"])
def test_what_keeps_its_credentials_waits_for_a_renewal_that_is_due(
    call: str, keys: Keys, front: ScriptedServer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a program that has computed for hours can write its result."""
    monkeypatch.setattr(sdk_objects, "_CHECK_AFTER", 0.0)
    keys.most = 10**9
    options = {**keys.options(front), "credential_provider": Session(keys)}
    fs = opendalfs.S3FileSystem(write_chunk=5 << 20, **options)
    assert fs.cat_file(path) == DATA
    keys.expire()
    if call == "upload":
        upload(fs, path)
    else:
        assert "hush-token-2" in fs.url(path)
    assert keys.refused == 0


async def test_a_listing_of_many_pages_goes_on_after_an_expiry(
    keys: Keys, front: ScriptedServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    keys.most = 10**9
    fs = opendalfs.S3FileSystem(asynchronous=True, **keys.options(front))
    names = [f"{prefix}/f{i:02}" for i in range(20)]
    for name in names:
        await fs._pipe_file(name, b"x")
    monkeypatch.setattr(listing_calls, "PAGE", 5)
    connection, key = fs.locate(prefix)
    found = []
    async for page in connection.pages(f"{key}/", limit=5):
        keys.expire()
        found += [connection.name(entry.path) for entry in page]
    assert found == names
    assert keys.issued > 2


@pytest.mark.parametrize("recursive", [False, True])
async def test_a_listing_may_last_for_many_lifetimes(
    recursive: bool, keys: Keys, front: ScriptedServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is continued after the last key, so that no page is listed twice."""
    keys.most = 10**9
    fs = opendalfs.S3FileSystem(asynchronous=True, **keys.options(front))
    names = [f"{prefix}/{kind}{i:02}" for kind in ("d/f", "e", "g/h/i") for i in range(20)]
    for name in names:
        await fs._pipe_file(name, b"x")
    monkeypatch.setattr(listing_calls, "PAGE", 5)
    keys.most = 3
    keys.expire()
    before = len(front.requests)
    connection, key = fs.locate(prefix)
    found: list[str] = []
    async for page in connection.pages(f"{key}/", limit=5, recursive=recursive):
        found += [connection.name(entry.path) for entry in page]
    below = [f"{prefix}/{name}" for name in ("d/", *(f"e{i:02}" for i in range(20)), "g/")]
    expected = names if recursive else below
    assert sorted(found) == expected
    pages = -(-len(expected) // 5)
    assert len(front.requests) - before <= 2 * (pages + 1)


async def test_a_listing_without_progress_under_new_keys_is_an_error(
    keys: Keys, front: ScriptedServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.most = 10**9
    fs = opendalfs.S3FileSystem(asynchronous=True, **keys.options(front))
    for i in range(20):
        await fs._pipe_file(f"{prefix}/{i:02}", b"x")
    monkeypatch.setattr(listing_calls, "PAGE", 5)
    connection, key = fs.locate(prefix)
    pages = connection.pages(f"{key}/", limit=5)
    assert len(await anext(pages)) == 5
    keys.most = 0
    issued = keys.issued
    with pytest.raises(PermissionError, match="have expired"):
        # OpenDAL may have the next page already.
        [page async for page in pages]
    assert keys.issued == issued + 1
