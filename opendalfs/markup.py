"""Texts of others, made safe to show: escaped in HTML, without control characters on a terminal."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Final

__all__ = ["escape", "printable", "table"]

# XML does not allow these, not even escaped.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    """Return a text for HTML and XML, also within quotes.

    Examples
    --------
    >>> escape("<script>")
    '&lt;script&gt;'
    """
    # Only notebooks need it, and it brings a table of all entities.
    import html

    return html.escape(_CONTROL.sub("\ufffd", text))


def printable(text: str) -> str:
    r"""Return a text without characters that change a terminal, begin a line, or turn the direction of text.

    Examples
    --------
    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return _UNPRINTABLE.sub("?", text)


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = (), right: Container[int] = ()) -> str:
    """Return an HTML table of texts, which it escapes.

    Parameters
    ----------
    rows : iterable of sequences of str
        The texts of each row.
    header : sequence of str
        Names of the columns; none for a table whose first column names the rows.
    right : container of int
        Positions of the columns that are aligned to the right.

    Returns
    -------
    str

    Examples
    --------
    >>> table([["a"]])
    '<table><tr><th style="text-align: left; vertical-align: top">a</th></tr></table>'
    """

    def cell(column: int, text: str, *, is_header: bool) -> str:
        side = "right" if column in right else "left"
        tag = "th" if is_header else "td"
        # Names may contain several spaces.
        space = "" if is_header else "; white-space: pre-wrap"
        return f'<{tag} style="text-align: {side}; vertical-align: top{space}">{escape(text)}</{tag}>'

    def line(texts: Sequence[str], *, is_header: bool = False) -> str:
        cells = (
            cell(i, text, is_header=is_header or (not header and i == 0)) for i, text in enumerate(texts)
        )
        return f"<tr>{''.join(cells)}</tr>"

    lines = [line(header, is_header=True)] if header else []
    return f"<table>{''.join([*lines, *map(line, rows)])}</table>"
