"""One side of `benchmarks.against`: runs cases of the checkout that it is started in, as JSON lines say.

It is started by its path, so that `benchmarks` and `opendalfs` are those of the other checkout.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path

# Python puts the folder of a script first, where `data` and others would hide the standard ones.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

from benchmarks.cases import CASES  # noqa: E402
from benchmarks.cases.model import OURS  # noqa: E402
from benchmarks.context import Context, Settings  # noqa: E402
from benchmarks.measured import timed  # noqa: E402


def main() -> None:
    """Answer each line with one line."""
    hello = json.loads(sys.stdin.readline())
    cases = {case.label: case for case in CASES}
    # A checkout from before a setting was added does not know it; the proxy is the other process's.
    known = {field.name for field in fields(Settings)}
    settings = Settings(**{name: value for name, value in hello["settings"].items() if name in known})
    with Context(settings, hello["service"], hello["root"], hello["options"], hello["direct"]) as context:
        print("{}", flush=True)
        for line in sys.stdin:
            try:
                case = cases[json.loads(line)["label"]]
                took = timed(case.peers[OURS](context))
                digest = repr(case.digest(took.outcome))
                answer = {"seconds": took.seconds, "cpu": took.cpu, "digest": digest}
            except Exception as error:  # reported by the other process
                answer = {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
