"""httpfs of DuckDB as a peer, in a process with the DuckDB version that its package on PyPI supports.

The wheel of DuckDB contains no httpfs, and PyPI has it only for versions before ours. So it gets a virtual
environment in ``.cache``, created on first use; where that fails the peer is skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.access import Access, Skipped
from benchmarks.measured import Elsewhere

__all__ = ["Httpfs"]

_PACKAGES = ("duckdb<2", "duckdb-extensions", "duckdb-extension-httpfs")
_HOME = Path(__file__).parents[1] / ".cache" / "httpfs"
_CHILD = Path(__file__).with_name("httpfs_child.py")


class Httpfs:
    """A client of the process that runs DuckDB with httpfs.

    Parameters
    ----------
    access : Access
        The storage.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._process: subprocess.Popen[str] | None = None
        self.version = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(_python()), "-I", str(_CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._ask(secret=self._access.duckdb())["version"]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def fresh(self, settings: Sequence[str] = ()) -> None:
        """Open a new database."""
        self._ask(fresh=True, settings=list(settings))

    def query(self, sql: str) -> Elsewhere:
        """Run a query.

        Parameters
        ----------
        sql : str
            The query.

        Returns
        -------
        Elsewhere
            Its rows, as text, and what it took in that process.
        """
        answer = self._ask(fresh=False, sql=sql)
        return Elsewhere(answer["rows"], answer["seconds"], answer["cpu"], answer["memory"])

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Skipped("DuckDB's httpfs does not load here")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def _python() -> Path:
    """Return the interpreter of the environment, which is created if missing."""
    python = _HOME / "bin" / "python"
    if python.exists():
        return python
    _HOME.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="httpfs-", dir=_HOME.parent))
    try:
        venv.create(fresh, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(fresh / "bin" / "python"), "install", "--quiet"]
        done = subprocess.run([*pip, *_PACKAGES], capture_output=True, text=True)
        if done.returncode:
            raise Skipped("DuckDB's httpfs cannot be installed from PyPI here")
        with suppress(OSError):
            fresh.rename(_HOME)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return python
