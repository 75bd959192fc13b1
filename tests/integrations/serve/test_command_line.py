"""The command `opendalfs serve`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from opendalfs.__main__ import main


def test_a_directory_is_served_until_the_process_is_ended(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"12345")
    command = [sys.executable, "-W", "error", "-m", "opendalfs", "serve", str(tmp_path), "--bucket", "lake"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert lines[0].startswith("# s3://lake/ serves "), lines
        found = dict(re.findall(r"^export (\w+)=(.*)$", "".join(lines), re.MULTILINE))
        s3 = boto3.client(
            "s3",
            endpoint_url=found["AWS_ENDPOINT_URL"],
            aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
            region_name=found["AWS_REGION"],
        )
        assert s3.get_object(Bucket="lake", Key="a.txt")["Body"].read() == b"12345"
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_wrong_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "opendal+nothing://x"]) == 1
    assert capsys.readouterr().err.startswith("opendalfs serve: ")
    assert main(["serve", "opendal+memory://x", "-o", "region"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
