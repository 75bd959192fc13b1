"""DuckDB's glob patterns: what to list for a pattern, and which keys match it. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Pattern", "is_pattern"]

_WILD: Final = re.compile(r"[*?\[\\]")


def is_pattern(key: str) -> bool:
    """Whether a key contains a wildcard."""
    return _WILD.search(key) is not None


@dataclass(frozen=True, slots=True)
class Pattern:
    r"""A glob pattern with DuckDB's wildcards.

    ``*`` and ``?`` match within a name, ``**`` as a whole name matches any number of directories, ``[a-c]``
    and ``[!a-c]`` match one character, and a backslash escapes the next character.

    Parameters
    ----------
    folder : str
        Directory of all matches, without a trailing slash; empty for the root.
    prefix : str
        Beginning of the names in `folder` that can match.
    flat : bool
        Whether all matches are directly in `folder`.
    regex : re.Pattern
        Regular expression for whole keys.

    Examples
    --------
    >>> p = Pattern.parse("sales/y=2024/m=*/*.parquet")
    >>> p.folder, p.prefix, p.flat
    ('sales/y=2024', 'm=', False)
    >>> p.matches("sales/y=2024/m=1/a.parquet")
    True
    """

    folder: str
    prefix: str
    flat: bool
    regex: re.Pattern[str]

    @classmethod
    def parse(cls, key: str) -> Pattern:
        """Parse a key that contains wildcards."""
        names = key.split("/")
        first = next(i for i, name in enumerate(names) if is_pattern(name))
        literal = _WILD.split(names[first], maxsplit=1)[0]
        regex = "".join(_name_regex(name, last=i == len(names) - 1) for i, name in enumerate(names))
        flat = first == len(names) - 1 and names[first] != "**"
        return cls("/".join(names[:first]), literal, flat, re.compile(regex, re.DOTALL))

    def matches(self, key: str) -> bool:
        """Whether a key matches."""
        return self.regex.fullmatch(key) is not None


def _name_regex(name: str, last: bool) -> str:
    if name == "**":
        return r"(?:[^/]+/)*[^/]+" if last else r"(?:[^/]+/)*"
    return _characters(name) + ("" if last else "/")


def _characters(name: str) -> str:
    out, i = [], 0
    while i < len(name):
        char = name[i]
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and i + 1 < len(name):
            i += 1
            out.append(re.escape(name[i]))
        elif char == "[" and (end := name.find("]", i + 2)) > 0:
            out.append(_one_of(name[i + 1 : end]))
            i = end
        else:
            out.append(re.escape(char))
        i += 1
    return "".join(out)


def _one_of(inside: str) -> str:
    """Return the regular expression for the text between brackets."""
    negated = inside.startswith("!") and len(inside) > 1
    chars = inside[1:] if negated else inside
    out, i = [], 0
    while i < len(chars):
        if i + 2 < len(chars) and chars[i + 1] == "-":
            if chars[i] <= chars[i + 2]:
                out.append(f"{re.escape(chars[i])}-{re.escape(chars[i + 2])}")
            i += 3
        else:
            out.append(re.escape(chars[i]))
            i += 1
    return f"[^/{''.join(out)}]" if negated else f"[{''.join(out)}]" if out else "(?!)"
