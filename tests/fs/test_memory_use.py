"""Uploads and downloads of large objects use bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from opendalfs.testing import S3Server

SIZE = 500_000_000
MOST_MB = 200

_SCRIPT = """
import json, sys
import opendalfs

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1000

call, options, remote, local = json.loads(sys.argv[1])
fs = opendalfs.filesystem("s3", **options)
fs.exists(remote)
start = resident("VmRSS")
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")
getattr(fs, call)(*((remote, local) if call == "get" else (local, remote)))
print(resident("VmHWM") - start)
"""


def megabytes_above_start(call: str, server: S3Server, remote: str, local: Path) -> float:
    order = json.dumps([call, server.options, remote, str(local)])
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, order], check=True, capture_output=True, text=True, timeout=300
    )
    return float(done.stdout)


@pytest.mark.services
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_put_and_get_of_half_a_gigabyte_stay_small(s3_server: S3Server, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(SIZE)
    remote = f"{s3_server.bucket}/memory/{uuid4().hex}"
    try:
        assert megabytes_above_start("put", s3_server, remote, source) < MOST_MB
        assert megabytes_above_start("get", s3_server, remote, target) < MOST_MB
        assert target.stat().st_size == SIZE
    finally:
        s3_server.remove_prefix("memory/")
        target.unlink(missing_ok=True)
