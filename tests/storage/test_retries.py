"""What is retried, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import opendalfs
from opendalfs import OpendalFileSystem


@pytest.mark.parametrize("name", ["fs", "operator-fs"])
def test_local_errors_come_at_once(name: str, tmp_path: Path) -> None:
    """OpenDAL's RetryLayer would repeat these calls for half a minute."""
    fs: OpendalFileSystem
    if name == "fs":
        fs, root = opendalfs.filesystem("fs"), str(tmp_path)
    else:
        fs, root = OpendalFileSystem("fs", root=str(tmp_path)), "data"
    fs.pipe({f"{root}/dir/{i}/{j}": b"" for i in range(8) for j in range(8)})
    with opendalfs.trace() as trace:
        with pytest.raises(IsADirectoryError):
            fs.cat_file(f"{root}/dir")
        with pytest.raises(IsADirectoryError):
            fs.rm(f"{root}/dir")
        fs.rm(f"{root}/dir", recursive=True)
    assert not fs.exists(f"{root}/dir")
    # With retries, each would take 31 s.
    assert max(record.end - record.start for record in trace.records) < 10
