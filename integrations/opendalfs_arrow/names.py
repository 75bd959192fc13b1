"""Which columns a read needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["needed"]


def needed(known: list[str], columns: Iterable[str] | None, filters: Any = None) -> list[str]:
    """Give the columns that are read: those asked for, and those that expressions name.

    Expressions are searched as text, as pyarrow does not list their fields; a name too many costs bytes.

    Parameters
    ----------
    known : list of str
        Columns that there are.
    columns : iterable of str, or dict of pyarrow.compute.Expression, optional
        Columns asked for, or what they are computed from by name; None for all.
    filters : pyarrow.compute.Expression, optional
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
    computed = list(columns.values()) if isinstance(columns, Mapping) else []
    names = [] if computed else list(columns)
    if filters is not None or computed:
        text = " ".join(map(str, [*computed, filters]))
        words = set(re.findall(r"[^\s()\[\]{},]+", text))
        names += [n for n in known if n in words or (" " in n and n in text)]
    return list(dict.fromkeys(names))
