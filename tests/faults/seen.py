"""Exceptions that no caller sees: those of threads, finalizers and tasks."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, Self

__all__ = ["Unseen"]


class Unseen(logging.Handler):
    """Collects exceptions that are only logged or printed, while the block runs.

    Attributes
    ----------
    found : list of str
        Texts of the exceptions.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def __enter__(self) -> Self:
        self._hooks = sys.unraisablehook, threading.excepthook
        sys.unraisablehook = self._collect
        threading.excepthook = self._collect
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *details: object) -> None:
        logging.getLogger().removeHandler(self)
        sys.unraisablehook, threading.excepthook = self._hooks

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a record of the log, such as asyncio's of a task whose exception nobody retrieved."""
        cause = record.exc_info[1] if record.exc_info else None
        self.found.append(f"logged by {record.name}: {record.getMessage()} {cause!r}")

    def _collect(self, details: Any) -> None:
        if isinstance(details.exc_value, ResourceWarning):
            # pyarrow drops the open files of a dataset that fails. The caller sees the failure itself.
            return
        self.found.append(f"not raised: {details.exc_value!r} in {getattr(details, 'object', None)!r}")
