"""The hooks, with them and without; and which of Polars' stores a URL goes to."""

from __future__ import annotations

import base64
import doctest
import inspect
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import opendalfs
import opendalfs_polars as op
from opendalfs import OptionError
from opendalfs.testing import GcsEmulator, S3Server
from opendalfs_polars.target import is_ours

DATA = pl.DataFrame({"a": [1, 2, 3], "k": ["x", "y", "x"]})
FORMATS = ("parquet", "csv", "ndjson", "ipc")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and leave it empty: nothing may be written to a folder ``opendal+...``."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not [name for name in os.listdir(tmp_path) if name.startswith("opendal")]


@pytest.fixture
def lake() -> str:
    return f"opendal+memory://hooks-{os.urandom(6).hex()}"


def polars_names() -> dict[tuple[str, str], Any]:
    """Everything that Polars' modules and frames hold."""
    modules = [m for n, m in list(sys.modules.items()) if n == "polars" or n.startswith("polars.")]
    owners = [*modules, pl.LazyFrame, pl.DataFrame]
    return {(o.__name__, name): value for o in owners for name, value in list(o.__dict__.items())}


# The hooks


@pytest.mark.parametrize("format", FORMATS)
def test_polars_own_functions_take_our_urls(lake: str, format: str) -> None:
    with opendalfs.polars():
        getattr(DATA, f"write_{format}")(f"{lake}/a.{format}")
        getattr(DATA.lazy(), f"sink_{format}")(f"{lake}/b.{format}")
        scan, read = getattr(pl, f"scan_{format}"), getattr(pl, f"read_{format}")
        assert_frame_equal(read(f"{lake}/a.{format}"), DATA)
        assert_frame_equal(scan(f"{lake}/*.{format}").collect(), pl.concat([DATA, DATA]))
        assert_frame_equal(scan([f"{lake}/b.{format}"]).select("k").collect(), DATA.select("k"))
        assert_frame_equal(scan(source=f"{lake}/a.{format}").collect(), DATA)


def test_partitions_and_trees(lake: str) -> None:
    with opendalfs.polars():
        DATA.lazy().sink_parquet(pl.PartitionBy(f"{lake}/parts/", key="k"), mkdir=True)
        DATA.write_parquet(f"{lake}/more/", partition_by="k")
        for tree in ("parts", "more"):
            found = pl.scan_parquet(f"{lake}/{tree}/").select("a", "k").sort("a").collect()
            assert_frame_equal(found, DATA)


def test_other_writers_go_through_a_file(lake: str) -> None:
    with opendalfs.polars():
        DATA.write_avro(f"{lake}/a.avro")
        DATA.write_json(f"{lake}/a.json")
        DATA.write_ipc_stream(f"{lake}/a.arrows")
    with opendalfs.filesystem("memory").open(f"{lake}/a.avro") as file:
        assert_frame_equal(pl.read_avro(file), DATA)


def test_options_are_opendalfs_own(s3_server: S3Server, prefix: str) -> None:
    options = s3_server.options
    with opendalfs.polars():
        DATA.write_parquet(f"opendal+s3://{prefix}/a.parquet", storage_options=options)
        assert_frame_equal(
            pl.scan_parquet(f"opendal+s3://{prefix}/a.parquet", storage_options=options).collect(), DATA
        )
        with pytest.raises(OptionError, match="Did you mean 'endpoint_url'"):
            pl.scan_parquet(f"opendal+s3://{prefix}/a.parquet", storage_options={"endpoint_ulr": "x"})
    with opendalfs.polars(backend="gateway", **options), opendalfs.trace() as trace:
        assert pl.read_parquet(f"opendal+s3://{prefix}/a.parquet").height == 3
    assert trace.count("read") >= 1


def test_hooks_may_come_and_go_in_other_threads(lake: str) -> None:
    original = pl.scan_csv

    def use(number: int) -> None:
        for _ in range(20):
            with opendalfs.polars():
                DATA.write_csv(f"{lake}/{number}.csv")
                assert pl.read_csv(f"{lake}/{number}.csv").height == 3
            pl.scan_csv(b"a\n1\n").collect()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    assert pl.scan_csv is original


def test_the_hooks_installed_last_give_the_options(lake: str) -> None:
    op.write_csv(DATA, f"{lake}/a.csv")
    with opendalfs.polars(backend="gateway"):
        with opendalfs.polars(backend="native"), pytest.raises(op.NativeBackendError):
            pl.scan_csv(f"{lake}/a.csv")
        assert pl.read_csv(f"{lake}/a.csv").height == 3


