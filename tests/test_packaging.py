"""What the distributions hold, that they install, and that the core stands without any engine.

The distributions are built from this tree, unless OPENDALFS_TEST_DIST names a folder with them, as
`make build` does.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from importlib.util import find_spec
from pathlib import Path

import pytest
from opendal.services import Scheme
from packaging.metadata import Metadata
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "opendalfs",
    "opendalfs_arrow",
    "opendalfs_cli",
    "opendalfs_duckdb",
    "opendalfs_gateway",
    "opendalfs_polars",
    "opendalfs_upath",
}
ENGINES = {"pyarrow", "duckdb", "polars"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command without this process's PYTHONPATH; its output, or a failure that shows it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\nexited with {done.returncode}\n{done.stdout}")
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sdist, and the wheel built from it."""
    if given := os.environ.get("OPENDALFS_TEST_DIST"):
        return (ROOT / given).resolve()
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [path] = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    [path] = dist.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def info(wheel: Path) -> dict[str, bytes]:
    """The files of the wheel's dist-info by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist() if ".dist-info/" in name
        }


@pytest.fixture
def empty_env(tmp_path: Path) -> Path:
    """The python of a new environment that holds fsspec and opendal and nothing else.

    They are linked from where the tests run, so that no index is asked and no engine can be found.
    """
    home = tmp_path / "env"
    venv.create(home, symlinks=True)
    [site] = home.glob("lib/python*/site-packages")
    for name in ("fsspec", "opendal"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        [dist_info] = package.parent.glob(f"{name}-*.dist-info")
        for source in (package, dist_info):
            (site / source.name).symlink_to(source, target_is_directory=True)
    return home / "bin" / "python"


def install(python: Path, wheel: Path | str) -> None:
    """Install a wheel, alone and offline, with the pip of the environment the tests run in."""
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    assert names >= {f"{package}/__init__.py" for package in PACKAGES}
    assert names >= {f"{package}/py.typed" for package in PACKAGES}
    assert not [name for name in names if name.endswith((".pyc", ".so"))]


def test_wheel_holds_every_module_of_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.endswith(".py")}
    folders = [ROOT / "opendalfs", *(ROOT / "integrations").glob("opendalfs_*")]
    assert names == {
        path.relative_to(folder.parent).as_posix() for folder in folders for path in folder.rglob("*.py")
    }


def test_sdist_holds_what_its_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "constraints.txt",
        "constraints-lowest.txt",
    }
    assert names >= {"pyproject.toml", "tests/test_packaging.py", "opendalfs/__init__.py"}
    assert names >= {
        "CITATION.cff",
        "conda/recipe.yaml",
        ".github/workflows/ci.yml",
        ".pre-commit-config.yaml",
    }
    assert not [name for name in names if name.startswith((".venv", ".cache", "dist/", "build/"))]


def test_metadata_is_valid(info: dict[str, bytes]) -> None:
    metadata = Metadata.from_email(info["METADATA"], validate=True)
    assert metadata.name == "opendalfs"
    assert str(metadata.requires_python) == ">=3.11"
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description
    assert "licenses/LICENSE" in info


def test_core_needs_fsspec_and_opendal_alone(info: dict[str, bytes]) -> None:
    required = map(Requirement, message_from_bytes(info["METADATA"]).get_all("Requires-Dist", []))
    assert {need.name for need in required if need.marker is None} == {"fsspec", "opendal"}


def test_extras(info: dict[str, bytes]) -> None:
    """One extra per engine, which `all` takes together, and one per service for its credentials."""
    extras = message_from_bytes(info["METADATA"]).get_all("Provides-Extra", [])
    engines, services = {"arrow", "cli", "duckdb", "polars", "serve", "all"}, {"memory", "s3", "gcs", "azure"}
    libraries, for_developers = {"iceberg", "upath"}, {"docs", "testing", "test", "tools", "bench", "dev"}
    assert set(extras) == {*engines, *services, *libraries, *for_developers}

    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    engines = {
        extra: {Requirement(need).name for need in declared[extra]}
        for extra in ("arrow", "cli", "duckdb", "polars", "serve")
    }
    assert engines == {
        "arrow": {"pyarrow"},
        "cli": {"click", "rich"},
        "duckdb": {"duckdb"},
        "polars": {"polars", "aiohttp"},
        "serve": {"aiohttp"},
    }
    assert {Requirement(need).name for need in declared["iceberg"]} == {"pyarrow", "pyiceberg"}
    [everything] = map(Requirement, declared["all"])
    assert everything.extras == set(engines)


def test_entry_points_name_every_service_of_the_wheel(info: dict[str, bytes]) -> None:
    """`fsspec.open("opendal+s3://...")` needs no import of opendalfs; a new opendal shows here."""
    members = vars(Scheme).values()
    services = {member.value: member.value for member in members if isinstance(member, Scheme)}
    expected = {"opendal": "opendalfs.fs.core:OpendalFileSystem"}
    for scheme, service in (services | {"https": "http", "webdavs": "webdav"}).items():
        words = "".join(word.capitalize() for word in service.split("-"))
        # opendalfs:// would read as the package's own scheme.
        letters = "local" if scheme == "fs" else scheme
        for name in (f"opendal+{scheme}", f"opendal{letters}"):
            expected[name] = f"opendalfs.fs.services:{words}FileSystem"

    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read_string(info["entry_points.txt"].decode())
    paths = "universal_pathlib.implementations"
    assert sorted(parser.sections()) == ["console_scripts", "fsspec.specs", "opendalfs.file_readers", paths]
    assert dict(parser["console_scripts"]) == {"opendalfs": "opendalfs.__main__:main"}
    assert dict(parser["fsspec.specs"]) == expected
    assert dict(parser[paths]) == dict.fromkeys(expected.keys() - {"opendal"}, "opendalfs_upath:OpendalPath")


FIRST_USE = """
import fsspec
for scheme in ("opendal+memory", "opendalmemory"):
    with fsspec.open(scheme + "://bucket/key", "wb") as file:
        file.write(b"data")
    assert fsspec.filesystem(scheme).cat_file("bucket/key") == b"data"
    # Without pyarrow, which is the one to call this, a file still reads.
    with fsspec.open(scheme + "://bucket/key", "rb") as file:
        assert file.read_buffer(3) == b"dat"
        assert file.read_buffer() == b"a"

