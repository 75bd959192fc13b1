"""Plots: a dot to the right of the line is a peer that is slower than opendalfs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.cases.model import LIMIT, LOCAL, OURS, S3FS, TUNED
from benchmarks.runner import Result

__all__ = ["HEADLINES", "NATIVE", "NATIVES", "dots", "lines"]

# The palette of Okabe and Ito, for people with colour vision deficiency; each peer has a shape, too.
_LOOKS: dict[str, tuple[str, str]] = {
    OURS: ("#000000", "|"),
    S3FS: ("#d55e00", "o"),
    TUNED: ("#e69f00", "o"),
    "obstore": ("#0072b2", "s"),
    "pyarrow S3FileSystem": ("#0072b2", "s"),
    "DuckDB httpfs": ("#0072b2", "s"),
    "Polars native": ("#0072b2", "s"),
    "opendalfs gateway": ("#009e73", "D"),
    "opendalfs.serve": ("#56b4e9", "D"),
    "scan_pyarrow_dataset, s3fs": ("#d55e00", "o"),
    "s3fs, DuckDB's caches on": ("#e69f00", "o"),
    "s3fs, filecache": ("#d55e00", "o"),
    "s3fs, blockcache": ("#e69f00", "o"),
    "opendalfs, cache_ttl=None": ("#009e73", "D"),
    "opendalfs, call_hints=False": ("#56b4e9", "v"),
    "opendalfs, second time": ("#009e73", "D"),
    "Python itself": ("#000000", "x"),
    "local file and a round trip": ("#999999", "^"),
    LIMIT: ("#999999", "^"),
}
NATIVES = ("obstore", "pyarrow S3FileSystem", "DuckDB httpfs", "Polars native")
NATIVE = "obstore, or the engine's own reader"
_OTHER = ("#cc79a7", "v")
_HIDDEN = {OURS, LOCAL}
HEADLINES = (
    "raw: cat_file, the big file",
    "raw: cat_ranges, 150 x 1 MB",
    "raw: cat, 500 small files",
    "raw: find, 20,000 keys, no delay",
    "arrow: pq.read_table, 4 columns, 3 of them adjacent",
    "arrow: directory of 20 files, 3 columns",
    "duckdb: Q6, cold",
    "duckdb: glob of 20 files, cold",
    "polars: 4 columns",
)


def dots(results: Sequence[Result], title: str, file: Path, *, overview: bool = False) -> None:
    """Draw how many times longer than opendalfs each peer takes: one row per case, logarithmic.

    Parameters
    ----------
    results : sequence of Result
        The cases; those that opendalfs could not do are left out.
    title : str
        The title.
    file : Path
        An SVG file.
    overview : bool
        Whether the cases are of several groups: the group is named, and only s3fs, the native reader and the
        limit are shown.
    """
    shown = [r for r in results if r.median(OURS)]
    if not shown:
        return
    figure = _figure(10, 1.7 + 0.36 * len(shown))
    axes: Any = figure.subplots()
    axes.axvspan(1e-3, 1, color="#f6f6f6", zorder=0)
    axes.axvline(1, color="black", linewidth=1.4)
    peers = [_shown(result, overview) for result in shown]
    for y, (result, found) in enumerate(zip(shown, peers, strict=True)):
        for peer in found:
            _dot(axes, result, peer, y, NATIVE if overview and peer in NATIVES else peer)
    axes.set_yticks(range(len(shown)), [r.label if overview else r.name for r in shown])
    axes.invert_yaxis()
    _ratio_axis(axes, [x for r, found in zip(shown, peers, strict=True) for p in found for x in r.ratios(p)])
    _title(figure, axes, title)
    _save(figure, file)


def _shown(result: Result, overview: bool) -> list[str]:
    chosen = {S3FS, LIMIT, *NATIVES}
    found = [peer for peer in result.samples if peer not in _HIDDEN and result.ratio(peer)]
    return [peer for peer in found if peer in chosen or not overview]


def _dot(axes: Any, result: Result, peer: str, y: int, label: str) -> None:
    colour, shape = _LOOKS.get(peer, _OTHER)
    rounds = result.ratios(peer)
    axes.plot([min(rounds), max(rounds)], [y, y], color=colour, alpha=0.35, linewidth=3, zorder=2)
    axes.plot([result.ratio(peer)], [y], shape, color=colour, label=label, markersize=7, zorder=3)


def _ratio_axis(axes: Any, found: Sequence[float]) -> None:
    low, high = min([0.5, *found]) * 0.85, max([2.0, *found]) * 1.2
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [
        t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low <= t <= high
    ]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("time taken, opendalfs = 1x; right of the line: slower than opendalfs")
    axes.grid(axis="x", color="#dddddd", zorder=1)


def lines(results: Sequence[Result], title: str, file: Path) -> None:
    """Draw how the time grows, one line per peer.

    Parameters
    ----------
    results : sequence of Result
        Cases of one plot, each with an axis.
    title : str
        The title.
    file : Path
        An SVG file.
    """
    axis = results[0].axis
    assert axis is not None
    figure = _figure(6.4, 4.2)
    axes: Any = figure.subplots()
    values = [result.axis["value"] for result in results if result.axis]
    for peer in dict.fromkeys(p for r in results for p in r.samples):
        _line(axes, results, peer)
    if min(values) > 0:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xticks(values, [f"{v:,g}" for v in values])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(axis["label"])
    axes.set_ylabel("seconds")
    axes.grid(color="#dddddd")
    _title(figure, axes, title)
    _save(figure, file)


def _line(axes: Any, results: Sequence[Result], peer: str) -> None:
    colour, _ = _LOOKS.get(peer, _OTHER)
    points = [
        (r.axis["value"], r.median(peer), *r.spread(peer)) for r in results if r.axis and peer in r.samples
    ]
    across = [point[0] for point in points]
    width = 2.6 if peer == OURS else 1.6
    axes.plot(across, [p[1] for p in points], "o-", color=colour, label=peer, linewidth=width, markersize=5)
    axes.fill_between(across, [p[2] for p in points], [p[3] for p in points], color=colour, alpha=0.15)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _title(figure: Figure, axes: Any, title: str) -> None:
    """Write the title and the legend above the plot, where they cover nothing."""
    found: Mapping[str, Any] = {
        label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    # The figure's, not the axes': that one would take its width from the plot.
    legend = figure.legend(
        found.values(),
        found.keys(),
        loc="outside upper left",
        ncols=max(2, int(figure.get_figwidth() / 1.6)),
        alignment="left",
        title=title,
        title_fontproperties={"size": 11, "weight": "bold"},
        frameon=False,
        fontsize=8.5,
        handletextpad=0.4,
        columnspacing=1.2,
        borderaxespad=0.2,
    )
    legend.get_title().set_horizontalalignment("left")


def _save(figure: Figure, file: Path) -> None:
    # The same figures make the same file, so that a diff shows what changed.
    with mpl.rc_context({"svg.hashsalt": "opendalfs", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, bbox_inches="tight", metadata={"Date": None, "Creator": None})
