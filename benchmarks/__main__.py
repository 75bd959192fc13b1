"""Compare opendalfs with its peers, on a local S3 server behind a delay proxy, or on your own storage.

::

    python -m benchmarks                     all cases, then the report; a quarter of an hour
    python -m benchmarks -k arrow            one group, or any cases by a part of their name
    python -m benchmarks --network far       the cases of the report's table of networks, far from the server
    python -m benchmarks report              write the report again, from the stored results
    python -m benchmarks --smoke             small and short: checks that it runs, not how fast
    python -m benchmarks --url opendal+s3://bucket/prefix -o key=... -o secret=...
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from benchmarks.access import Skipped
from benchmarks.calibrate import Distance, calibrate
from benchmarks.cases import CASES
from benchmarks.cases.model import OURS, Case
from benchmarks.context import SMOKE, Context, Settings, running, visiting
from benchmarks.networks import DEFAULT, NETWORKS, compared
from benchmarks.runner import Result, measure, set_distance
from benchmarks.store import RESULTS, Run, save, software
from benchmarks.tables import table


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    arguments : list of str
        The command line.

    Returns
    -------
    argparse.Namespace
        With the `Settings` in ``settings``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("do", nargs="?", choices=("run", "report", "list"), default="run", help="run by default")
    add("-k", metavar="TEXT", action="append", help="only cases whose name contains this, or another -k")
    add("--peer", metavar="TEXT", action="append", help="only opendalfs and peers whose name contains this")
    add("--network", choices=NETWORKS, default=DEFAULT, help=f"latency and bandwidth ({DEFAULT})")
    add("--smoke", action="store_true", help="small and short: checks that it runs, not how fast")
    add("--scale", type=float, help="TPC-H scale factor (2; 0.1 with --smoke or --url)")
    add("--latency-ms", type=float, help="milliseconds to a response's first byte; by the network")
    add("--bandwidth", type=float, help="bytes a second on a connection; 0: no limit; by the network")
    add("--rounds", type=int, help="how often each peer does each piece of work at most (5)")
    add("--budget", type=float, help="seconds after which a case begins no further round (12)")
    add("--url", help="a storage of yours: opendal+s3://bucket/prefix; written below opendalfs-benchmarks/")
    add("-o", metavar="KEY=VALUE", action="append", default=[], dest="options", help="its options")
    add("--keep", action="store_true", help="leave the data on that storage")
    add("--results", type=Path, metavar="DIRECTORY", help="where the JSON goes (benchmarks/results)")
    given = parser.parse_args(arguments)
    given.settings = _settings(given)
    if given.results is None and not (given.smoke or given.url or given.peer):
        given.results = RESULTS
    return given


def _settings(given: argparse.Namespace) -> Settings:
    base = SMOKE if given.smoke else Settings(scale=0.1, rounds=3, share=0.2) if given.url else Settings()
    if given.network != DEFAULT:
        base = base.on(given.network)
    latency = None if given.latency_ms is None else given.latency_ms / 1000
    overrides = {
        "scale": given.scale,
        "latency": latency,
        "bandwidth": given.bandwidth,
        "rounds": given.rounds,
        "budget": given.budget,
    }
    return replace(base, **{name: value for name, value in overrides.items() if value is not None})


def choose(given: argparse.Namespace) -> list[Case]:
    """Return the cases that the command line names.

    Parameters
    ----------
    given : argparse.Namespace
        The result of `parse`.

    Returns
    -------
    list of Case
        On the user's own storage only those that read, without added latency.
    """
    chosen = [case for case in CASES if not given.k or any(text in case.label for text in given.k)]
    if given.network != DEFAULT and not given.k:
        chosen = [case for case in chosen if compared(case.label)]
    if given.peer:
        chosen = [_with_peers(case, given.peer) for case in chosen]
    if given.smoke:
        chosen = [case for case in chosen if not case.once]
    if given.url:
        chosen = [c for c in chosen if not (c.writes or c.near or c.axis)]
    return chosen


def _with_peers(case: Case, texts: list[str]) -> Case:
    kept = (peer for peer in case.peers if peer == OURS or any(text in peer for text in texts))
    return replace(case, peers={peer: case.peers[peer] for peer in kept})


def run(given: argparse.Namespace) -> list[Result]:
    """Run the chosen cases and print their tables.

    Parameters
    ----------
    given : argparse.Namespace
        The result of `parse`.

    Returns
    -------
    list of Result
        Their results.
    """
    results: list[Result] = []
    distance: Distance | None
    place: AbstractContextManager[Context]
    if given.url:
        options = dict(option.split("=", 1) for option in given.options)
        place = visiting(given.settings, given.url, options, given.keep)
    else:
        place = running(given.settings)
    with place as context:
        try:
            distance = calibrate(context)
        except Skipped:
            distance = None
        print(f"{given.settings}\nas measured: {distance}\n{software()}", flush=True)
        for case in choose(given):
            set_distance(case, context)
            results.append(measure(case, context))
            print(f"\n{table(results[-1])}", flush=True)
            if given.results:
                # Case by case, so that an interrupted run keeps its results.
                save(Run.now(given.settings, distance, results[-1:]), given.results)
    return results


def main(arguments: list[str]) -> int:
    """Run the command line; return 1 when opendalfs failed in any case.

    Parameters
    ----------
    arguments : list of str
        The command line.

    Returns
    -------
    int
        Exit status.
    """
    given = parse(arguments)
    if given.do == "list":
        print("\n".join(case.label for case in choose(given)))
        return 0
    results = run(given) if given.do == "run" else []
    if given.results and (given.do == "report" or not given.k):
        from benchmarks import readme, report

        print(f"\nwrote {report.write(given.results)}")
        if given.results == RESULTS:
            readme.update(RESULTS, RESULTS.parents[1] / "README.md")
    return 1 if any(OURS in result.errors for result in results) else 0


if __name__ == "__main__":
    # As an interrupt does, so that servers end and directories of caches are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
