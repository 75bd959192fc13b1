"""Messages and exit codes of errors."""

from __future__ import annotations

from typing import Final

from opendalfs.error_translation import reason_of
from opendalfs.errors import redact

from .arguments import secrets

__all__ = ["FAILED", "NOT_FOUND", "USAGE", "Failure", "describe", "redacted", "without_secrets"]

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3

_DOCTOR: Final = (ConnectionError, PermissionError, TimeoutError)
"""Errors whose reason `opendalfs doctor` may find."""


_SEE_CAUSE: Final = "see the error's __cause__"
"""Advice for programs; the command line shows the cause."""

_MOST_REASON: Final = 300
"""Characters of a cause that are shown."""


class Failure(Exception):
    """An error of a command, with its message and its exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def describe(exc: Exception) -> tuple[str, int]:
    """Return a message of one line for an error, and the exit code.

    Examples
    --------
    >>> describe(FileNotFoundError(2, "No such file or directory", "lake/a"))
    ('lake/a: No such file or directory', 3)
    """
    if isinstance(exc, Failure):
        return str(exc), exc.code
    code = NOT_FOUND if isinstance(exc, FileNotFoundError) else FAILED
    if isinstance(exc, OSError) and exc.strerror:
        text = _first_line(str(exc.strerror)).replace(_SEE_CAUSE, _reason(exc))
        if exc.filename is not None:
            text = f"{exc.filename}: {text}"
    else:
        text = _first_line(str(exc)) or type(exc).__name__
        if not isinstance(exc, (OSError, ValueError, ImportError)):
            text = redact(f"{type(exc).__name__}: {text}")
    if isinstance(exc, _DOCTOR):
        text += "; 'opendalfs doctor URL' looks for the reason"
    return without_secrets(text), code


def without_secrets(text: str) -> str:
    """Return a text of the library, which has no other secrets, without those of the command line."""
    for secret in secrets():
        text = text.replace(secret, "***")
    return text


def redacted(text: str) -> str:
    """Return any text without secrets, as far as they can be recognized."""
    return redact(text, secrets())


def _reason(exc: OSError) -> str:
    """Return OpenDAL's own text of an error in one line, without its kind."""
    text = " ".join(reason_of(str(exc.__cause__ or "")).split()).replace(" Source: ", ": ")
    text = text.partition(" => ")[2] or text
    return (text[:_MOST_REASON] + "…" if len(text) > _MOST_REASON else text) or "no reason is known"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
