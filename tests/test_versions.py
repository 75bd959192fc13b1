"""The lowest versions of other packages: one table, and a clear error below it."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from opendalfs import installation

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = {
    "pyarrow": "opendalfs_arrow",
    "duckdb": "opendalfs_duckdb",
    "polars": "opendalfs_polars",
    "aiohttp": "opendalfs_gateway",
    "universal-pathlib": "opendalfs_upath",
    "pyiceberg": "opendalfs_arrow.iceberg",
}


def floors() -> dict[str, str]:
    """Return the lowest versions that pyproject.toml allows."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    needs = [
        *project["dependencies"],
        *(need for name in ("arrow", "duckdb", "iceberg", "polars", "upath") for need in extras[name]),
    ]
    return {need.name: min(s.version for s in need.specifier) for need in map(Requirement, needs)}


def test_errors_pyproject_and_constraints_name_the_same_floors() -> None:
    expected = floors()
    assert {name: expected[name] for name in installation.FLOORS} == installation.FLOORS
    lowest = dict(line.split("==") for line in (ROOT / "constraints-lowest.txt").read_text().splitlines())
    for name, floor in installation.FLOORS.items():
        assert lowest[name].split(".")[: len(floor.split("."))] == floor.split("."), name
    page = (ROOT / "docs/versions.md").read_text()
    for name, floor in installation.FLOORS.items():
        assert f"\n| {name} | {floor} |" in page


def test_lowest_constraints_are_names_and_versions_only() -> None:
    for line in (ROOT / "constraints-lowest.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.]+", line), line


@pytest.mark.parametrize("package", installation.FLOORS)
@pytest.mark.parametrize("old", ["0.2", "0.1.9", "0.1rc1"])
def test_an_older_version_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, package: str, old: str
) -> None:
    monkeypatch.setattr(installation, "version", lambda name: old if name == package else "9999")
    with pytest.raises(ImportError) as raised:
        installation.require(package)
    for part in (
        f"{package} {old} is installed",
        f"{package}>={installation.FLOORS[package]}",
        "pip install",
    ):
        assert part in str(raised.value)
    assert len(str(raised.value).splitlines()[0]) < 120


@pytest.mark.parametrize("package", installation.FLOORS)
def test_the_floor_and_what_is_newer_are_no_error(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    floor = installation.FLOORS[package]
    for version in (floor, f"{floor}.0", f"{floor}.1.dev3", f"{floor}+local", "9999.1", "10000rc1"):
        monkeypatch.setattr(installation, "version", lambda name, version=version: version)
        installation.require(package)


def test_a_package_that_is_not_installed_is_left_to_its_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "version", missing)
    installation.require("duckdb")


@pytest.mark.parametrize("package", ADAPTERS)
def test_each_adapter_checks_its_engine_when_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    adapter = ADAPTERS[package]
    monkeypatch.setattr(installation, "version", lambda name: "0.1" if name == package else "9999")
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{adapter}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=rf"{package} 0\.1 is installed, but opendalfs needs"):
        importlib.import_module(adapter)


@pytest.mark.parametrize(
    ("function", "package"), [("arrow", "pyarrow"), ("duckdb", "duckdb"), ("polars", "polars")]
)
def test_the_functions_of_opendalfs_raise_the_same_error(
    monkeypatch: pytest.MonkeyPatch, function: str, package: str
) -> None:
    import opendalfs

    monkeypatch.setattr(installation, "version", lambda name: "0.1" if name == package else "9999")
    with pytest.raises(ImportError, match=rf"{package} 0\.1 is installed, but opendalfs needs"):
        getattr(opendalfs, function)
