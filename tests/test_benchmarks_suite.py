"""The benchmark suite itself: it compares results, merges runs, and its report says what was measured."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import against, measured, readme
from benchmarks.__main__ import choose, main, parse
from benchmarks.access import Access, Skipped
from benchmarks.cases import CASES, GROUPS
from benchmarks.cases.cache import AT_LEAST, AT_MOST, FILECACHE, ROUND_TRIP, UNCACHED
from benchmarks.cases.model import LIMIT, LOCAL, OURS, Case, Peer
from benchmarks.causes import CAUSES, GOAL_CAUSES
from benchmarks.context import Context, Settings
from benchmarks.measured import Elsewhere, timed
from benchmarks.networks import DEFAULT, compared
from benchmarks.raw_http import Part, parquet_waves, pieces
from benchmarks.report import write
from benchmarks.runner import Disagreement, Result, Sample, measure, order
from benchmarks.store import Run, load, save
from benchmarks.tables import table
from opendalfs.testing import S3Server


@pytest.fixture
def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no memory: that of pytest takes most of a second to settle, each time."""
    monkeypatch.setattr(measured, "_settled", lambda: None)


@pytest.fixture
def context(unsettled: None) -> Context:
    """Return a context without storage and without a counting proxy."""
    return Context(Settings(rounds=2), "memory", "bench", {}, {})


def case(**peers: Callable[[], Any]) -> Case:
    """Make a case whose peers do what these functions do."""

    def peer(work: Callable[[], Any]) -> Peer:
        return lambda _: work

    return Case("raw", "nothing", {name.replace("_", " "): peer(work) for name, work in peers.items()}, repr)


def sampled(label: str, **seconds: float) -> Result:
    """Make a result of three rounds a peer."""
    group, _, name = label.partition(": ")
    found = next(c for c in CASES if c.label == label)
    result = Result.of(found)
    assert (result.group, result.name) == (group, name)
    for peer, took in seconds.items():
        samples = [Sample(took * noise, took, 1000, 0.0, 3, 4096, 2) for noise in (1.0, 0.9, 1.2)]
        result.samples[peer.replace("_", " ")] = samples
    return result


# The cases


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7])
def test_no_client_always_runs_first_or_after_the_same_one(count: int) -> None:
    peers = [f"peer {i}" for i in range(count)]
    rounds = [order(peers, turn) for turn in range(count * (1 + count % 2))]
    assert all(sorted(row) == peers for row in rounds)
    first = Counter(row[0] for row in rounds)
    after = Counter(pair for row in rounds for pair in pairwise(row))
    assert set(first) == set(peers)
    assert len(set(first.values())) == 1
    assert len(after) == count * (count - 1)
    assert len(set(after.values())) == 1


def test_labels_are_unique_and_ours_comes_first() -> None:
    labels = [c.label for c in CASES]
    assert len(set(labels)) == len(labels)
    assert all(next(iter(c.peers)) == OURS for c in CASES)
    assert set(GROUPS) == {"raw", "arrow", "duckdb", "polars", "cold", "cache", "cost", "growth"}


def test_causes_name_cases_and_peers_that_exist() -> None:
    peers = {c.label: c.peers for c in CASES}
    assert all(peer in peers[label] for label, peer in CAUSES)
    goals = [*AT_LEAST, *AT_MOST]
    assert all(peer in peers[f"cache: {name}"] for name, peer in [*goals, *GOAL_CAUSES])


def test_a_storage_of_the_users_is_only_read() -> None:
    chosen = choose(parse(["--url", "opendal+s3://lake/x"]))
    assert chosen
    assert not [c for c in chosen if c.writes or c.near or c.axis]


def test_the_command_line_changes_the_settings() -> None:
    given = parse(["--scale", "0.5", "--latency-ms", "80", "--rounds", "9", "-k", "arrow"])
    assert given.settings == Settings(scale=0.5, latency=0.080, rounds=9)
    assert {c.group for c in choose(given)} >= {"arrow"}
    assert all("arrow" in c.label for c in choose(given))
    assert parse(["--smoke"]).results is None


