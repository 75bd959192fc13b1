"""URLs in fsspec's chains, archives and `register`."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import fsspec.core
import pytest

import opendalfs

# Chains, other libraries, registration


@pytest.fixture
def stored() -> Iterator[str]:
    fs = opendalfs.MemoryFileSystem()
    folder = f"chain-{uuid4().hex}"
    fs.pipe_file(f"{folder}/a.txt", b"hello")
    yield folder
    fs.rm(folder, recursive=True)


# fsspec's blockcache leaves the file it maps open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("protocol", ["opendal+memory", "opendalmemory"])
@pytest.mark.parametrize("cache", ["filecache", "simplecache", "blockcache"])
def test_caches_of_fsspec_may_stand_before(stored: str, cache: str, protocol: str, tmp_path: Path) -> None:
    url = f"{cache}::{protocol}://{stored}/a.txt"
    with fsspec.open(url, "rb", **{cache: {"cache_storage": str(tmp_path)}}) as file:
        assert file.read() == b"hello"


def test_archives_may_lie_on_it(stored: str) -> None:
    with (
        fsspec.open(f"opendal+memory://{stored}/a.zip", "wb") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        archive.writestr("inner/b.txt", "in a zip")
    with fsspec.open(f"zip://inner/b.txt::opendal+memory://{stored}/a.zip") as file:
        assert file.read() == b"in a zip"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_urls_work_without_an_import() -> None:
    code = (
        "import fsspec\n"
        "with fsspec.open('opendal+memory://x/y', 'wb') as f: f.write(b'hi')\n"
        "print(fsspec.open('opendalmemory://x/y').open().read())"
    )
    assert run(code) == "b'hi'"


def test_register_takes_native_schemes_over() -> None:
    code = (
        "import fsspec, opendalfs\n"
        "before = fsspec.get_filesystem_class('s3').__module__\n"
        "opendalfs.register('s3', 'gs', 'abfs', 'https')\n"
        "for url in ('s3://b/k', 'gs://b/k', 'abfs://b@acct.dfs.core.windows.net/k', 'https://host/k'):\n"
        "    fs, path = fsspec.core.url_to_fs(url)\n"
        "    print(type(fs).__name__, path)\n"
    )
    assert run(code).splitlines() == [
        "S3FileSystem b/k",
        "GcsFileSystem b/k",
        "AzdlsFileSystem b/k",
        "HttpFileSystem k",
    ]


def test_register_refuses_what_no_service_goes_by() -> None:
    with pytest.raises(ValueError, match="did you mean 's3'"):
        opendalfs.register("s33")
    assert "s33" not in fsspec.registry


def test_what_datasets_of_hugging_face_adds_to_the_options_is_dropped() -> None:
    """Its functions add it to the dict of the caller, who then passes the dict to another one."""
    fs = fsspec.filesystem("opendal+memory", hf={"endpoint": "https://hub", "token": "hidden"})
    assert fs is fsspec.filesystem("opendal+memory")
    assert "hidden" not in fs.to_json() + repr(fs.storage_options)
    with pytest.raises(opendalfs.OptionError, match="no option 'hf'"):
        fsspec.filesystem("opendal+memory", hf="hidden")