import importlib.util, opendalfs
for engine in ("arrow", "duckdb", "polars"):
    assert importlib.util.find_spec(f"opendalfs_{engine}"), engine
    try:
        getattr(opendalfs, engine)
    except ImportError as missing:
        assert f"opendalfs.{engine}() needs" in str(missing), missing
        assert "pip install '" in str(missing), missing
        assert "[" not in str(missing), missing
    else:
        raise AssertionError(f"{engine} is not installed here")
print(opendalfs.__version__, opendalfs.__file__, sep="\\n")
"""


def test_wheel_works_where_only_the_core_dependencies_are(
    wheel: Path, empty_env: Path, tmp_path: Path
) -> None:
    """URLs open without an import, and a missing engine is named with the way to get it."""
    install(empty_env, wheel)
    version, file = run(empty_env, "-c", FIRST_USE, cwd=tmp_path).split()
    assert version == wheel.name.split("-")[1]
    assert Path(file).is_relative_to(empty_env.parent.parent)


def test_editable_install_serves_the_tree(empty_env: Path, tmp_path: Path) -> None:
    """`pip install -e .` as pip does it: the build backend makes a wheel, and pip installs that."""
    build = f"import hatchling.build; print(hatchling.build.build_editable({str(tmp_path)!r}))"
    install(empty_env, tmp_path / run(sys.executable, "-c", build).strip())
    version, file = run(empty_env, "-c", FIRST_USE, cwd=tmp_path).split()
    assert version
    assert Path(file) == ROOT / "opendalfs" / "__init__.py"


def test_every_entry_point_loads() -> None:
    """Each URL scheme leads to a filesystem class that answers to it."""
    script = """
import fsspec, importlib.metadata
for point in importlib.metadata.entry_points(group="fsspec.specs"):
    if point.value.startswith("opendalfs"):
        cls = fsspec.get_filesystem_class(point.name)
        assert cls.__name__ == point.value.partition(":")[2], (point, cls)
        protocols = (cls.protocol,) if isinstance(cls.protocol, str) else cls.protocol
        assert point.name in protocols, (point, protocols)
"""
    run(sys.executable, "-c", script)


def test_core_imports_no_engine() -> None:
    script = "import opendalfs, sys; print(*sorted(sys.modules))"
    modules = set(run(sys.executable, "-c", script).split())
    assert "opendalfs" in modules
    assert not modules & ENGINES


def test_the_wheel_installs_with_an_extra_as_the_readme_says(wheel: Path, empty_env: Path) -> None:
    assert 'pip install "$(ls dist/*.whl)[all]"' in (ROOT / "README.md").read_text()
    install(empty_env, f"{wheel}[all]")
    run(empty_env, "-c", "import opendalfs")


PLANNED_READ = """
import fsspec, io, sys
import pyarrow as pa, pyarrow.parquet as pq

