"""What a step of `doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "failed", "ok", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """What a step has found: a sentence, and for a failure what mends it."""

    status: Literal["ok", "failed", "skipped"]
    sentence: str
    advice: str = ""


def ok(sentence: str) -> Check:
    """Return that a step succeeded."""
    return Check("ok", sentence)


def failed(sentence: str, advice: str = "") -> Check:
    """Return that a step failed, and what mends it."""
    return Check("failed", sentence, advice)


def skipped(sentence: str) -> Check:
    """Return that a step was not tried, and why."""
    return Check("skipped", sentence)