def test_a_network_sets_latency_and_bandwidth_and_chooses_the_cases_of_its_table() -> None:
    given = parse(["--network", "tail", "--rounds", "9"])
    assert given.settings == Settings(rounds=9).on("tail")
    assert given.settings.slow_share == 0.02
    assert {case.label for case in choose(given)} == {c.label for c in CASES if compared(c.label)}
    assert "20x slower" in str(given.settings)
    lab = parse([])
    assert lab.settings == Settings() == Settings().on(DEFAULT)
    assert len(choose(lab)) == len(CASES)


def test_peers_and_cases_can_be_chosen() -> None:
    given = parse(["--network", "lan", "-k", "all columns", "-k", "Q6, cold", "--peer", "pyarrow S3"])
    assert given.results is None
    chosen = {case.label: list(case.peers) for case in choose(given)}
    assert chosen == {
        "arrow: pq.read_table, all columns": [OURS, "pyarrow S3FileSystem"],
        "duckdb: Q6, cold": [OURS],
    }


# The runner


def test_every_round_is_kept_and_the_warm_up_is_not(context: Context) -> None:
    calls: list[str] = []
    result = measure(
        case(opendalfs=lambda: calls.append("ours"), other=lambda: calls.append("other")), context
    )
    assert calls == ["ours", "other", "ours", "other", "other", "ours"]
    assert {peer: len(found) for peer, found in result.samples.items()} == {OURS: 2, "other": 2}


def test_with_no_rounds_the_warm_up_is_measured(context: Context) -> None:
    context.settings = Settings(rounds=0)
    assert len(measure(case(opendalfs=lambda: 1), context).samples[OURS]) == 1


def test_a_peer_that_is_wrong_is_counted(context: Context) -> None:
    answers = iter([1, 2, 1])
    result = measure(case(opendalfs=lambda: 1, local_file=lambda: 1, other=lambda: next(answers)), context)
    assert result.wrong == {"other": 1}
    assert "a wrong result, 1 times" in table(result)


def test_when_we_are_wrong_it_stops(context: Context) -> None:
    with pytest.raises(Disagreement):
        measure(case(opendalfs=lambda: 2, local_file=lambda: 1), context)


def test_a_peer_that_cannot_is_skipped_and_one_that_fails_is_shown(context: Context) -> None:
    def absent() -> None:
        raise Skipped("it is not here")

    def broken() -> None:
        raise ValueError("it broke")

    result = measure(case(opendalfs=lambda: 1, absent=absent, broken=broken), context)
    assert result.skipped == {"absent": "it is not here"}
    assert result.errors == {"broken": "ValueError: it broke"}
    assert list(result.samples) == [OURS]


def test_memory_is_the_peak_not_the_rest() -> None:
    def work() -> int:
        return len(bytearray(64 << 20)) + len(bytearray(16 << 20))

    took = timed(work)
    assert took.outcome == 80 << 20
    assert took.memory is None or took.memory > 48 << 20


def test_what_was_measured_elsewhere_is_kept() -> None:
    told = Elsewhere("rows", 1.0, 2.0, 3)
    assert timed(lambda: told) is told


# The limit


def test_pieces_cover_a_part_exactly() -> None:
    found = pieces(Part("a", 3, 25), 10)
    assert found == [Part("a", 3, 13), Part("a", 13, 23), Part("a", 23, 25)]


def test_the_plan_of_parquet_is_its_footer_and_its_chunks(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({name: range(10_000) for name in "abcd"}), file, row_group_size=2_500)
    metadata = pq.read_metadata(file)
    (footer,), chunks = parquet_waves([(file, "lake/a")], ["b", "c"], [1, 3])
    assert (footer.stop, footer.start) == (
        file.stat().st_size,
        file.stat().st_size - metadata.serialized_size - 8,
    )
    wanted = sum(metadata.row_group(g).column(c).total_compressed_size for g in (1, 3) for c in (1, 2))
    assert sum(part.stop - part.start for part in chunks) == wanted
    assert len(chunks) == 2


# Results and the report


