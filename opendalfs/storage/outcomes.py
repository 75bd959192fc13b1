"""How an attempt to send a request ended, by OpenDAL's error."""

from __future__ import annotations

import re
from typing import Final

from opendalfs.error_translation import kind_of

from .endpoint import Outcome

__all__ = ["is_temporary", "outcome_of"]

_STATUS: Final = re.compile(r"response: Parts \{ status: (\d+)\b")
_TIMEOUT: Final = re.compile(r"=> (?:io )?(?:operation )?timeout|deadline has elapsed|timed out", re.I)
_UNREACHABLE: Final = re.compile(
    r"=> send http request\b|connection refused|connection reset|dns error", re.I
)
_THROTTLED: Final = frozenset({429, 503})

_FTP_LATE: Final = re.compile(
    r"Source:\s+Data connection is already open|at (?:read|stat) => ftp error.*Invalid response: \[226\]",
    re.DOTALL,
)
"""Of OpenDAL's ftp: a read has not yet ended on the pooled connection, so that no command is sent; or the
response at its end (226) was taken for that to a read or stat."""


def outcome_of(exc: BaseException) -> Outcome:
    """Return how the attempt that raised an error ended.

    Parameters
    ----------
    exc : BaseException
        An error of OpenDAL, not yet translated.

    Returns
    -------
    Outcome
    """
    kind = kind_of(exc)
    if kind == "RateLimited":
        return "throttled"
    if kind != "Unexpected":
        return "error"
    text = str(exc)
    status = _STATUS.search(text)
    if status is not None:
        # The response to a HEAD has no body with an error code.
        return "throttled" if int(status.group(1)) in _THROTTLED else "error"
    if _TIMEOUT.search(text):
        return "timeout"
    return "unreachable" if _UNREACHABLE.search(text) else "error"


def is_temporary(text: str) -> bool:
    """Whether another attempt may succeed, as OpenDAL's text of an error says."""
    return "(temporary)" in text.partition("=>")[0][:200] or _FTP_LATE.search(text) is not None
