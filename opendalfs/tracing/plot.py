"""The timeline of a trace: a bar for each call, so that a serial scan shows as a staircase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from opendalfs.markup import escape

from .request import Request

__all__ = ["draw", "draw_inline", "format_size", "save", "time_span"]

# Okabe and Ito's palette, which people with colour vision deficiency can distinguish.
_COLOURS: Final = {
    "read": "#0072b2",
    "write": "#d55e00",
    "stat": "#e69f00",
    "list": "#009e73",
    "delete": "#cc79a7",
    "copy": "#56b4e9",
    "cache": "#f0e442",
}
_OTHER: Final = "#777777"
# The colour of the text: black in files, and what the notebook has for its text.
_FAILED: Final = "currentColor"

_LEFT: Final = 300
_RIGHT: Final = 90
_TOP: Final = 64
_WIDTH: Final = 640
_FONT: Final = 'fill="currentColor" font-family="sans-serif" font-size="11"'
_FULL_WIDTH: Final = _LEFT + _WIDTH + _RIGHT
_TITLE_HEIGHT: Final = 26
_MOST_ROWS: Final = 1_000
_MOST_INLINE: Final = 200
"""Rows in a notebook, which stores them in its file: 800 points high, about 60 kB."""


def save(requests: Sequence[Request], title: str, path: str) -> None:
    """Draw the timeline of requests into a file.

    Parameters
    ----------
    requests : sequence of Request
        What to draw.
    title : str
        Line above the bars.
    path : str
        Ends in ``.svg``, ``.html`` or ``.png``; the last needs matplotlib.

    Raises
    ------
    ValueError
        For another ending.
    ImportError
        For ``.png`` without matplotlib.
    """
    kind = Path(path).suffix.lower()
    if kind == ".svg":
        Path(path).write_text(draw(requests, title), encoding="utf-8")
    elif kind == ".html":
        page = f'<!doctype html><meta charset="utf-8"><title>Trace</title>{draw(requests, title)}'
        Path(path).write_text(page, encoding="utf-8")
    elif kind == ".png":
        _save_png(requests, title, path)
    else:
        raise ValueError(f"cannot plot to {path!r}: the file name must end in .svg, .html or .png")


def draw(requests: Sequence[Request], title: str) -> str:
    """Return the timeline of requests as SVG, black on white.

    Parameters
    ----------
    requests : sequence of Request
        What to draw; calls in flight are left out, and all after the first thousand. A line below the bars
        says how many.
    title : str
        Line above the bars.

    Returns
    -------
    str
    """
    records = _drawn(requests, _MOST_ROWS)
    height = _height(records)
    paper = (
        '<rect width="100%" height="100%" fill="white"/>'
        f'<text x="12" y="20" font-size="14" font-weight="bold">{escape(title)}</text>'
    )
    note = _left_out(requests, records)
    if note:
        height += 18
        paper += f'<text x="12" y="{height - 8:.0f}">{note}</text>'
    size = f'width="{_FULL_WIDTH}" height="{height:.0f}" color="black"'
    return _svg(records, size, paper)


def draw_inline(requests: Sequence[Request], title: str) -> str:
    """Return the timeline of requests as HTML, in the colours of the page around it.

    Parameters
    ----------
    requests : sequence of Request
        What to draw; calls in flight are left out, and all after the first 200. A line below the bars says
        how many.
    title : str
        Line above the bars.

    Returns
    -------
    str
        Well-formed XML, too.
    """
    records = _drawn(requests, _MOST_INLINE)
    box = f'viewBox="0 {_TITLE_HEIGHT} {_FULL_WIDTH} {_height(records) - _TITLE_HEIGHT:.0f}"'
    note = _left_out(requests, records)
    # Wide enough to be read; a narrower page scrolls.
    drawing = _svg(records, f'{box} style="min-width: 700px; max-width: {_FULL_WIDTH}px"', "")
    return (
        f'<div style="overflow-x: auto"><div><b>{escape(title)}</b></div>\n{drawing}\n'
        f"{f'<div>{note}</div>' if note else ''}</div>"
    )


def time_span(requests: Sequence[Request]) -> tuple[float, float]:
    """Return the start of the first request and the seconds until the end of the last."""
    done = [r for r in requests if r.end > 0]
    begin = min((r.start for r in done), default=0.0)
    end = max((r.end for r in done), default=1.0)
    return begin, max(end - begin, 1e-6)


def format_size(count: int) -> str:
    """Return a number of bytes with a decimal unit."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:,.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} GB"


def _drawn(requests: Sequence[Request], most: int) -> list[Request]:
    return sorted((r for r in requests if r.end > 0), key=lambda r: r.start)[:most]


def _left_out(requests: Sequence[Request], drawn: Sequence[Request]) -> str:
    """Return a line on the calls that are not drawn; empty if all are."""
    done = sum(1 for r in requests if r.end > 0)
    later, in_flight = done - len(drawn), len(requests) - done
    counts = [f"{later:,} calls that began later"] if later else []
    counts += [f"{in_flight:,} in flight"] if in_flight else []
    text = f"Not shown: {', '.join(counts)}. to_dicts() has all {len(requests):,}" if counts else ""
    return f"{text}; plot(path) draws {_MOST_ROWS:,}." if later and len(drawn) < _MOST_ROWS else text


