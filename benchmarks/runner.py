"""Measure a case: all peers in one run, round by round, so that noise affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.access import Skipped
from benchmarks.cases.model import LOCAL, OURS, Case
from benchmarks.context import Context
from benchmarks.measured import timed

__all__ = ["Disagreement", "Result", "Sample", "measure", "order", "run_once", "set_distance"]

LEAST_ROUNDS = 3


class Disagreement(Exception):
    """Raised when the result of opendalfs differs from the results of the other peers."""


@dataclass(frozen=True)
class Sample:
    """One round of one peer.

    ``cpu`` is the CPU time of the client process in seconds, all threads, with decoding; ``memory`` is the
    growth of its resident set in bytes; ``proxy_cpu`` is the CPU time of the proxy. Requests and bytes are
    those that reached the server; 0 where there is no proxy to count them. ``calls`` are those of opendalfs
    by operation; empty where it was not traced.
    """

    seconds: float
    cpu: float
    memory: int | None
    proxy_cpu: float = 0.0
    requests: int = 0
    bytes: int = 0
    in_flight: int = 0
    calls: dict[str, int] = field(default_factory=dict)


@dataclass
class Result:
    """The results of a case, by peer: samples, or why there are none.

    Attributes
    ----------
    wrong : dict
        Number of rounds, with the warm-up, in which the result of a peer differed.
    """

    group: str
    name: str
    near: bool = False
    axis: dict[str, Any] | None = None
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> Result:
        """Return an empty result for a case."""
        return cls(case.group, case.name, case.near, asdict(case.axis) if case.axis else None)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Result:
        """Return the result that `to_dict` made plain."""
        samples = {peer: [Sample(**sample) for sample in found] for peer, found in plain["samples"].items()}
        return cls(**{**plain, "samples": samples})

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Group and name."""
        return f"{self.group}: {self.name}"

    def figures(self, peer: str, what: str) -> list[float]:
        """Return one figure, a field of `Sample`, of every round."""
        found = [getattr(sample, what) for sample in self.samples.get(peer, [])]
        return [figure for figure in found if figure is not None]

    def median(self, peer: str, what: str = "seconds") -> float | None:
        """Return the median of one figure over the rounds; None if there is none."""
        figures = self.figures(peer, what)
        return statistics.median(figures) if figures else None

    def spread(self, peer: str, what: str = "seconds") -> tuple[float, float]:
        """Return the minimum and the maximum of one figure."""
        figures = self.figures(peer, what)
        return min(figures), max(figures)

    def ratio(self, peer: str, what: str = "seconds", ours: str = OURS) -> float | None:
        """Return how many times more a peer takes than opendalfs; None if either has no figure.

        Parameters
        ----------
        peer : str
            The peer.
        what : str
            A field of `Sample`.
        ours : str
            The peer to compare with.

        Returns
        -------
        float or None
            The ratio of the medians.
        """
        theirs, mine = self.median(peer, what), self.median(ours, what)
        return theirs / mine if theirs is not None and mine else None

    def ratios(self, peer: str, what: str = "seconds", ours: str = OURS) -> list[float]:
        """Return the ratio of each round, in which both ran one after the other."""
        pairs = zip(self.figures(peer, what), self.figures(ours, what), strict=False)
        return [theirs / mine for theirs, mine in pairs if mine]


def set_distance(case: Case, context: Context) -> None:
    """Set the latency and bandwidth of a case at the proxy.

    Parameters
    ----------
    case : Case
        The work.
    context : Context
        The running benchmark.
    """
    if context.proxy is None:
        return
    settings = context.settings
    if case.near:
        context.proxy.set(latency=0, bandwidth=0)
    else:
        latency = settings.latency if case.latency is None else case.latency
        context.proxy.set(
            latency,
            settings.bandwidth,
            tail=settings.slow_share,
            factor=settings.slow_factor,
        )


