"""Runs a Python program as the interpreter would, and writes a trace of it: the child of `opendalfs trace`.

It is run as a file, not as a module, so that it needs nothing but opendalfs.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
from contextlib import ExitStack

__all__: list[str] = []


def main(output: str, arguments: list[str]) -> None:
    """Run ``script.py ...``, ``-m module ...`` or ``-c code ...``."""
    import opendalfs

    stack = ExitStack()
    trace = stack.enter_context(opendalfs.trace())

    def save() -> None:
        # After all threads of the program, and before opendalfs ends its own.
        stack.close()
        with open(output, "w", encoding="utf-8") as file:
            json.dump({"records": trace.to_dicts(), "bytes_wanted": trace.bytes_wanted}, file)

    atexit.register(save)
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
        exec(
            compile(arguments[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__}
        )
    else:
        sys.argv, sys.path[0] = arguments, os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