def test_everything_else_passes_through(tmp_path: Path) -> None:
    with opendalfs.polars():
        DATA.write_parquet(tmp_path / "a.parquet")
        assert_frame_equal(pl.read_parquet(str(tmp_path / "a.parquet")), DATA)
        with (tmp_path / "a.parquet").open("rb") as file:
            assert_frame_equal(pl.read_parquet(file), DATA)
        assert_frame_equal(pl.read_parquet((tmp_path / "a.parquet").read_bytes()), DATA)
        assert DATA.write_csv() == "a,k\n1,x\n2,y\n3,x\n"
        assert_frame_equal(pl.scan_csv(b"a\n1\n").collect(), pl.DataFrame({"a": [1]}))


def test_what_polars_opens_by_fsspec_still_is(lake: str) -> None:
    with opendalfs.polars():
        DATA.write_csv(f"{lake}/a.csv")
        DATA.write_parquet(f"{lake}/a.parquet")
        assert_frame_equal(pl.read_csv(f"{lake}/a.csv", encoding="latin-1"), DATA)
        assert_frame_equal(pl.read_parquet(f"{lake}/a.parquet", use_pyarrow=True), DATA)


def test_what_pyarrow_writes_for_polars_goes_to_our_service_too(lake: str) -> None:
    op.write_parquet(DATA, f"{lake}/a.parquet", use_pyarrow=True)
    assert_frame_equal(op.read_parquet(f"{lake}/a.parquet"), DATA)
    with opendalfs.polars(), pytest.raises(ValueError, match="partition_by"):
        DATA.write_parquet(f"{lake}/b/", use_pyarrow=True, pyarrow_options={"partition_cols": ["k"]})


def test_uninstalling_leaves_polars_as_it_was() -> None:
    import polars.io.delta._dataset  # noqa: F401  # holds a scan_parquet of its own

    before = polars_names()
    hooks = opendalfs.polars()
    assert pl.scan_parquet is not before["polars", "scan_parquet"]
    assert pl.scan_parquet.__doc__ == before["polars", "scan_parquet"].__doc__
    with opendalfs.polars():
        pass
    assert pl.scan_parquet is not before["polars", "scan_parquet"]
    hooks.uninstall()
    hooks.uninstall()
    after = polars_names()
    assert [key for key in before if before[key] is not after[key]] == []
    assert "installed=False" in repr(hooks)


def test_a_wrapper_of_others_around_ours_stays(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = opendalfs.polars()
    ours = pl.scan_csv
    theirs = lambda *args, **kwargs: ours(*args, **kwargs)  # noqa: E731
    pl.scan_csv = theirs
    hooks.uninstall()
    assert pl.scan_csv is theirs
    assert pl.scan_csv(b"a\n1\n").collect().height == 1
    pl.scan_csv = ours.__wrapped__  # type: ignore[attr-defined]


# Without them


def test_our_functions_never_write_to_a_local_folder(lake: str) -> None:
    """Where Polars by itself would take such a URL for a local path."""
    op.sink_parquet(DATA.lazy(), f"{lake}/a.parquet", mkdir=True)
    op.sink_parquet(DATA.lazy(), pl.PartitionBy(f"{lake}/parts/", key="k"), mkdir=True)
    op.write_parquet(DATA, f"{lake}/more/", partition_by="k")
    slashed = Path(f"{lake}/b.parquet")
    assert str(slashed).startswith("opendal+memory:/hooks")
    for sink in (slashed, pl.PartitionBy(slashed, key="k"), "opendal+memory:b.parquet"):
        with pytest.raises(ValueError, match="two slashes"):
            op.sink_parquet(DATA.lazy(), sink, mkdir=True)
    with pytest.raises(ValueError, match="no OpenDAL service is called"):
        op.sink_parquet(DATA.lazy(), "opendal+nothing://x/a.parquet", mkdir=True)
    with pytest.raises(ValueError, match="backend is"):
        op.sink_parquet(DATA.lazy(), f"{lake}/a.parquet", backend="other")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in op.__all__ if name.partition("_")[2] in FORMATS])