sink = io.BytesIO()
pq.write_table(pa.table({"x": [1, 2, 3]}), sink)
fs = fsspec.filesystem("opendal+memory")
fs.pipe_file("bucket/t.parquet", sink.getvalue())
with fs.open("bucket/t.parquet") as file:
    assert "opendalfs_arrow" not in sys.modules
    assert pq.ParquetFile(file).read()["x"].to_pylist() == [1, 2, 3]
print("opendalfs_arrow.scan" in sys.modules)
"""


def test_the_entry_point_makes_the_parquet_planner_read_open_files(
    wheel: Path, empty_env: Path, tmp_path: Path
) -> None:
    install(empty_env, wheel)
    spec = find_spec("pyarrow")
    assert spec is not None
    assert spec.origin is not None
    [site] = empty_env.parent.parent.glob("lib/python*/site-packages")
    (site / "pyarrow").symlink_to(Path(spec.origin).parent, target_is_directory=True)
    assert run(empty_env, "-c", PLANNED_READ, cwd=tmp_path) == "True\n"

    [points] = site.glob("opendalfs-*/entry_points.txt")
    with_point = points.read_text()
    points.write_text(with_point.replace("opendalfs_arrow.files:", "opendalfs_missing:"))
    output = run(empty_env, "-c", PLANNED_READ, cwd=tmp_path)
    assert "reading without opendalfs_missing:open_planned: it cannot be imported" in output
    assert output.endswith("False\n")

    points.write_text(with_point.replace("[opendalfs.file_readers]", "[another.group]"))
    assert run(empty_env, "-c", PLANNED_READ, cwd=tmp_path) == "False\n"


OTHER = """
[fsspec.specs]
opendal+s3 = opendalfs.registry:OpendalS3FileSystem
"""


def put_other(folder: Path) -> None:
    """Lay what is left of the other package beside or between the files of ours."""
    info = folder / "opendalfs-0.2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: opendalfs\nVersion: 0.2.0\n")
    (info / "entry_points.txt").write_text(OTHER)
    (folder / "opendalfs").mkdir(exist_ok=True)
    (folder / "opendalfs" / "registry.py").write_text("")


def test_another_package_of_this_name_is_detected_at_import(
    wheel: Path, empty_env: Path, tmp_path: Path
) -> None:
    install(empty_env, wheel)
    [site] = empty_env.parent.parent.glob("lib/python*/site-packages")
    importing = "import sys; sys.path.append(sys.argv[1]); import opendalfs; print('imported')"
    elsewhere = tmp_path / "elsewhere"
    command = (empty_env, "-c", importing, elsewhere)
    assert run(*command, cwd=tmp_path) == "imported\n"

    # As with a user's and a system's environment: Python imports the first of them.
    put_other(elsewhere)
    told = run(*command, cwd=tmp_path)
    assert "RuntimeWarning: another package named opendalfs (0.2.0) is installed in" in told
    assert str(elsewhere) in told
    assert str(site) in told
    assert told.endswith("imported\n")

    # As after two installs into one folder.
    put_other(site)
    failing = "try:\n import opendalfs\nexcept ImportError as exc: print(exc)\nelse: print('imported')"
    told = run(empty_env, "-c", failing, cwd=tmp_path)
    assert "another package named opendalfs (0.2.0)" in told
    assert "mixed with this one" in told


def test_a_checkout_detects_another_package_that_is_installed(empty_env: Path, tmp_path: Path) -> None:
    [site] = empty_env.parent.parent.glob("lib/python*/site-packages")
    put_other(site)
    importing = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import opendalfs; print('imported')"
    told = run(empty_env, "-c", importing, cwd=tmp_path)
    assert "RuntimeWarning: another package named opendalfs (0.2.0)" in told
    assert told.endswith("imported\n")


def test_another_version_of_this_package_elsewhere_is_no_other_package(
    wheel: Path, empty_env: Path, tmp_path: Path
) -> None:
    install(empty_env, wheel)
    older = tmp_path / "older"
    put_other(older)
    [points] = empty_env.parent.parent.glob("lib/python*/site-packages/opendalfs-*/entry_points.txt")
    (older / "opendalfs-0.2.0.dist-info" / "entry_points.txt").write_text(points.read_text())
    importing = "import sys; sys.path.append(sys.argv[1]); import opendalfs; print('imported')"
    assert run(empty_env, "-W", "error", "-c", importing, older, cwd=tmp_path) == "imported\n"