def measure(case: Case, context: Context) -> Result:
    """Run every peer once to warm up, then measure round by round.

    With no rounds the warm-up is measured.

    Parameters
    ----------
    case : Case
        The work.
    context : Context
        The running benchmark.

    Returns
    -------
    Result
        Samples of every peer that could do the work.

    Raises
    ------
    Disagreement
        When the result of opendalfs differs from the local file, or from most other peers.
    """
    result = Result.of(case)
    digests: dict[str, list[str]] = {}
    rounds = 0 if case.once else context.settings.rounds
    peers = _round(case, list(case.peers), context, result, digests, keep=not rounds)
    begun = time.monotonic()
    for turn in range(rounds):
        if turn >= LEAST_ROUNDS and time.monotonic() - begun > context.settings.budget:
            break
        # No peer always runs first, or always after the same one.
        _round(case, order(peers, turn), context, result, digests)
    # Tables have the order of the case, not the order of the last round.
    result.samples = {peer: result.samples[peer] for peer in peers if peer in result.samples}
    _compare(result, digests)
    return result


def _round(
    case: Case,
    peers: Sequence[str],
    context: Context,
    result: Result,
    digests: dict[str, list[str]],
    keep: bool = True,
) -> list[str]:
    """Run each of the peers once; return those that could do the work."""
    able = []
    for peer in peers:
        try:
            sample, digest = run_once(case, peer, context)
        except Skipped as reason:
            result.skipped[peer] = str(reason)
            continue
        except Exception as error:  # an error of a peer is its result
            result.errors[peer] = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            continue
        able.append(peer)
        digests.setdefault(peer, []).append(repr(digest))
        if keep:
            result.samples.setdefault(peer, []).append(sample)
    return able


def order(peers: Sequence[str], turn: int) -> list[str]:
    """Return the order of a round, so that each peer runs first, and after each other peer, equally often.

    With a rotation each peer would always follow the same peer, and run with the caches it leaves.

    Parameters
    ----------
    peers : sequence of str
        The peers.
    turn : int
        Number of the round, from 0 on.

    Returns
    -------
    list of str
        A row of the balanced square of E. J. Williams, "Experimental designs balanced for the estimation of
        residual effects of treatments" (1949); of an odd number it is balanced over twice as many rounds.
    """
    count = len(peers)
    steps = [(i + 1) // 2 if i % 2 else -(i // 2) for i in range(count)]
    row = [peers[(turn + step) % count] for step in steps]
    return row[::-1] if count % 2 and turn // count % 2 else row


def _compare(result: Result, digests: dict[str, list[str]]) -> None:
    """Count wrong results: those that differ from the local file, or else from most other peers."""
    everyone = [digest for found in digests.values() for digest in found]
    if not everyone:
        return
    right = digests[LOCAL][0] if LOCAL in digests else statistics.mode(everyone)
    wrong = {peer: sum(digest != right for digest in found) for peer, found in digests.items()}
    result.wrong = {peer: count for peer, count in wrong.items() if count}
    if OURS in result.wrong:
        raise Disagreement(f"{result.label}: {digests}")


def run_once(case: Case, peer: str, context: Context) -> tuple[Sample, object]:
    """Run one peer once.

    Parameters
    ----------
    case : Case
        The work.
    peer : str
        The peer.
    context : Context
        The running benchmark.

    Returns
    -------
    Sample, object
        What it took, and the digest of its result.
    """
    work = case.peers[peer](context)
    proxy = context.proxy
    before = proxy.counters() if proxy else None  # waits for requests in flight from the round before
    if proxy:
        proxy.reset()
    took = timed(work)
    seen = proxy.counters() if proxy else None
    sample = Sample(took.seconds, took.cpu, took.memory, calls=took.calls)
    if seen and before:
        sample = replace(
            sample,
            proxy_cpu=seen.cpu - before.cpu,
            requests=seen.requests,
            bytes=seen.sent + seen.received,
            in_flight=seen.peak,
        )
    return sample, case.digest(took.outcome)
