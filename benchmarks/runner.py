"""Measures a case: all peers in one run, round by round, so that noise hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.access import Skipped
from benchmarks.cases.model import LOCAL, OURS, Case
from benchmarks.context import Context
from benchmarks.measured import timed

__all__ = ["Disagreement", "Result", "Sample", "measure", "order", "run_once", "set_distance"]

LEAST_ROUNDS = 3


class Disagreement(Exception):
    """Our result differs from that of the others."""


@dataclass(frozen=True)
class Sample:
    """One round of one peer.

    ``cpu`` is that of the client's process, all threads: the client's work and the decoding; ``memory`` is
    by how much its resident set grew at most; ``proxy_cpu`` is what the proxy took from the same processors.
    Requests and bytes are those that reached the server; 0 where there is no proxy to count them.
    """

    seconds: float
    cpu: float
    memory: int | None
    proxy_cpu: float = 0.0
    requests: int = 0
    bytes: int = 0
    in_flight: int = 0


@dataclass
class Result:
    """What a case gave, by peer: samples, or why there are none.

    Attributes
    ----------
    wrong : dict
        In how many rounds, the warm-up included, a peer's result differed.
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
        """Begin the result of a case."""
        return cls(case.group, case.name, case.near, asdict(case.axis) if case.axis else None)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Result:
        """Make it of what `to_dict` gave."""
        samples = {peer: [Sample(**sample) for sample in found] for peer, found in plain["samples"].items()}
        return cls(**{**plain, "samples": samples})

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Group and name in one."""
        return f"{self.group}: {self.name}"

    def figures(self, peer: str, what: str) -> list[float]:
        """Give one figure of every round; a field of `Sample`."""
        found = [getattr(sample, what) for sample in self.samples.get(peer, [])]
        return [figure for figure in found if figure is not None]

    def median(self, peer: str, what: str = "seconds") -> float | None:
        """Give the median of one figure over the rounds; None where there is none."""
        figures = self.figures(peer, what)
        return statistics.median(figures) if figures else None

    def spread(self, peer: str, what: str = "seconds") -> tuple[float, float]:
        """Give the least and the most of one figure."""
        figures = self.figures(peer, what)
        return min(figures), max(figures)

    def ratio(self, peer: str, what: str = "seconds", ours: str = OURS) -> float | None:
        """Tell how many times more than ours a peer takes; None where either has no figure.

        Parameters
        ----------
        peer : str
            Whose.
        what : str
            A field of `Sample`.
        ours : str
            What it is compared with.

        Returns
        -------
        float or None
            The ratio of the medians.
        """
        theirs, mine = self.median(peer, what), self.median(ours, what)
        return theirs / mine if theirs is not None and mine else None

    def ratios(self, peer: str, what: str = "seconds", ours: str = OURS) -> list[float]:
        """Give the ratio of each round, in which both ran one after the other."""
        pairs = zip(self.figures(peer, what), self.figures(ours, what), strict=False)
        return [theirs / mine for theirs, mine in pairs if mine]


def set_distance(case: Case, context: Context) -> None:
    """Move the server to where the case wants it.

    Parameters
    ----------
    case : Case
        The work.
    context : Context
        Where it is done.
    """
    if context.proxy is None:
        return
    settings = context.settings
    if case.near:
        context.proxy.set(latency=0, bandwidth=0)
    else:
        latency = settings.latency if case.latency is None else case.latency
        context.proxy.set(latency=latency, bandwidth=settings.bandwidth)


def measure(case: Case, context: Context) -> Result:
    """Let every peer do the work once to warm up, then measure round by round.

    With no rounds the warm-up is what is measured.

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

    Raises
    ------
    Disagreement
        When our result differs from that of the local file, or of most of the others.
    """
    result = Result.of(case)
    digests: dict[str, list[str]] = {}
    rounds = 0 if case.once else context.settings.rounds
    peers = _round(case, list(case.peers), context, result, digests, keep=not rounds)
    begun = time.monotonic()
    for turn in range(rounds):
        if turn >= LEAST_ROUNDS and time.monotonic() - begun > context.settings.budget:
            break
        # Nobody always goes first, or always comes after the same one.
        _round(case, order(peers, turn), context, result, digests)
    # Tables are shown in the case's order, not in that of the last round.
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
    """Let each of the peers do the work once; give those that could."""
    able = []
    for peer in peers:
        try:
            sample, digest = run_once(case, peer, context)
        except Skipped as reason:
            result.skipped[peer] = str(reason)
            continue
        except Exception as error:  # whatever a peer raises is its result
            result.errors[peer] = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            continue
        able.append(peer)
        digests.setdefault(peer, []).append(repr(digest))
        if keep:
            result.samples.setdefault(peer, []).append(sample)
    return able


def order(peers: Sequence[str], turn: int) -> list[str]:
    """Give the order of a round, in which each goes first, and comes after each other, as often as any.

    A rotation would leave each its neighbour, and with it what that leaves of caches and memory.

    Parameters
    ----------
    peers : sequence of str
        Who takes part.
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
    """Count who was wrong how often: compared with the local file, else with most of the others."""
    everyone = [digest for found in digests.values() for digest in found]
    if not everyone:
        return
    right = digests[LOCAL][0] if LOCAL in digests else statistics.mode(everyone)
    wrong = {peer: sum(digest != right for digest in found) for peer, found in digests.items()}
    result.wrong = {peer: count for peer, count in wrong.items() if count}
    if OURS in result.wrong:
        raise Disagreement(f"{result.label}: {digests}")


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
    proxy = context.proxy
    before = proxy.counters() if proxy else None  # waits for what is in flight from the round before
    if proxy:
        proxy.reset()
    took = timed(work)
    seen = proxy.counters() if proxy else None
    sample = Sample(took.seconds, took.cpu, took.memory)
    if seen and before:
        sample = Sample(
            took.seconds,
            took.cpu,
            took.memory,
            proxy_cpu=seen.cpu - before.cpu,
            requests=seen.requests,
            bytes=seen.sent + seen.received,
            in_flight=seen.peak,
        )
    return sample, case.digest(took.outcome)
