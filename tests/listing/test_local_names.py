"""Listings of local disks with names that OpenDAL changes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import opendalfs


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="all names are Unicode there")
@pytest.mark.parametrize("name", [b"odd\xff", b"odd ", b"odd \xfe\t"])
def test_a_local_directory_whose_name_opendal_changes_is_an_error_and_not_left_out(
    name: bytes, tmp_path: Path
) -> None:
    odd = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(odd)
    with open(os.path.join(odd, b"a"), "wb"):
        pass
    (tmp_path / "\ufffd").mkdir()
    fs = opendalfs.filesystem("fs")
    for call in (fs.find, fs.du, lambda path: fs.find(path, maxdepth=2), lambda path: list(fs.walk(path))):
        with pytest.raises(OSError, match="cannot list"):
            call(str(tmp_path))
    shutil.rmtree(odd)
    assert fs.find(str(tmp_path), withdirs=True) == [str(tmp_path), f"{tmp_path}/\ufffd"]
