"""Measures a case: all peers in one run, round by round, so that noise hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.cases import OURS, Case
from benchmarks.context import Context


class Disagreement(Exception):
    """A peer's result differs from that of the others."""


@dataclass(frozen=True)
class Sample:
    """One round of one peer.

    ``cpu`` is that of this process, all threads: the client's work and the decoding; ``proxy_cpu``
    is what the proxy took from the same processors. Requests and bytes are those that reached the
    server.
    """

    seconds: float
    cpu: float
    proxy_cpu: float
    requests: int
    bytes: int
    in_flight: int


@dataclass
class Result:
    """What a case gave, by peer: samples, or why there are none."""

    label: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def median(self, peer: str, what: str) -> float:
        """Give the median of one figure over the rounds.

        Parameters
        ----------
        peer : str
            Whose.
        what : str
            A field of `Sample`.

        Returns
        -------
        float
            The median.
        """
        figures: list[float] = [getattr(sample, what) for sample in self.samples[peer]]
        return statistics.median(figures)

    def spread(self, peer: str) -> tuple[float, float]:
        """Give a peer's fastest and slowest round, in seconds.

        Parameters
        ----------
        peer : str
            Whose.

        Returns
        -------
        tuple of float
            Least and most.
        """
        seconds = [sample.seconds for sample in self.samples[peer]]
        return min(seconds), max(seconds)

    def ratio(self, peer: str) -> float | None:
        """Tell how many times longer than ours a peer takes.

        Parameters
        ----------
        peer : str
            Whose.

        Returns
        -------
        float or None
            The ratio of the medians; None where ours failed.
        """
        if OURS not in self.samples:
            return None
        return self.median(peer, "seconds") / self.median(OURS, "seconds")

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data.

        Returns
        -------
        dict
            Label, samples and errors.
        """
        return asdict(self)


def measure(case: Case, context: Context) -> Result:
    """Let every peer do the work once to warm up, then measure round by round.

    Parameters
    ----------
    case : Case
        The work.
    context : Context
        Where it is done.

    Returns
    -------
    Result
        Samples of every peer that could do it.
    """
    result = Result(case.label)
    peers = _warm_up(case, context, result)
    for turn in range(context.settings.rounds):
        # Nobody always goes first, or always comes after the same one.
        for peer in _rotated(peers, turn):
            sample, _ = run_once(case, peer, context)
            result.samples.setdefault(peer, []).append(sample)
    # Tables are shown in the case's order, not in that of the last round.
    result.samples = {peer: result.samples[peer] for peer in peers}
    return result


def _rotated(peers: Sequence[str], turn: int) -> Sequence[str]:
    first = turn % len(peers) if peers else 0
    return [*peers[first:], *peers[:first]]


def _warm_up(case: Case, context: Context, result: Result) -> list[str]:
    """Give the peers that work; all must come to the same result."""
    digests: dict[str, object] = {}
    for peer in case.peers:
        try:
            _, digests[peer] = run_once(case, peer, context)
        except Exception as error:  # whatever a peer raises is its result
            result.errors[peer] = f"{type(error).__name__}: {error}"
    if len({repr(digest) for digest in digests.values()}) > 1:
        raise Disagreement(f"{case.label}: {digests}")
    return list(digests)


def run_once(case: Case, peer: str, context: Context) -> tuple[Sample, object]:
    """Let one peer do the work once.

    Parameters
    ----------
    case : Case
        The work.
    peer : str
        Who does it.
    context : Context
        Where it is done.

    Returns
    -------
    Sample, object
        What it took, and the digest of what came out.
    """
    work = case.peers[peer](context)
    gc.collect()
    before = context.proxy.counters()  # waits for what is in flight from the round before
    context.proxy.reset()
    cpu, start = time.process_time(), time.perf_counter()
    outcome = work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    seen = context.proxy.counters()
    sample = Sample(
        seconds=seconds,
        cpu=cpu,
        proxy_cpu=seen.cpu - before.cpu,
        requests=seen.requests,
        bytes=seen.sent + seen.received,
        in_flight=seen.peak,
    )
    return sample, case.digest(outcome)
