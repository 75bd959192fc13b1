"""`ListingTable`: what fsspec's methods return, as a table for notebooks and terminals."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import opendalfs
from opendalfs import ListingTable


def file(name: str, size: int | None = 1_500_000, **more: Any) -> dict[str, Any]:
    """Make the info of a file."""
    when = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)
    return {"name": name, "size": size, "type": "file", "LastModified": when, **more}


FOLDER = {"name": "lake/old", "size": 0, "type": "directory"}


def rows(table: ListingTable) -> list[list[str]]:
    """Return the cells that a notebook shows; the table is well-formed."""
    lines = ET.fromstring(table._repr_html_()).iter("tr")
    return [[cell.text or "" for cell in line] for line in lines]


def test_a_table_has_names_sizes_and_times_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    other = file("lake/b", 7, LastModified=datetime(2026, 11, 26, 12, 30, tzinfo=east))
    table = ListingTable([file("lake/a.csv"), other, FOLDER])
    assert rows(table) == [
        ["name", "size", "modified (UTC)"],
        ["lake/a.csv", "1.5 MB", "2026-11-26 12:30:00"],
        ["lake/b", "7 B", "2026-11-26 10:30:00"],
        ["lake/old/", "", ""],
    ]
    assert "2 files, 1.5 MB; 1 directory<" in table._repr_html_()
    assert repr(table) == "\n".join(
        (
            "name          size  modified (UTC)",
            "lake/a.csv  1.5 MB  2026-11-26 12:30:00",
            "lake/b         7 B  2026-11-26 10:30:00",
            "lake/old/",
            "2 files, 1.5 MB; 1 directory",
        )
    )


def test_it_takes_what_each_method_returns() -> None:
    fs = opendalfs.filesystem("memory")
    fs.pipe({"table/a.csv": b"1", "table/b/c.csv": b"22"})
    assert [row[:2] for row in rows(ListingTable(fs.ls("table", detail=True)))[1:]] == [
        ["table/a.csv", "1 B"],
        ["table/b/", ""],
    ]
    for found in (fs.find("table", detail=True), fs.glob("table/**/*.csv", detail=True)):
        assert isinstance(found, dict)
        assert [row[0] for row in rows(ListingTable(found))[1:]] == ["table/a.csv", "table/b/c.csv"]
    assert [row[0] for row in rows(ListingTable(fs.info("table/a.csv")))[1:]] == ["table/a.csv"]
    assert rows(ListingTable(fs.find("table"))) == [["name"], ["table/a.csv"], ["table/b/c.csv"]]
    assert rows(ListingTable(iter(fs.find("table"))))[1:] == [["table/a.csv"], ["table/b/c.csv"]]


def test_methods_of_the_filesystem_still_return_plain_lists_and_dicts() -> None:
    fs = opendalfs.filesystem("memory")
    fs.pipe_file("plain/a", b"1")
    listed = fs.ls("plain", detail=True)
    assert type(listed) is list
    assert type(listed[0]) is dict
    assert type(fs.find("plain", detail=True)) is dict


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&amp;b", "bell\x07", "\ud800"]
)
def test_names_are_escaped(name: str) -> None:
    table = ListingTable([file(name), {**FOLDER, "name": name}])
    shown = table._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert {element.tag for element in ET.fromstring(shown).iter()} == {"div", "table", "tr", "th", "td"}
    if name.isprintable():
        assert rows(table)[1][0] == name


def test_text_has_no_control_characters() -> None:
    table = ListingTable([file("a\x1b[31m\nb\r\u2028c\u202efdp.exe")])
    assert str(table).splitlines()[1].startswith("a?[31m?b??c?fdp.exe  ")
    assert "\x1b" not in str(table)


def test_of_a_long_listing_the_first_are_shown_and_all_are_counted() -> None:
    infos = [file(f"lake/{i:05}", 1000) for i in range(12_345)]
    table = ListingTable(infos)
    assert len(rows(table)) == 1 + 100
    assert str(table).splitlines()[-1] == "12,345 files, 12.3 MB; the first 100 are shown"
    assert len(table._repr_html_()) < 50_000
    assert len(rows(ListingTable(infos, rows=3))) == 1 + 3


def test_unknown_sizes_and_an_empty_listing_are_shown() -> None:
    assert rows(ListingTable([file("a", None)]))[1] == ["a", "", "2026-11-26 12:30:00"]
    assert str(ListingTable([])) == "name\n0 entries"
    # As listings of other filesystems of fsspec have them.
    others = [
        {"name": "a", "type": "file"},
        {"name": "b", "type": "file", "LastModified": "Thu, 26 Nov 2026"},
    ]
    assert str(ListingTable(others)) == "name\na\nb\n2 files, 0 B"


@pytest.mark.parametrize("wrong", ["lake/orders", [("lake", [], [])], {"lake/a": 5}, [{"size": 1}]])
def test_what_is_no_listing_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"pass fs\.ls\(path, detail=True\)"):
        ListingTable(wrong)
