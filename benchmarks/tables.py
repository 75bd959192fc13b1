"""Tables that are printed while the benchmark runs."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.runner import Result

__all__ = ["figure", "table"]

_HEAD = ("", "seconds", "least - most", "to ours", "CPU s", "MB peak", "requests", "MB", "in flight")
_WIDTHS = (28, 8, 16, 8, 7, 9, 9, 8, 10)


def _line(cells: Iterable[str]) -> str:
    first, *rest = zip(cells, _WIDTHS, strict=True)
    return f"  {first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


def figure(value: float | None, form: str) -> str:
    """Return a figure as text, or a dash for None."""
    return "-" if value is None else format(value, form)


def _row(result: Result, peer: str) -> str:
    least, most = result.spread(peer)
    memory, moved = result.median(peer, "memory"), result.median(peer, "bytes")
    return _line(
        (
            peer,
            figure(result.median(peer), ".3f"),
            f"{least:.3f} - {most:.3f}",
            figure(result.ratio(peer), ".2f") + "x",
            figure(result.median(peer, "cpu"), ".2f"),
            figure(None if memory is None else memory / 1e6, ",.0f"),
            figure(result.median(peer, "requests"), ",.0f"),
            figure(None if moved is None else moved / 1e6, ",.1f"),
            figure(result.median(peer, "in_flight"), ".0f"),
        )
    )


def notes(result: Result) -> list[str]:
    """Return a line for each peer that failed, was skipped or gave a wrong result."""
    said = [f"{peer}: {error}" for peer, error in result.errors.items()]
    said += [f"{peer}: skipped, {reason}" for peer, reason in result.skipped.items()]
    said += [f"{peer}: a wrong result, {count} times" for peer, count in result.wrong.items()]
    return said


def table(result: Result) -> str:
    """Return the results of a case as a table.

    Parameters
    ----------
    result : Result
        The results.

    Returns
    -------
    str
        A table with a row per peer; figures are medians over the rounds.
    """
    rows = [_row(result, peer) for peer in result.samples]
    return "\n".join([result.label, _line(_HEAD), *rows, *(f"  {note}" for note in notes(result))])
