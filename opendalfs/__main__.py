"""The command `opendalfs`, also as ``python -m opendalfs``; the package `opendalfs_cli` implements it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the name of the program; by default those of the process.

    Returns
    -------
    int
        The exit status: 0 for success, 1 for a failure, 2 for wrong arguments, 3 if something was not found,
        130 after Ctrl-C.
    """
    try:
        command_line = import_module("opendalfs_cli")
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as exc:
        if exc.name not in ("click", "rich"):
            raise
        # Not this package's extra: on PyPI its name belongs to another package.
        sys.stderr.write(
            "opendalfs: the command line needs click and rich: pip install 'click>=8.1' 'rich>=13'\n"
        )
        return 1
    return int(command_line.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