def test_our_functions_show_what_they_take(name: str) -> None:
    ours, owner = getattr(op, name), {"sink": pl.LazyFrame, "write": pl.DataFrame}.get(name.split("_")[0], pl)
    theirs = inspect.signature(getattr(owner, name)).parameters
    shown = inspect.signature(ours).parameters
    public = {n for n in theirs if not n.startswith("_")} - {"self", "credential_provider"}
    assert shown.keys() - {"frame"} == public | {"storage_options", "backend"}
    assert ours.__name__ == name
    found = doctest.DocTestFinder().find(ours, globs={"pl": pl, name: ours})
    assert doctest.DocTestRunner().run(found[0]).failed == 0


def test_arguments_that_do_not_fit_are_refused_as_polars_does(lake: str) -> None:
    op.write_csv(DATA, f"{lake}/a.csv")
    with opendalfs.polars():
        for function in (op.scan_csv, pl.scan_csv):
            for args, kwargs in (((5,), {}), ((), {"source": "b"}), ((), {"nrows": 5})):
                with pytest.raises(TypeError):
                    function(f"{lake}/a.csv", *args, **kwargs)  # type: ignore[operator]
    with pytest.raises(TypeError):
        op.sink_csv(path=f"{lake}/a.csv")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("opendal+s3://b/k", True),
        ("opendals3://b/k", True),
        ("opendallocal:///tmp", True),
        ("opendalfs:///tmp", False),
        ("opendal+nothing://x", True),
        ("opendal+s3:/b/k", True),
        ("opendal+s3:b/k", True),
        ("s3://b/k", False),
        ("opendalx://b/k", False),
        ("opendal+s3", False),
        ("./opendal+s3://x", False),
        (Path("a"), False),
        (b"opendal+s3://b", False),
        (None, False),
    ],
)
def test_which_urls_are_ours(text: object, ours: bool) -> None:
    assert is_ours(text) is ours


def test_file_paths_are_shown_as_they_were_given(lake: str) -> None:
    op.write_parquet(DATA, f"{lake}/d/a b.parquet")
    found = op.scan_parquet(f"{lake}/d/", include_file_paths="path").select("path").unique().collect()
    assert found.item() == f"{lake}/d/a b.parquet"


@pytest.mark.parametrize("backend", ["native", "gateway"])
def test_file_paths_of_several_buckets_are_shown_as_they_were_given(
    s3_server: S3Server, bucket: str, backend: Any
) -> None:
    urls = [f"opendal+s3://{name}/paths-{os.urandom(6).hex()}.csv" for name in (bucket, s3_server.bucket)]
    for url in urls:
        op.write_csv(DATA, url, storage_options=s3_server.options)
    found = op.read_csv(urls, storage_options=s3_server.options, backend=backend, include_file_paths="path")
    assert found["path"].to_list() == [url for url in urls for _ in range(3)]
    s3_server.remove_prefix(urls[1].partition(f"{s3_server.bucket}/")[2])


@pytest.mark.parametrize("backend", ["native", "gateway"])
@pytest.mark.parametrize("lazy", [False, True])
def test_written_paths_are_told_as_they_were_given_once_they_can_be_read(
    s3_server: S3Server, prefix: str, backend: Any, lazy: bool
) -> None:
    options, told = s3_server.options, []

    def tell(args: Any) -> None:
        told.extend(path.path for path in args.paths)
        if not lazy:
            assert op.read_parquet(told, storage_options=options).height == 3

    query = op.sink_parquet(
        DATA.lazy(),
        pl.PartitionBy(f"opendal+s3://{prefix}/", key="k"),
        storage_options=options,
        backend=backend,
        lazy=lazy,
        sinked_paths_callback=tell,
    )
    if lazy:
        query.collect()
    assert sorted(told) == [f"opendal+s3://{prefix}/k={k}/00000000.parquet" for k in ("x", "y")]


def test_credential_providers_are_refused(lake: str) -> None:
    with pytest.raises(ValueError, match="storage_options"):
        op.scan_parquet(f"{lake}/a.parquet", credential_provider=lambda: ({}, None))


# Which store


def test_target_goes_into_any_reader_and_sink(s3_server: S3Server, prefix: str) -> None:
    url, options = f"opendal+s3://{prefix}/a.parquet", s3_server.options
    for backend in ("native", "gateway"):
        sink = op.target(url, options, backend=backend, write=True)  # type: ignore[arg-type]
        source = op.target(url, options, backend=backend)  # type: ignore[arg-type]
        assert (sink.backend, source.backend) == (backend, backend)
        DATA.write_parquet(sink.source, storage_options=sink.storage_options)
        found = pl.read_parquet(source.source, storage_options=source.storage_options)
        assert_frame_equal(found, DATA)


