"""Compare this checkout with another commit: the same cases, round by round, in one run.

::

    python -m benchmarks.against HEAD~5                 every case that ours can do
    python -m benchmarks.against v0.1.0 -k raw --rounds 9 --network far

Each of the two has a process of its own, as both are called `opendalfs`. They share one server, one proxy and
one interpreter environment, and take turns; in every other round the second goes first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from benchmarks.cases import CASES
from benchmarks.cases.model import OURS, Case
from benchmarks.context import Context, Settings, running
from benchmarks.networks import DEFAULT, NETWORKS, compared
from benchmarks.runner import set_distance

_ROOT = Path(__file__).parents[1]
_CHILD = Path(__file__).with_name("against_child.py")
_EXIT_SECONDS = 30
_WORSE = 1.05
"""Ratio of medians from which a row is marked."""


class Checkout:
    """One of the two checkouts, in a process of its own.

    Parameters
    ----------
    root : Path
        Folder of the checkout.
    context : Context
        The server and the options that reach it.
    """

    def __init__(self, root: Path, context: Context) -> None:
        self._root = root
        self._hello = {
            "settings": asdict(context.settings),
            "service": context.service,
            "root": context.root,
            "options": context.options,
            "direct": context.direct,
        }

    def __enter__(self) -> Self:
        path = os.pathsep.join((str(self._root), str(self._root / "integrations")))
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD)],
            cwd=self._root,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(self._hello)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # The end of its input ends the process, which removes its directories.
            self._process.communicate(timeout=_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def run(self, case: Case) -> dict[str, Any]:
        """Run a case once.

        Parameters
        ----------
        case : Case
            The work.

        Returns
        -------
        dict
            ``seconds``, ``cpu`` and ``digest``; ``error`` in place of them when it failed.
        """
        return self._ask({"label": case.label})

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._root} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Check a commit out beside this one, for as long as the block runs.

    Parameters
    ----------
    commit : str
        Any name that git knows.

    Yields
    ------
    Path
        Folder of the checkout; it shares the generated data of this one.
    """
    git = ["git", "-C", str(_ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "checkout"
        subprocess.run([*git, "add", "--quiet", "--detach", str(root), commit], check=True)
        try:
            (_ROOT / ".cache").mkdir(exist_ok=True)
            (root / ".cache").symlink_to(_ROOT / ".cache")
            yield root
        finally:
            subprocess.run([*git, "remove", "--force", str(root)], check=True)


def compare(case: Case, before: Checkout, after: Checkout, rounds: int) -> str:
    """Run a case in both checkouts by turns and return one line of figures.

    Parameters
    ----------
    case : Case
        The work.
    before, after : Checkout
        The two.
    rounds : int
        How often each runs it, after one warm-up.

    Returns
    -------
    str
    """
    found: dict[Checkout, list[dict[str, Any]]] = {before: [], after: []}
    for turn in range(rounds + 1):
        for checkout in (before, after) if turn % 2 else (after, before):
            answer = checkout.run(case)
            if "error" in answer:
                who = "before" if checkout is before else "after"
                return f"{case.label:<58} {who}: {answer['error']}"
            found[checkout].append(answer)
    if found[before][0]["digest"] != found[after][0]["digest"]:
        return f"{case.label:<58} the results differ"
    figures = {
        what: [[a[what] for a in found[checkout][1:]] for checkout in (before, after)]
        for what in ("seconds", "cpu")
    }
    old, new = (statistics.median(taken) for taken in figures["seconds"])
    cpus = [statistics.median(taken) for taken in figures["cpu"]]
    least = min(figures["seconds"][1]) / min(figures["seconds"][0])
    mark = "  slower" if new / old > _WORSE and least > _WORSE else ""
    return (
        f"{case.label:<58} {old:8.4f} {new:8.4f} {new / old:6.2f}x {least:6.2f}x "
        f"{cpus[1] / cpus[0] if cpus[0] else 1:6.2f}x{mark}"
    )


def main(arguments: list[str]) -> None:
    """Compare and print a line per case.

    Parameters
    ----------
    arguments : list of str
        The command line.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("-k", metavar="TEXT", action="append", help="only cases whose name contains this")
    parser.add_argument("--network", choices=NETWORKS, default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=Settings.scale)
    given = parser.parse_args(arguments)
    # Cases that start processes of their own or take minutes say nothing about two checkouts.
    cases = [case for case in CASES if OURS in case.peers and not case.once]
    if given.network != DEFAULT and not given.k:
        cases = [case for case in cases if compared(case.label)]
    cases = [case for case in cases if not given.k or any(text in case.label for text in given.k)]
    settings = Settings(scale=given.scale, rounds=given.rounds).on(given.network)
    with ExitStack() as stack:
        context = stack.enter_context(running(settings))
        root = stack.enter_context(checked_out(given.commit))
        before, after = (stack.enter_context(Checkout(folder, context)) for folder in (root, _ROOT))
        head = f"{'seconds: median before, after, ratio; ratio of the least; of CPU':<58}"
        print(f"{settings}\n{head}", flush=True)
        for case in cases:
            set_distance(case, context)
            print(compare(case, before, after, given.rounds), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
