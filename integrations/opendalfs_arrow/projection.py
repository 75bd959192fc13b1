"""The columns that a read needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Mentions", "needed"]


class Mentions:
    """The names in some expressions.

    pyarrow does not list the fields of an expression, so its text is searched. A name too many costs bytes,
    and changes no result.

    Parameters
    ----------
    expressions : iterable of pyarrow.compute.Expression
        The expressions.
    """

    def __init__(self, expressions: Iterable[Any]) -> None:
        self._text = " ".join(map(str, expressions))
        self._words = set(re.findall(r"[^\s()\[\]{},]+", self._text))

    def among(self, columns: Iterable[str]) -> list[str]:
        """Return the columns that the expressions name."""
        return [n for n in columns if n in self._words or (" " in n and n in self._text)]


def needed(available: list[str], columns: Iterable[str] | None, filters: Any = None) -> list[str]:
    """Return the columns that a read needs: its own, and those that its expressions name.

    Parameters
    ----------
    available : list of str
        Columns of the file or dataset.
    columns : iterable of str, or dict of pyarrow.compute.Expression, optional
        Columns to return, or the expressions that compute them by name; None for all.
    filters : pyarrow.compute.Expression or Mentions, optional
        Filter of the rows.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import pyarrow.compute as pc
    >>> needed(["a", "b", "c"], ["a"], pc.field("c") > 1)
    ['a', 'c']
    """
    if columns is None:
        return list(available)
    names = [] if isinstance(columns, Mapping) else list(columns)
    if isinstance(columns, Mapping):
        names += Mentions(columns.values()).among(available)
    if filters is not None:
        names += (filters if isinstance(filters, Mentions) else Mentions([filters])).among(available)
    return list(dict.fromkeys(names))