def _row_height(records: Sequence[Request]) -> float:
    return max(4.0, min(18.0, 600 / max(len(records), 1)))


def _height(records: Sequence[Request]) -> float:
    return _TOP + _row_height(records) * max(len(records), 1) + 36


def _svg(records: Sequence[Request], attributes: str, background: str) -> str:
    """Return the bars, their labels, the legend and the axis."""
    begin, span = time_span(records)
    row, scale = _row_height(records), _WIDTH / span
    bars, labels = [], []
    for i, r in enumerate(records):
        y = _TOP + i * row
        x = _LEFT + (r.start - begin) * scale
        length = max((r.end - r.start) * scale, 1.0)
        bars.append(
            f'<rect x="{x:.1f}" y="{y + row * 0.1:.1f}" width="{length:.1f}" height="{row * 0.8:.1f}" '
            f'fill="{_colour(r)}"><title>{escape(_tooltip(r, begin))}</title></rect>'
        )
        if row >= 9:
            labels.append(_labels(r, x + length, y + row * 0.78))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {attributes} {_FONT}>',
            background,
            _legend(records),
            _axis(span, scale, _height(records) - 30),
            # The edge shows bars whose colour is near that of the page.
            '<g stroke="currentColor" stroke-opacity="0.5" stroke-width="0.5">',
            *bars,
            "</g>",
            *labels,
            "</svg>",
        ]
    )


def _colour(r: Request) -> str:
    return _FAILED if r.error else _COLOURS.get(r.operation, _OTHER)


def _solid(colour: str) -> str:
    return "black" if colour == _FAILED else colour


def _kinds(records: Sequence[Request]) -> dict[str, str]:
    """Return the entries of the legend and their colours."""
    kinds = {r.operation: _COLOURS.get(r.operation, _OTHER) for r in records}
    return {**kinds, "failed": _FAILED} if any(r.error for r in records) else kinds


def _legend(records: Sequence[Request]) -> str:
    parts, x = [], 12
    for name, colour in _kinds(records).items():
        parts.append(
            f'<rect x="{x}" y="32" width="11" height="11" fill="{colour}"/>'
            f'<text x="{x + 16}" y="42">{escape(name)}</text>'
        )
        x += 34 + 7 * len(name)
    return "".join(parts)


def _axis(span: float, scale: float, bottom: float) -> str:
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= 8)
    parts = []
    for i in range(int(span / step) + 1):
        x = _LEFT + i * step * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{bottom:.0f}" stroke="currentColor" '
            'stroke-opacity="0.15"/>'
            f'<text x="{x:.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{i * step * 1000:,.4g} ms</text>'
        )
    return "".join(parts)


def _labels(r: Request, x: float, y: float) -> str:
    key = r.key if len(r.key) <= 34 else f"…{r.key[-33:]}"
    moved = format_size(r.bytes) if r.bytes else ""
    return (
        f'<text x="12" y="{y:.1f}">{escape(r.operation)}</text>'
        f'<text x="58" y="{y:.1f}" opacity="0.75">{escape(key)}</text>'
        f'<text x="{x + 4:.1f}" y="{y:.1f}" opacity="0.75">{moved}</text>'
    )


def _tooltip(r: Request, begin: float) -> str:
    text = f"{r.operation} {r.path}\n{(r.start - begin) * 1000:.1f} to {(r.end - begin) * 1000:.1f} ms"
    if r.bytes:
        text += f"\n{r.bytes:,} bytes from offset {r.offset:,}"
    if r.retried or r.waited:
        text += f"\n{len(r.retried)} retries {' '.join(r.retried)}, waited {r.waited * 1000:.1f} ms"
    return f"{text}\n{r.error}" if r.error else text


def _save_png(requests: Sequence[Request], title: str, path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ImportError(
            "plotting to .png needs matplotlib: pip install matplotlib, or plot to .svg"
        ) from exc
    records = _drawn(requests, _MOST_ROWS)
    begin, _ = time_span(records)
    figure = Figure(figsize=(10, max(2.5, min(12.0, 0.22 * len(records) + 1.2))), layout="constrained")
    axes: Any = figure.subplots()
    axes.barh(
        range(len(records)),
        [(r.end - r.start) * 1000 for r in records],
        left=[(r.start - begin) * 1000 for r in records],
        color=[_solid(_colour(r)) for r in records],
    )
    axes.invert_yaxis()
    axes.set_yticks([])
    axes.set_xlabel("milliseconds")
    axes.set_title(title, loc="left", fontsize=10)
    kinds = _kinds(records)
    handles = [axes.barh([0], [0], color=_solid(colour))[0] for colour in kinds.values()]
    axes.legend(handles, list(kinds), ncols=len(kinds) or 1, fontsize=8)
    figure.savefig(path, dpi=120)