def native(url: str, **options: Any) -> dict[str, Any]:
    found = op.target(url, options, backend="native")
    assert op.target(url, options).backend == "native"
    return {"source": str(found.source), **found.storage_options}


def reason(url: str, **options: Any) -> str:
    with pytest.raises(op.NativeBackendError) as refused:
        op.target(url, options, backend="native")
    auto = op.target(url, options)
    assert (auto.backend, auto.reason) == ("gateway", str(refused.value))
    return auto.reason


S3 = {"key": "access", "secret": "very-secret", "region": "eu-west-1"}


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_aws")
def test_s3_options_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native("opendal+s3://b/a*.parquet", **S3, token="t", endpoint_url="http://host:1/") == {
        "source": "s3://b/a*.parquet",
        "aws_region": "eu-west-1",
        "aws_endpoint_url": "http://host:1",
        "aws_allow_http": "true",
        "aws_virtual_hosted_style_request": "false",
        "aws_access_key_id": "access",
        "aws_secret_access_key": "very-secret",
        "aws_session_token": "t",
        "aws_skip_signature": "false",
    }
    assert native("opendal+s3://b/c+d/[!*a]?.csv", **S3)["source"] == r"s3://b/c[+]d/[^/\x2aa][^/].csv"
    assert op.target("opendal+s3://b/c+d/?.csv", S3, glob=False).source == "s3://b/c+d/?.csv"
    assert native("opendal+s3://b/d/", anon=True, root="/x/y/", region="r")["source"] == "s3://b/x/y/d/"
    assert native("opendal+s3://b/d", anon=True, region="r")["aws_skip_signature"] == "true"
    encrypted = native("opendal+s3://b/d", **S3, server_side_encryption="AES256")
    assert encrypted["aws_server_side_encryption"] == "AES256"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert native("opendal+s3://b/d", region="r")["aws_access_key_id"] == "from-environment"


@pytest.mark.usefixtures("no_aws")
def test_s3_options_that_would_be_lost_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "opendal+s3://b/d"
    assert "credentials" in reason(url, region="r")
    assert "role_arn" in reason(url, **S3, role="arn:x")
    assert "enable_request_payer" in reason(url, **S3, requester_pays=True)
    assert "timeouts" in reason(url, **S3, timeout=3)
    assert "AES256" in reason(url, **S3, server_side_encryption="aws:kms")
    assert "hive" in reason("opendal+s3://b/", **S3)
    assert "password" in reason(url, **S3, endpoint_url="http://user:password@host")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    assert "AWS_ENDPOINT_URL" in reason(url, **S3)


