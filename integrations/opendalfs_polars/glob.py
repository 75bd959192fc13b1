"""Globs for Polars' own stores, which make regular expressions of them and escape nothing but the dot.

There ``c+d*.csv`` finds ``cd1.csv``, ``?`` is no glob, and ``[!a]`` finds an ``a``. For local files Polars
has the usual rules, and these are kept here.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["GLOB", "translated"]

GLOB: Final = re.compile(r"[*?\[]")
_BEGINS: Final = re.compile(r"\w+://[^/]*/")
_SPECIAL: Final = re.compile(r"\[(?:!(.[^\]]*)|([^!][^\]]*))\]|[?\\+()|^${}]", re.S)
_WITHIN: Final = re.compile(r"(.)-(.)|.", re.S)
_ESCAPED: Final = re.compile(r"[\\\[\]^&~*-]")


def translated(url: str) -> str:
    """Make a URL in which Polars finds what the same glob means for local files.

    Parameters
    ----------
    url : str
        Of an object store; one without a glob stays as it is.

    Returns
    -------
    str

    Examples
    --------
    >>> translated("s3://lake/c+d/[!ab]?.csv")
    's3://lake/c[+]d/[^/ab][^/].csv'
    """
    begins = _BEGINS.match(url)
    if begins is None or not GLOB.search(url):
        return url
    return begins.group() + _SPECIAL.sub(_outside, url[begins.end() :])


def _outside(found: re.Match[str]) -> str:
    but, any_of = found.groups()
    if but:
        return f"[^/{_WITHIN.sub(_range, but)}]"
    if any_of:
        return f"[{_WITHIN.sub(_range, any_of)}]"
    return "[^/]" if found.group() == "?" else f"[{_escape(found.group())}]"


def _range(found: re.Match[str]) -> str:
    first, last = found.groups()
    if first is None:
        return _escape(found.group())
    return f"{_escape(first)}-{_escape(last)}" if first <= last else ""


def _escape(text: str) -> str:
    # By their codes: Polars would find a star itself.
    return _ESCAPED.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
