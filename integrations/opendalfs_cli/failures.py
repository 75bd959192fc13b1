"""Messages and exit codes of errors."""

from __future__ import annotations

from typing import Final

from opendalfs.errors import redact

from .arguments import secrets

__all__ = ["FAILED", "NOT_FOUND", "USAGE", "Failure", "describe", "redacted", "without_secrets"]

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3

_DOCTOR: Final = (ConnectionError, PermissionError, TimeoutError)
"""Errors whose reason `opendalfs doctor` may find."""


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
        text = _first_line(str(exc.strerror))
        if exc.filename is not None:
            text = f"{_first_line(str(exc.filename))}: {text}"
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


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
