"""pyproject.toml, constraints.txt, the CI workflow and the pages agree with one another."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

import opendalfs
from opendalfs import installation

ROOT = Path(__file__).resolve().parent.parent


def test_dependency_ranges_cover_what_the_tests_run_on() -> None:
    """The versions in constraints.txt and in this environment satisfy pyproject.toml."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines)
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    needs = [*project["dependencies"], *extras["arrow"], *extras["duckdb"], *extras["polars"]]
    for need in map(Requirement, needs):
        assert tested[need.name] in need.specifier, need
    for need in map(Requirement, project["dependencies"]):
        assert distribution(need.name).version in need.specifier, need


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for line in lines:
        need = Requirement(line)
        assert line == f"{need.name}{need.specifier}"
        assert str(need.specifier).startswith("==")
    assert lines == sorted(lines)


def test_the_classifier_claims_no_system_that_no_required_job_runs_on() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    systems = [name for name in classifiers if name.startswith("Operating System")]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    if "continue-on-error: true" in workflow:
        assert systems == ["Operating System :: POSIX :: Linux"]
    [command] = re.findall(r"pytest (--confcutdir .*)", workflow)
    assert f"pytest {command}\n" in (ROOT / "tests/portable/test_core.py").read_text()


def test_errors_name_what_the_extras_need_and_no_extra_of_this_package() -> None:
    """On PyPI the name belongs to another package, so `pip install 'opendalfs[arrow]'` would bring that."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for engine, needs in opendalfs._ENGINES.items():
        assert sorted(f"{need}>={installation.FLOORS[need]}" for need in needs) == sorted(extras[engine])


def test_no_page_installs_this_package_by_its_name() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".github/workflows/ci.yml")]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py")]
    for page in pages:
        for line in page.read_text().splitlines():
            assert not re.match(r"\W*(uv )?pip install.* ['\"]?opendalfs", line), (page, line)
            assert not re.search(r"pip install .*\bopendalfs\[", line), (page, line)
