"""trace(), the log and OpenTelemetry record each call to storage, and no secret."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import tracing
from opendalfs.testing import S3Server
from opendalfs.tracing import Request, Trace, otel


def made(*spans: tuple[float, float], **fields: Any) -> Trace:
    """Make a trace of calls with these starts and ends."""
    return Trace([Request("read", "s3", "lake", "a", start, end, **fields) for start, end in spans])


@pytest.fixture
def fs() -> Any:
    return opendalfs.filesystem("memory")


@pytest.fixture
def folder() -> str:
    return f"box/{uuid4().hex}"


# What a trace holds


def test_fields_are_filled_at_the_seam(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    bucket, _, key = f"{prefix}/a".partition("/")
    fs.pipe_file(f"{bucket}/{key}", b"0123456789")
    with opendalfs.trace() as t:
        assert fs.cat_file(f"{bucket}/{key}", start=2, end=6) == b"2345"
    (read,) = [r for r in t.records if r.operation == "read"]
    assert (read.service, read.container, read.key) == ("s3", bucket, key)
    assert (read.offset, read.size, read.bytes, read.requests) == (2, 4, 4, 1)
    assert (read.error, bool(read.thread)) == ("", True)
    assert 0 < read.start < read.end
    assert t.bytes_wanted == 4


def test_a_streamed_object_is_counted_once(fs: Any, folder: str) -> None:
    fs.pipe_file(f"{folder}/a", bytes(200_000))
    with opendalfs.trace() as t:
        fs.cat_file(f"{folder}/a")
    assert t.bytes == t.bytes_wanted == 200_000
    assert [r.error for r in t.records] == [""]


def test_a_stream_that_was_left_is_no_error(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe_file(f"{prefix}/large", bytes(20_000_000))
    fs.invalidate_cache()
    with opendalfs.trace() as t:
        assert len(fs.cat_file(f"{prefix}/large")) == 20_000_000
    assert {r.error for r in t.records} == {""}


def test_an_error_is_named_as_the_caller_sees_it(fs: Any, folder: str) -> None:
    with opendalfs.trace() as t, pytest.raises(FileNotFoundError):
        fs.cat_file(f"{folder}/missing")
    assert t.records[0].error == "FileNotFoundError"


def test_traces_nest_and_overlap(fs: Any, folder: str) -> None:
    with opendalfs.trace() as outer:
        fs.pipe_file(f"{folder}/a", b"1")
        with opendalfs.trace() as inner:
            fs.pipe_file(f"{folder}/b", b"2")
        fs.pipe_file(f"{folder}/c", b"3")
    fs.pipe_file(f"{folder}/d", b"4")
    assert [r.key[-1] for r in outer.records if r.operation == "write"] == ["a", "b", "c"]
    assert [r.key[-1] for r in inner.records if r.operation == "write"] == ["b"]


def test_a_trace_sees_every_thread(fs: Any, folder: str) -> None:
    def work(i: int) -> None:
        for j in range(20):
            fs.pipe_file(f"{folder}/{i}-{j}", b"x")

    with opendalfs.trace() as t:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert t.count("write") == 160
    assert all(r.end >= r.start > 0 for r in t.records)


def test_traces_open_and_close_in_any_order(fs: Any, folder: str) -> None:
    first, second = opendalfs.trace(), opendalfs.trace()
    one, two = first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    fs.pipe_file(f"{folder}/a", b"1")
    second.__exit__(None, None, None)
    assert (one.requests, two.count("write")) == (0, 1)
    assert not tracing.enabled()


def test_nothing_is_recorded_without_a_trace_or_log(
    fs: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "start", lambda *_: pytest.fail("a call was recorded"))
    fs.pipe_file(f"{folder}/a", b"1")
    assert fs.cat_file(f"{folder}/a") == b"1"


# What a trace tells


def test_round_trips_of_a_staircase_and_of_a_wall() -> None:
    assert made(*((i, i + 1) for i in range(10))).round_trips == 10
    assert made(*((0, 1) for _ in range(10))).round_trips == 1
    assert made((0, 2), (1, 3), (2, 4), (3, 5)).round_trips == 2
    assert made().round_trips == 0


def test_pages_of_a_list_wait_for_each_other() -> None:
    t = made((0, 1), (2, 3))
    t.records[0].operation, t.records[0].requests = "list", 20
    assert t.round_trips == 21


def test_parts_of_a_write_do_not() -> None:
    t = made((0, 1))
    t.records[0].operation, t.records[0].requests = "write", 50
    assert t.round_trips == 3


def chain(t: Trace) -> int:
    """The longest chain, by trying: what the fast way must agree with."""
    longest: dict[int, int] = {}
    for i, r in enumerate(t.records):
        longest[i] = 1 + max((longest[j] for j in range(i) if t.records[j].end <= r.start), default=0)
    return max(longest.values(), default=0)


def test_round_trips_agree_with_a_plain_model() -> None:
    chance = random.Random(7)
    for _ in range(200):
        starts = sorted(chance.randrange(1, 40) for _ in range(chance.randrange(1, 30)))
        t = made(*((start, start + chance.randrange(1, 12)) for start in starts))
        assert t.round_trips == chain(t)


def test_a_call_in_flight_has_no_end() -> None:
    t = made((1, 2), (3, 0), (3, 4))
    assert t.in_flight == 2
    assert t.round_trips == 2


def test_in_flight_of_calls_that_touch_is_one() -> None:
    assert made((1, 2), (2, 3)).in_flight == 1
    assert made((1, 3), (2, 3)).in_flight == 2


def test_a_table_and_dictionaries(fs: Any, folder: str) -> None:
    with opendalfs.trace() as t:
        fs.pipe_file(f"{folder}/a", b"hello")
        fs.cat_ranges([f"{folder}/a"] * 2, [0, 3], [1, 5])
    shown = str(t)
    assert "write" in shown
    assert "round trips" in shown
    assert "3 bytes wanted" in shown
    assert repr(t) == shown
    dicts = t.to_dicts()
    assert [d["operation"] for d in dicts] == [r.operation for r in t.records]
    assert all(a["start"] <= b["start"] for a, b in pairwise(dicts))


# The log


def test_the_log_has_a_line_a_call(fs: Any, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="opendalfs"):
        fs.pipe_file(f"{folder}/a b", b"hello")
        with pytest.raises(FileNotFoundError):
            fs.cat_file(f"{folder}/missing")
    lines = [record.getMessage() for record in caplog.records if record.name == "opendalfs"]
    assert any("write memory" in line and "5 bytes" in line for line in lines)
    assert any("FileNotFoundError" in line for line in lines)


def test_a_key_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="opendalfs"):
        otel.emit(Request("read", "s3", "lake", "a\nDEBUG all is well", 1.0, 2.0))
    assert "\n" not in caplog.records[0].getMessage()


def test_the_log_is_silent_by_default(fs: Any, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="opendalfs")
    fs.pipe_file(f"{folder}/a", b"hello")
    assert not [record for record in caplog.records if record.name == "opendalfs"]


def test_no_secret_is_recorded(
    s3_server: S3Server, prefix: str, caplog: pytest.LogCaptureFixture, spans: Any
) -> None:
    secret = "s3cr3t-that-nobody-may-see"
    options = {**s3_server.options, "key": "wrong-key", "secret": secret}
    with caplog.at_level(logging.DEBUG, logger="opendalfs"), opendalfs.trace() as t:
        fs = opendalfs.filesystem("s3", **options)
        with pytest.raises(PermissionError):
            fs.cat_file(f"{prefix}/a")
    told = [
        str(t),
        repr(t),
        t._repr_html_(),
        caplog.text,
        *(span.to_json() for span in spans.get_finished_spans()),
    ]
    assert len(told) > 3
    for text in told:
        assert secret not in text
        assert "wrong-key" not in text


# OpenTelemetry


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Set a tracer provider for one test; the public way allows but one a process."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def test_a_span_a_call_below_the_current_one(fs: Any, folder: str, spans: Any) -> None:
    from opentelemetry import trace

    fs.pipe_file(f"{folder}/a", b"0123456789")
    spans.clear()
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        assert fs.cat_file(f"{folder}/a", start=1, end=4) == b"123"
    read = next(span for span in spans.get_finished_spans() if span.name == "opendalfs read")
    assert read.parent.span_id == outer.get_span_context().span_id
    assert read.attributes["opendalfs.service"] == "memory"
    assert read.attributes["opendalfs.bytes"] == 3
    assert read.attributes["opendalfs.offset"] == 1
    assert outer.start_time <= read.start_time <= read.end_time


async def test_spans_of_coroutines_hang_below_theirs(folder: str, spans: Any) -> None:
    from opentelemetry import trace

    fs = opendalfs.filesystem("memory", asynchronous=True, skip_instance_cache=True)
    tracer = trace.get_tracer("test")

    async def write(name: str) -> int:
        with tracer.start_as_current_span(name) as span:
            await fs._pipe_file(f"{folder}/{name}", b"x")
            return span.get_span_context().span_id

    ids = await asyncio.gather(*(write(f"task-{i}") for i in range(5)))
    writes = [s for s in spans.get_finished_spans() if s.name == "opendalfs write"]
    assert {s.parent.span_id for s in writes} == set(ids)


def test_a_failed_call_is_a_failed_span(fs: Any, folder: str, spans: Any) -> None:
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{folder}/missing")
    failed = [span for span in spans.get_finished_spans() if not span.status.is_ok]
    assert failed[0].attributes["error.type"] == "FileNotFoundError"


def test_without_a_provider_there_are_no_spans() -> None:
    # A fresh process, since one may have set a provider here.
    code = "import opentelemetry.trace; from opendalfs.tracing import otel; print(otel.enabled())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_opentelemetry_is_not_imported_unless_used() -> None:
    code = "import sys, opendalfs; opendalfs.filesystem('memory').pipe_file('a', b'1'); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "opentelemetry.trace" not in ran.stdout.split()
    assert not otel.enabled()
