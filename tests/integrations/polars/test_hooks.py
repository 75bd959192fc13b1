"""The hooks in Polars' own functions, and what Polars does without them."""

from __future__ import annotations

import doctest
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import opendalfs
import opendalfs_polars as op
from opendalfs import OptionError
from opendalfs.testing import S3Server
from opendalfs_polars.target import is_opendalfs_url
from tests.versions import since

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
        with pytest.raises(OptionError, match="did you mean 'endpoint_url'"):
            pl.scan_parquet(f"opendal+s3://{prefix}/a.parquet", storage_options={"endpoint_ulr": "x"})
    with opendalfs.polars(backend="gateway", **options), opendalfs.trace() as trace:
        assert pl.read_parquet(f"opendal+s3://{prefix}/a.parquet").height == 3
    assert trace.count("read") >= 1


def test_hooks_can_be_installed_and_removed_in_other_threads(lake: str) -> None:
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


@since("polars", "2.1", "2.0 takes the URL for a local path where it reads with other libraries")
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
    with pytest.raises(ValueError, match="unknown backend"):
        op.sink_parquet(DATA.lazy(), f"{lake}/a.parquet", backend="other")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in op.__all__ if name.partition("_")[2] in FORMATS])
def test_our_functions_show_what_they_take(name: str) -> None:
    ours, owner = getattr(op, name), {"sink": pl.LazyFrame, "write": pl.DataFrame}.get(name.split("_")[0], pl)
    theirs = inspect.signature(getattr(owner, name)).parameters
    shown = inspect.signature(ours).parameters
    public = {n for n in theirs if not n.startswith("_")} - {"self"}
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
    assert is_opendalfs_url(text) is ours


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
def test_written_paths_are_reported_as_given(
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


def test_a_credential_provider_is_an_option_of_the_service(lake: str) -> None:
    with pytest.raises(ValueError, match="memory takes no credential_provider"):
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


def test_without_hooks_polars_does_not_make_the_local_folder_by_default() -> None:
    with pytest.raises(FileNotFoundError):
        DATA.lazy().sink_parquet("opendal+s3://lake/a.parquet")


@pytest.mark.parametrize(
    "write",
    [
        lambda: DATA.lazy().sink_parquet("opendal+s3://lake/a.parquet", mkdir=True),
        lambda: DATA.lazy().sink_csv(pl.PartitionBy("opendal+s3://lake/", key="k"), mkdir=True),
        lambda: DATA.write_parquet("opendal+s3://lake/", partition_by="k"),
    ],
    ids=["mkdir", "PartitionBy", "partition_by"],
)
def test_without_hooks_polars_writes_to_a_local_folder_as_the_readme_says(
    tmp_path: Path, write: Callable[[], object]
) -> None:
    """If one of these raises, Polars has mended it: then the README need not warn of it."""
    write()
    found = [p for p in (tmp_path / "opendal+s3:" / "lake").rglob("*") if p.is_file()]
    shutil.rmtree(tmp_path / "opendal+s3:")
    assert found


def test_no_hook_of_polars_could_refuse_such_a_url(tmp_path: Path) -> None:
    """If one can, the import of `opendalfs_polars` should use it to name the line that is missing."""
    asked = []
    with pl.Config():
        pl.Config.set_default_credential_provider(lambda: asked.append("provider"))  # type: ignore[arg-type,return-value]
        DATA.lazy().sink_parquet("opendal+s3://lake/a.parquet", mkdir=True)
    shutil.rmtree(tmp_path / "opendal+s3:")
    assert asked == []
    for register, name in (
        (pl.api.register_lazyframe_namespace, "sink_parquet"),
        (pl.api.register_dataframe_namespace, "write_parquet"),
    ):
        with pytest.raises(AttributeError, match="cannot override"):
            register(name)(type("Guard", (), {}))


def test_the_readme_says_that_the_line_is_required() -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text()
    assert "\nopendalfs.polars()  # required" in text