def test_runs_of_single_groups_make_one_report(tmp_path: Path) -> None:
    results = tmp_path / "results"
    slow = sampled("arrow: pq.read_table, all columns", opendalfs=9.0, s3fs=9.0)
    first = [slow, sampled("raw: cat_file, the big file", opendalfs=1.0, s3fs=2.0, obstore=3.0)]
    save(Run.now(Settings(), None, first), results)
    again = [sampled("arrow: pq.read_table, all columns", opendalfs=1.0, s3fs=4.0, local_file=0.5)]
    save(Run.now(Settings(), None, again), results)
    runs = load(results)
    assert list(runs) == ["raw", "arrow"]
    assert [r.to_dict() for r in runs["arrow"].results] == [r.to_dict() for r in again]
    text = write(results).read_text()
    assert "| cat_file, the big file | **2.00x** (2.00 - 2.00) | **3.00x** (3.00 - 3.00) |" in text
    assert "| pq.read_table, all columns | **4.00x** (4.00 - 4.00) |" in text
    assert "Where a peer is faster" not in text
    for plot in ("overview", "raw", "arrow"):
        assert f"results/{plot}.svg" in text
        ET.parse(results / f"{plot}.svg")


def test_the_report_compares_networks(tmp_path: Path) -> None:
    label = "arrow: pq.read_table, all columns"
    for network, theirs in (("lab", 3.0), ("far", 0.5)):
        found = [sampled(label, **{OURS: 1.0, "s3fs": 4.0, "pyarrow S3FileSystem": theirs})]
        save(Run.now(Settings().on(network), None, found), tmp_path / "results")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["arrow.json", "far"]
    text = write(tmp_path / "results").read_text()
    assert "| | lab | far |" in text
    assert f"| {label} | 3.00x | 0.50x |" in text
    assert f"| {label} | 1.000 | 3 | 4.000 (4.00x) | 0.500 (0.50x) |" in text


def test_the_report_says_why_a_peer_is_faster(tmp_path: Path) -> None:
    found = [
        sampled("raw: put, 500 small files", opendalfs=1.0, s3fs=3.0, obstore=0.5),
        sampled("raw: cat_file, 1 MiB", opendalfs=1.0, s3fs=0.96, obstore=0.9, limit=0.5),
    ]
    save(Run.now(Settings(), None, found), tmp_path / "results")
    text = write(tmp_path / "results").read_text()
    assert "**put, 500 small files**: obstore takes 0.50 times as long as opendalfs: each file costs" in text
    assert (
        "**cat_file, 1 MiB**: obstore takes 0.90 times as long as opendalfs: the cause is not known yet"
        in text
    )
    assert text.count("takes 0.") == 2


def test_the_report_shows_the_goals_of_the_cache_and_those_missed(tmp_path: Path) -> None:
    label = "cache: second run, DuckDB, Q6"
    peers = {OURS: 1.0, "DuckDB httpfs": 4.0, FILECACHE: 1.5, ROUND_TRIP: 0.8}
    second = sampled(label, **peers)
    second.samples[OURS] = [replace(sample, calls={"stat": 1}) for sample in second.samples[OURS]]
    first = sampled("cache: first run, cat, the big file", **{OURS: 1.2, UNCACHED: 1.0})
    save(Run.now(Settings(), None, [second, first]), tmp_path / "results")
    text = write(tmp_path / "results").read_text()
    assert (
        "| DuckDB, Q6 | 1.000 | 1 stat | - |  | **4.00x** (>= 3x) | **1.50x** (>= 2x) |  | **1.25x** ("
        in text
    )
    assert "| cat, the big file | 1.000 | 1.200 | **1.20x** (<= 1.1x) |" in text
    missed = text.partition("Where a goal is missed:")[2].partition("<details>")[0].strip().splitlines()
    assert [line.partition(",")[0] for line in missed] == ["- **second run", "- **first run"]
    assert f"{FILECACHE} takes 1.50 times as long, goal 2:" in missed[0]
    assert missed[0].endswith(f" It takes 1.88 times as long as a {ROUND_TRIP}.")
    assert f"opendalfs takes 1.20 times as long as {UNCACHED}, goal 1.1:" in missed[1]


