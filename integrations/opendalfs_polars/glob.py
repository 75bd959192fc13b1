"""Globs for Polars' own stores, which turn them into regular expressions and escape only the dot.

There, ``c+d*.csv`` matches ``cd1.csv``, ``?`` is not a wildcard, and ``[!a]`` matches ``a``. For local files
Polars follows the usual rules. `to_polars_glob` makes the stores follow them too.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["GLOB", "to_polars_glob"]

GLOB: Final = re.compile(r"[*?\[]")
_BASE: Final = re.compile(r"\w+://[^/]*/")
_SPECIAL: Final = re.compile(r"\[(?:!(.[^\]]*)|([^!][^\]]*))\]|[?\\+()|^${}]", re.S)
_IN_SET: Final = re.compile(r"(.)-(.)|.", re.S)
_SPECIAL_IN_SET: Final = re.compile(r"[\\\[\]^&~*-]")


def to_polars_glob(url: str) -> str:
    """Return a URL for which Polars' stores find the files that match the glob.

    Parameters
    ----------
    url : str
        URL of an object store. A URL without a glob is returned unchanged.

    Returns
    -------
    str

    Examples
    --------
    >>> to_polars_glob("s3://lake/c+d/[!ab]?.csv")
    's3://lake/c[+]d/[^/ab][^/].csv'
    """
    base = _BASE.match(url)
    if base is None or not GLOB.search(url):
        return url
    return base.group() + _SPECIAL.sub(_translate, url[base.end() :])


def _translate(found: re.Match[str]) -> str:
    excluded, included = found.groups()
    if excluded:
        return f"[^/{_IN_SET.sub(_translate_in_set, excluded)}]"
    if included:
        return f"[{_IN_SET.sub(_translate_in_set, included)}]"
    return "[^/]" if found.group() == "?" else f"[{_escape(found.group())}]"


def _translate_in_set(found: re.Match[str]) -> str:
    first, last = found.groups()
    if first is None:
        return _escape(found.group())
    return f"{_escape(first)}-{_escape(last)}" if first <= last else ""


def _escape(text: str) -> str:
    # As a code point: Polars would take a literal star for a wildcard.
    return _SPECIAL_IN_SET.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
