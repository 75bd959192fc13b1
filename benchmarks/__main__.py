"""``python -m benchmarks``: ours against its peers, on an S3 server made distant."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.calibrate import calibrate
from benchmarks.cases import CASES
from benchmarks.context import SMOKE, Settings, running
from benchmarks.report import software, table, write_json
from benchmarks.runner import measure


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
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--smoke", action="store_true", help="small and short: that it runs, not how fast")
    add("--scale", type=float, help="TPC-H scale factor (2)")
    add("--latency-ms", type=float, help="milliseconds to a response's first byte (30)")
    add("--bandwidth", type=float, help="bytes a second on a connection; 0: no limit (90e6)")
    add("--rounds", type=int, help="how often each peer does each piece of work (5)")
    add("-k", metavar="TEXT", default="", help="only cases whose name contains this")
    add("--json", type=Path, metavar="FILE", help="write all samples there")
    options = parser.parse_args(arguments)
    base = SMOKE if options.smoke else Settings()
    latency = None if options.latency_ms is None else options.latency_ms / 1000
    options.settings = Settings(
        scale=base.scale if options.scale is None else options.scale,
        latency=base.latency if latency is None else latency,
        bandwidth=base.bandwidth if options.bandwidth is None else options.bandwidth,
        rounds=base.rounds if options.rounds is None else max(1, options.rounds),
    )
    return options


def main(arguments: list[str]) -> int:
    """Run the cases and print their tables; 1 when any peer failed.

    Parameters
    ----------
    arguments : list of str
        The command line.

    Returns
    -------
    int
        Exit status.
    """
    options = parse(arguments)
    results = []
    with running(options.settings) as context:
        print(f"{options.settings}\nas measured: {calibrate(context)}\n{software()}", flush=True)
        for case in CASES:
            if options.k in case.label:
                results.append(measure(case, context))
                print(f"\n{table(results[-1])}", flush=True)
    if options.json:
        write_json(options.json, options.settings, results)
    return 1 if any(result.errors for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