def test_the_readme_shows_what_was_measured_and_keeps_the_rest(tmp_path: Path) -> None:
    found = [sampled("raw: cat_file, the big file", opendalfs=1.0, s3fs=2.0, obstore=3.0)]
    save(Run.now(Settings(), None, found), tmp_path / "results")
    file = tmp_path / "README.md"
    file.write_text(f"# Title\n{readme.BEGIN}\nold\n{readme.END}\nThe rest.\n")
    for _ in range(2):
        readme.update(tmp_path / "results", file)
        text = file.read_text()
        assert text.startswith("# Title\n")
        assert text.endswith("\nThe rest.\n")
        assert "old" not in text
        assert "| raw: cat_file, the big file | 1.00 s | 2.0x | 3.0x |" in text
        assert text.count("results/overview.svg") == 1
    file.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        readme.update(tmp_path / "results", file)
    assert file.read_text() == "no marks"


def test_growth_is_drawn(tmp_path: Path) -> None:
    grown = [sampled(c.label, opendalfs=1.0, s3fs=2.0) for c in CASES if c.axis]
    save(Run.now(Settings(), None, grown), tmp_path / "results")
    text = write(tmp_path / "results").read_text()
    assert "latency.svg" in text
    assert "files.svg" in text


def test_the_same_results_make_the_same_report(tmp_path: Path) -> None:
    found = [sampled("raw: cat_file, the big file", opendalfs=1.0, s3fs=2.0)]
    save(Run.now(Settings(), None, found), tmp_path / "results")
    first = write(tmp_path / "results").read_text(), (tmp_path / "results/raw.svg").read_bytes()
    assert (write(tmp_path / "results").read_text(), (tmp_path / "results/raw.svg").read_bytes()) == first


def test_a_report_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="python -m benchmarks"):
        write(tmp_path)


# Where it runs


def test_no_client_shows_the_secret() -> None:
    access = Access.of({"key": "me", "secret": "s3cr3t", "endpoint_url": "http://127.0.0.1:1", "region": "x"})
    assert access == Access("http://127.0.0.1:1", "x", "me", "s3cr3t")
    assert "s3cr3t" not in repr(access)


@pytest.mark.services
def test_a_bucket_of_the_users(
    s3_server: S3Server, prefix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = {"endpoint_url": s3_server.endpoint, "key": s3_server.access_key, "secret": s3_server.secret_key}
    options = [f"-o{name}={value}" for name, value in {**told, "region": s3_server.region}.items()]
    arguments = ["--url", f"opendal+s3://{prefix}", *options, "--rounds", "1", "-k", "cat_file, 1 KiB"]
    assert main([*arguments, "--results", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    for peer in (OURS, "s3fs", "obstore", LIMIT):
        assert peer in shown
    assert LOCAL not in shown
    bucket, _, key = prefix.partition("/")
    left = s3_server.client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    assert left == []
    assert (tmp_path / "results" / "raw.json").exists()


@pytest.mark.services
def test_a_second_run_reads_from_the_cache_and_leaves_none_behind(
    s3_server: S3Server, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    told = {"endpoint_url": s3_server.endpoint, "key": s3_server.access_key, "secret": s3_server.secret_key}
    options = [f"-o{name}={value}" for name, value in {**told, "region": s3_server.region}.items()]
    chosen = ["-k", "cache: second run, directory", "--peer", ROUND_TRIP, "--rounds", "0"]
    results = tmp_path / "results"
    assert main(["--url", f"opendal+s3://{prefix}", *options, *chosen, "--results", str(results)]) == 0
    (result,) = load(results)["cache"].results
    assert {peer: samples[0].calls for peer, samples in result.samples.items()} == {
        OURS: {"stat": 1, "list": 1},
        ROUND_TRIP: {},
    }
    assert result.wrong == {}
    assert list(scratch.iterdir()) == []


def test_a_service_that_no_peer_reads(unsettled: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "opendal+memory://bench", "--rounds", "1", "-k", "cat_file, 1 KiB"]) == 0
    assert "skipped, reads S3, not memory" in capsys.readouterr().out


# Against another commit


@pytest.mark.services
@pytest.mark.skipif(not (Path(__file__).parents[1] / ".git").exists(), reason="needs a git checkout")
def test_a_checkout_is_compared_with_another_commit(capsys: pytest.CaptureFixture[str]) -> None:
    against.main(["HEAD", "-k", "raw: cat_file, 1 KiB", "--rounds", "1", "--scale", "0.1"])
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("raw: cat_file, 1 KiB")
    assert row.count("x") >= 3
    assert "before:" not in row
    assert "after:" not in row