IDENTITIES = {
    "s3": S3,
    "gcs": {"token": "t"},
    "azblob": {"account_name": "me", "sas_token": "sv=1&sig=x"},
    "azdls": {"account_name": "me", "client_id": "i", "client_secret": "s", "tenant_id": "t"},
}


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    ("service", "variable"),
    [
        ("s3", "AWS_TOKEN"),
        ("s3", "AWS_SESSION_TOKEN"),
        ("gcs", "GOOGLE_BEARER_TOKEN"),
        ("gcs", "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("azblob", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("azblob", "AZURE_SKIP_SIGNATURE"),
        ("azdls", "AZURE_FEDERATED_TOKEN_FILE"),
        ("azdls", "AZURE_AUTHORITY_HOST"),
    ],
)
def test_what_polars_would_take_from_the_environment_is_refused(
    service: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a key there before a SAS token that is given, for one."""
    url = f"opendal+{service}://b/d"
    native(url, **IDENTITIES[service])
    monkeypatch.setenv(variable, "x")
    assert "environment" in reason(url, **IDENTITIES[service])


def test_other_services_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    key = base64.b64encode(b'{"type": "service_account"}').decode()
    gcs = native("opendal+gcs://b/a", credential=key)
    assert gcs == {"source": "gs://b/a", "google_service_account_key": '{"type": "service_account"}'}
    azure = {"account_name": "me", "account_key": "a2V5"}
    assert native("opendal+azblob://c/a", **azure) == {
        "source": "az://c/a",
        "azure_storage_account_name": "me",
        "azure_storage_account_key": "a2V5",
    }
    assert native("opendal+azdls://c/a", **azure)["source"] == "abfss://c/a"
    assert (
        native("opendal+hf://datasets/o/n@main/d/*.parquet")["source"] == "hf://datasets/o/n@main/d/*.parquet"
    )
    assert native("opendal+fs:///tmp/a+b/?*.csv") == {"source": "/tmp/a+b/?*.csv"}
    assert native("opendal+https://host/d/a.csv") == {"source": "https://host/d/a.csv"}
    assert "user and password" in reason("opendal+http://host/a", endpoint="http://me:secret@host")
    assert "username" in reason("opendal+http://host/a", username="me", password="p")
    for key in ("50%.csv", "a%20b.csv", "a#b.csv", "*.csv"):
        assert "over HTTP" in reason(f"opendal+http://host/{key}")
    assert "no store of its own for webdav" in reason("opendal+webdav://host/a")
    assert "datasets and spaces" in reason("opendal+hf://o/n/a.parquet")
    assert "Azure" in reason("opendal+azblob://c/a", **azure, endpoint="http://127.0.0.1:10000/me")


def test_gcs_elsewhere_goes_through_the_gateway(gcs_server: GcsEmulator) -> None:
    options = gcs_server.options
    name = f"{gcs_server.bucket}/{os.urandom(6).hex()}.csv"
    opendalfs.filesystem("gcs", **options).pipe_file(name, b"a\n1\n")
    assert "different protocols" in op.target(f"opendal+gcs://{name}", options).reason
    assert op.read_csv(f"opendal+gcs://{name}", storage_options=options).item() == 1


def test_sinks_go_through_the_gateway_unless_asked(tmp_path: Path) -> None:
    assert op.target(f"opendal+fs://{tmp_path}/a.csv", write=True).backend == "gateway"
    assert op.target("opendal+s3://b/a.csv", S3, write=True).backend == "gateway"
    with pytest.raises(op.NativeBackendError, match="torn"):
        op.target(f"opendal+fs://{tmp_path}/a.csv", backend="native", write=True)


def test_urls_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="one service"):
        op.target(["opendal+memory://a/b", "opendal+s3://a/b"])
    with pytest.raises(ValueError, match="one service"):
        op.target(["opendal+webdav://a/b", "opendal+webdav://c/b"])
    with pytest.raises(ValueError, match="no URL"):
        op.target([])
    with pytest.raises(ValueError, match="no URL of opendalfs"):
        op.target("s3://b/a")
    with pytest.raises(ValueError, match="cannot be reached"):
        op.target("opendal+memory://a//b")


def test_containers_of_a_list_may_differ(lake: str) -> None:
    other = f"{lake}-other"
    op.write_csv(DATA, f"{lake}/a.csv")
    op.write_csv(DATA, f"{other}/a.csv")
    assert op.scan_csv([f"{lake}/a.csv", f"{other}/a.csv"]).collect().height == 6


@pytest.mark.usefixtures("no_aws")
def test_secrets_are_in_no_repr_and_no_error(s3_server: S3Server) -> None:
    for backend in ("native", "gateway"):
        found = op.target("opendal+s3://b/a.parquet", S3, backend=backend)  # type: ignore[arg-type]
        shown = repr(found) + str(found.source)
        for secret in ("very-secret", *(v for k, v in found.storage_options.items() if "key" in k)):
            assert secret not in shown
    options = {**s3_server.options, "secret": "not-the-right-one"}
    url = f"opendal+s3://{s3_server.bucket}/a.parquet"
    with pytest.raises(OSError, match="Access denied") as error:
        op.read_parquet(url, storage_options=options, backend="gateway")
    assert "not-the-right-one" not in str(error.value)


# Without the hooks


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("a.parquet", FileNotFoundError, r"No such file or directory \(os error 2\)"),
        ("*.parquet", pl.exceptions.ComputeError, "expanded paths were empty"),
    ],
)
def test_without_hooks_polars_reads_a_local_path_as_the_readme_says(
    path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pl.read_parquet(f"opendal+s3://lake/{path}")


def test_without_hooks_polars_writes_to_a_local_folder_as_the_readme_says(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DATA.lazy().sink_parquet("opendal+s3://lake/a.parquet")
    DATA.lazy().sink_parquet("opendal+s3://lake/a.parquet", mkdir=True)
    assert (tmp_path / "opendal+s3:" / "lake" / "a.parquet").exists()
    shutil.rmtree(tmp_path / "opendal+s3:")
