"""Retries of single requests: whether one is repeated after an error, and after how long a delay.

A request that can be sent again as a whole is retried here, so that each attempt has its own slot, its own
place in the server's pace, and its own entry in the trace. OpenDAL's RetryLayer retries what has a state in
OpenDAL: lists, multipart uploads and recursive removals. Nothing is retried by both.
"""

from __future__ import annotations

import random
import re
import time
from typing import Final

from opendal.layers import RetryLayer

from opendalfs.options import Tuning

from .endpoint import Endpoint, Outcome
from .outcomes import is_temporary

__all__ = ["ATTEMPTS", "Retries", "retry_layer"]

ATTEMPTS: Final = 3
"""Stalled attempts that fit into one timeout: each gets an equal share of it."""

_MAX_RETRIES: Final = 50
"""Retries of one call without the option `retries`, for delays near 0."""

_NEVER_ANSWERED_SECONDS: Final = 2.0
"""Patience with a server that has never answered: its address is probably wrong."""

_PACED_DELAY: Final = 2.0
"""Longest delay after a refusal: the pace of the server spaces the attempts anyway."""

_RETRY_AFTER: Final = re.compile(r'"retry-after": "(\d{1,6})"', re.I)


class Retries:
    """The retries of one call, from its first failure on.

    Attributes
    ----------
    outcomes : list of Outcome
        How each failed attempt ended.
    doubtful : bool
        Whether the server may have done what it was asked for in an attempt that is repeated.
    """

    __slots__ = ("_endpoint", "_tuning", "doubtful", "outcomes", "spent")

    def __init__(self, tuning: Tuning, endpoint: Endpoint) -> None:
        self._tuning = tuning
        self._endpoint = endpoint
        self.outcomes: list[Outcome] = []
        self.doubtful = False
        self.spent = 0.0
        """Seconds of attempts and delays since the first failure."""

    def delay(self, exc: Exception, outcome: Outcome, seconds: float) -> float | None:
        """Return the seconds to wait before the next attempt; None if there must be none.

        Parameters
        ----------
        exc : Exception
            The error of the attempt, of OpenDAL.
        outcome : Outcome
            How it ended.
        seconds : float
            How long it took.

        Returns
        -------
        float or None
        """
        if self.outcomes:
            self.spent += seconds
        self.outcomes.append(outcome)
        text = str(exc)
        if not is_temporary(text) or not self._may_repeat():
            return None
        left = self._patience(outcome) - self.spent
        if left <= 0:
            return None
        delay = min(self._backoff(outcome, text), left)
        self.spent += delay
        self.doubtful |= outcome != "throttled" and not _NOT_SENT.search(text)
        return delay

    def _may_repeat(self) -> bool:
        most = self._tuning.retries
        return len(self.outcomes) <= (_MAX_RETRIES if most is None else most)

    def _patience(self, outcome: Outcome) -> float:
        seconds = self._tuning.retry_timeout
        if outcome == "throttled":
            # While nothing is accepted, the calls that wait for their turn must not all be patient in turn.
            return 0.0 if self._endpoint.pace.outage(time.monotonic()) > seconds else seconds
        if outcome == "unreachable" and not self._endpoint.answered:
            return min(seconds, _NEVER_ANSWERED_SECONDS)
        return seconds

    def _backoff(self, outcome: Outcome, text: str) -> float:
        most = self._tuning.retry_max_delay
        if outcome == "throttled":
            most = min(most, _PACED_DELAY)
        # Full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
        bound = min(most, self._tuning.retry_min_delay * 2.0 ** (len(self.outcomes) - 1))
        delay = random.uniform(0, bound)
        asked = _RETRY_AFTER.search(text)
        return max(delay, float(asked.group(1))) if asked else delay


_NOT_SENT: Final = re.compile(r"tcp connect error|dns error|connection refused", re.I)


def retry_layer(tuning: Tuning) -> RetryLayer:
    """Return OpenDAL's layer with as many retries as fit into `Tuning.retry_timeout`.

    It has no limit by time. Its delays double from `retry_min_delay` to `retry_max_delay`, plus a random part
    of as much again.
    """
    count, delay, total = 0, tuning.retry_min_delay, 0.0
    most = _MAX_RETRIES if tuning.retries is None else tuning.retries
    while count < most and total < tuning.retry_timeout:
        total += 1.5 * delay
        delay = min(2 * delay, tuning.retry_max_delay)
        count += 1
    return RetryLayer(
        max_times=count,
        factor=2.0,
        jitter=True,
        min_delay=tuning.retry_min_delay,
        max_delay=tuning.retry_max_delay,
    )
