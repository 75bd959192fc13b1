"""docs/services.md and README.md have all services, and each server of the suite; no test failed there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from opendalfs.services import SERVICES

from .results import GROUPS, Counts, read_results
from .table import BEGIN, END, GRADES, PAGE, README, SERVERS, grade, main, missing, render, summary
from .targets import HTTP, TARGETS

TEXT = PAGE.read_text()
GREEN = {name: Counts(Counter(read=1)) for name in SERVERS}


def rows(after: str) -> list[list[str]]:
    """Return the cells of the table after a line, row by row, without its head."""
    lines = TEXT.partition(after)[2].partition("\n|")[2].partition("\n\n")[0].splitlines()
    return [[text.strip() for text in line.strip("|").split("|")] for line in lines[2:]]


def counted() -> dict[tuple[str, str], list[str]]:
    """Return the cells of each server by its service and name."""
    return {
        (row[0].strip("`"), row[1].removesuffix(" (emulator)")): row[2:]
        for row in rows("## Tests passed on each server\n")
    }


def test_each_target_of_the_suite_is_a_server_of_the_table() -> None:
    assert SERVERS.keys() == {*TARGETS, *HTTP}
    assert {(shown.service, shown.server) for shown in SERVERS.values()} == counted().keys()
    assert {shown.service for shown in SERVERS.values()} <= SERVICES.keys()


def grade_of(rows: list[list[str]]) -> str:
    """Return the grade that follows from the rows of a service in the table of counts."""
    green = [row[1] for row in rows if int(row[-3]) > 0 and int(row[-1]) == 0]
    if not green:
        return "untested"
    return "emulated" if all(server.endswith("(emulator)") for server in green) else "proved"


def test_the_page_and_the_readme_grade_each_service_by_its_counts() -> None:
    listed = TEXT.partition("|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    graded = {row.split("|")[1].strip(" *"): row.split("|")[2].replace("`", "").split() for row in listed}
    assert list(graded) == list(GRADES)
    assert Counter(name for names in graded.values() for name in names) == Counter(list(SERVICES))
    counts = rows("## Tests passed on each server\n")
    assert {name: of for of, names in graded.items() for name in names} == {
        name: grade_of([row for row in counts if row[0] == f"`{name}`"]) for name in SERVICES
    }
    assert README.read_text().partition(BEGIN)[2].partition(END)[0] in TEXT


def test_a_service_is_proved_by_a_run_without_failures_on_a_real_server() -> None:
    assert [grade(name, GREEN) for name in ("redis", "s3", "gcs", "b2")] == [
        "proved",
        "proved",
        "emulated",
        "untested",
    ]
    failed = Counts(Counter(read=9), Counter(list=1))
    assert grade("redis", {**GREEN, "redis": failed}) == "untested"
    assert grade("redis", {**GREEN, "redis": Counts()}) == "untested"
    assert grade("s3", {**GREEN, "s3": failed}) == "emulated"
    assert grade("webdav", {**GREEN, "webdav": failed}) == "proved"
    reasons = Counter({"OpenDAL's redis cannot list": 1})
    assert "- no listings: `redis`\n" in summary({**GREEN, "redis": Counts(reasons=reasons)})


@pytest.mark.parametrize("name", SERVERS)
def test_no_test_has_failed_on_a_server_and_each_skipped_one_has_a_reason(name: str) -> None:
    shown = SERVERS[name]
    *cells, passed, skipped, failed = counted()[shown.service, shown.server]
    assert int(failed) == 0
    groups = [re.fullmatch(r"(\d+) of (\d+)|-", cell) for cell in cells]
    assert len(groups) == len(GROUPS)
    found = [(int(g[1]), int(g[2])) for g in groups if g is not None and g[1]]
    assert int(passed) == sum(done for done, _ in found) > 0
    assert int(skipped) == sum(total - done for done, total in found)
    reasons = [
        row for row in rows("## Why tests are skipped\n") if row[:2] == [f"`{shown.service}`", shown.server]
    ]
    assert sum(int(row[2]) for row in reasons) == int(skipped)
    assert all(row[3] for row in reasons)
    assert not [row[3] for row in reasons if "not installed" in row[3]]


def test_apache_skips_no_more_tests_than_nginx() -> None:
    found = counted()
    assert int(found["webdav", "Apache, mod_dav"][-2]) <= int(found["webdav", "nginx, dav-ext"][-2])


def test_a_target_whose_tests_are_all_skipped_is_missing() -> None:
    results = dict(GREEN)
    assert missing(results) == []
    assert "| `redis` | redis | 1 of 1 |" in render(results)
    results["redis"] = Counts(skipped=Counter(read=1), reasons=Counter({"redis is not installed": 1}))
    assert missing(results) == ["redis"]
    del results["moto"]
    assert missing(results) == ["moto", "redis"]


def test_a_missing_server_is_an_error_if_all_are_required(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text('{"test": "a", "target": "redis", "group": "read", "outcome": "passed"}\n')
    assert main([str(file)]) == 0
    assert main([str(file), "--require-all"]) == 1
    assert PAGE.read_text() == TEXT


def test_the_last_outcome_of_a_test_counts(tmp_path: Path) -> None:
    line = '{{"test": "a", "target": "redis", "group": "read", "outcome": "{}"}}\n'
    file = tmp_path / "results"
    file.write_text(line.format("failed") + line.format("passed"))
    assert read_results(file)["redis"].passed == {"read": 1}
    assert read_results(file)["redis"].failed == {}
