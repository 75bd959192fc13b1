"""Which columns a read needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Mentions", "needed"]


class Mentions:
    """The columns that some expressions name.

    The expressions are searched as text, once, as pyarrow does not list their fields; a name too many costs
    bytes.

    Parameters
    ----------
    expressions : iterable of pyarrow.compute.Expression
        What to search.
    """

    def __init__(self, expressions: Iterable[Any]) -> None:
        self._text = " ".join(map(str, expressions))
        self._words = set(re.findall(r"[^\s()\[\]{},]+", self._text))

    def among(self, known: Iterable[str]) -> list[str]:
        """Return those of some columns that are named."""
        return [n for n in known if n in self._words or (" " in n and n in self._text)]


def needed(known: list[str], columns: Iterable[str] | None, filters: Any = None) -> list[str]:
    """Return the columns that are read: those asked for, and those that expressions name.

    Parameters
    ----------
    known : list of str
        Columns that there are.
    columns : iterable of str, or dict of pyarrow.compute.Expression, optional
        Columns asked for, or what they are computed from by name; None for all.
    filters : pyarrow.compute.Expression or Mentions, optional
        Of the rows.

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
        return list(known)
    names = [] if isinstance(columns, Mapping) else list(columns)
    if isinstance(columns, Mapping):
        names += Mentions(columns.values()).among(known)
    if filters is not None:
        names += (filters if isinstance(filters, Mentions) else Mentions([filters])).among(known)
    return list(dict.fromkeys(names))
