"""Trace.plot: the drawing is well-formed, shows every call, and its title has the totals."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.tracing import Request, Trace

SVG = "{http://www.w3.org/2000/svg}"


def serial(count: int, **fields: Any) -> Trace:
    """Make a trace of reads one after another."""
    records = [Request("read", "s3", "lake", f"part-{i}", i + 1.0, i + 1.9, bytes=1000) for i in range(count)]
    for record in records:
        for name, value in fields.items():
            setattr(record, name, value)
    return Trace(records)


def bars(svg: str) -> list[ET.Element]:
    """Return the bars of a drawing: the rectangles with a tooltip."""
    return [r for r in ET.fromstring(svg).iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None]


def test_a_bar_a_call_in_the_order_of_their_start() -> None:
    drawn = bars(serial(7)._repr_html_())
    assert len(drawn) == 7
    lefts = [float(bar.attrib["x"]) for bar in drawn]
    tops = [float(bar.attrib["y"]) for bar in drawn]
    assert lefts == sorted(set(lefts))
    assert tops == sorted(set(tops))


def test_operations_and_failures_differ_in_colour() -> None:
    trace = serial(3)
    trace.records[1].operation = "stat"
    trace.records[2].error = "FileNotFoundError"
    assert len({bar.attrib["fill"] for bar in bars(trace._repr_html_())}) == 3


def test_the_title_counts() -> None:
    svg = serial(12)._repr_html_()
    assert "12 requests" in svg
    assert "12 round trips" in svg
    assert "1 most in flight" in svg


@pytest.mark.parametrize(
    "key", ["<script>alert(1)</script>", "a<b>&\"'.parquet", "k" * 500, "größe/🦆", "tab\tbell\x07nul\x00"]
)
def test_any_key_leaves_the_drawing_well_formed(key: str) -> None:
    shown = serial(2, key=key, service=key, container=key, operation=key, error=key)._repr_html_()
    assert len(bars(shown)) == 2
    assert {element.tag.removeprefix(SVG) for element in ET.fromstring(shown).iter()} <= {
        *("div", "b"),
        *("svg", "g", "rect", "line", "text", "title"),
    }


@pytest.mark.parametrize("count", [0, 1, 200])
def test_a_notebook_shows_all_of_a_few_calls(count: int) -> None:
    shown = serial(count)._repr_html_()
    assert len(bars(shown)) == count
    assert "Not shown" not in shown


def test_of_thousands_of_calls_the_first_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    trace = serial(5_000, key="k" * 100)
    shown = trace._repr_html_()
    assert len(bars(shown)) == 200
    note = "Not shown: 4,800 calls that began later. to_dicts() has all 5,000; plot(path) draws 1,000."
    assert note in shown
    assert "5,000 requests, 5 MB" in shown
    assert len(shown) < 100_000
    trace.plot(tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text()
    assert len(bars(svg)) == 1_000
    assert "Not shown: 4,000 calls that began later. to_dicts() has all 5,000<" in svg


def test_a_call_in_flight_is_omitted_and_counted() -> None:
    trace = serial(3)
    trace.records[2].end = 0.0
    shown = trace._repr_html_()
    assert len(bars(shown)) == 2
    assert "Not shown: 1 in flight. to_dicts() has all 3<" in shown


def test_a_notebook_shows_it_in_the_colours_of_its_text_and_a_file_black_on_white(tmp_path: Path) -> None:
    trace = serial(3)
    trace.records[2].error = "FileNotFoundError"
    for text in ("black", "white", "#000", "#ddd", "#444"):
        assert text not in trace._repr_html_()
    assert bars(trace._repr_html_())[2].attrib["fill"] == "currentColor"
    trace.plot(tmp_path / "a.svg")
    svg = ET.fromstring((tmp_path / "a.svg").read_text())
    assert svg.attrib["color"] == "black"
    assert svg[0].attrib["fill"] == "white"


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<svg"), ("html", b"<!doctype"), ("png", b"\x89PNG")])
def test_a_trace_plots_itself(tmp_path: Path, ending: str, start: bytes) -> None:
    if ending == "png":
        pytest.importorskip("matplotlib")
    fs = opendalfs.filesystem("memory")
    with opendalfs.trace() as trace:
        fs.pipe_file("doc/waterfall", b"hello")
        fs.cat_file("doc/waterfall")
    target = tmp_path / f"timeline.{ending}"
    trace.plot(target)
    trace.plot(str(target))
    assert target.read_bytes().startswith(start)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.svg, \.html or \.png"):
        serial(1).plot(tmp_path / "timeline.pdf")
