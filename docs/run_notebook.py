"""Run examples/notebook.ipynb and store its outputs: ``python docs/run_notebook.py``.

It needs nbclient, ipykernel and tqdm. With a path as argument, the notebook and its outputs go there.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "notebook.ipynb"
_PORT = re.compile(r"127\.0\.0\.1:\d+")


def run(source: Path, target: Path) -> None:
    """Execute a notebook in an empty directory, and write it with its outputs.

    Parameters
    ----------
    source, target : Path
        The notebook, and where to write it; they may be the same.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises. Nothing is written.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "IPYTHONDIR": folder,
            "JUPYTER_RUNTIME_DIR": folder,
            # Without ipywidgets the bars of tqdm are text, which every viewer shows.
            "PYTHONWARNINGS": "ignore:IProgress not found",
        }
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute(env=environment)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            _clean(output)
    nbformat.validate(notebook)
    nbformat.write(notebook, target)


def _clean(output: Any) -> None:
    """Replace the port of the server, another one each time, and keep what is left of bars at their end."""
    if "text" in output:
        lines = output["text"].split("\n")
        output["text"] = _PORT.sub("127.0.0.1:9000", "\n".join(line.rpartition("\r")[2] for line in lines))
    for kind, text in output.get("data", {}).items():
        if isinstance(text, str):
            output["data"][kind] = _PORT.sub("127.0.0.1:9000", text)


if __name__ == "__main__":
    run(NOTEBOOK, Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOK)
