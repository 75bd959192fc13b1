"""The files for releases and for GitHub agree with pyproject.toml, and the workflows have few rights."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import hatchling.build
import pytest
import yaml
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.version import Version

from tests.release import problems

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
with (ROOT / "pyproject.toml").open("rb") as _file:
    PROJECT = tomllib.load(_file)["project"]
URLS = PROJECT["urls"]
OWNER, NAME = URLS["Repository"].split("/")[-2:]


def load(path: str | Path) -> Any:
    """Return the content of a YAML file. `on:` of a workflow is the key True."""
    return yaml.safe_load((ROOT / path).read_text())


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    """Return file, name and content of each job."""
    return [(path.name, name, job) for path in WORKFLOWS for name, job in load(path)["jobs"].items()]


# Addresses and versions


def test_all_files_name_the_same_repository_and_site() -> None:
    files = ["pyproject.toml", "mkdocs.yml", "CITATION.cff", *(path.name for path in ROOT.glob("*.md"))]
    paths = [ROOT / name for name in files]
    for folder in (".github", "conda", "docs", "examples", "opendalfs", "integrations"):
        found = (ROOT / folder).rglob("*")
        paths += [path for path in found if path.suffix in (".md", ".py", ".yml", ".yaml")]
    text = "\n".join(path.read_text() for path in paths)
    before = r"https://github\.com/|https://raw\.githubusercontent\.com/|--repo "
    on_github = re.findall(rf"(?:{before})([\w-]+/{NAME})\b", text)
    sites = re.findall(rf"https://([\w-]+\.github\.io/{NAME})/", text)
    assert len(on_github) > 8
    assert {*on_github} == {f"{OWNER}/{NAME}"}
    assert {f"https://{site}/" for site in sites} == {URLS["Documentation"]}
    assert all(address.startswith((URLS["Repository"], URLS["Documentation"])) for address in URLS.values())
    assert load("mkdocs.yml")["site_url"] == URLS["Documentation"]
    assert re.findall(r"@([\w-]+)/", (ROOT / ".github/CODEOWNERS").read_text()) == [OWNER]


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metadata:
    """The metadata of a wheel of this tree, with the page for PyPI."""
    monkeypatch.chdir(ROOT)
    folder = hatchling.build.prepare_metadata_for_build_wheel(str(tmp_path))
    return Metadata.from_email((tmp_path / folder / "METADATA").read_bytes(), validate=True)


def test_links_and_images_of_the_readme_lead_to_the_release_on_pypi(metadata: Metadata) -> None:
    assert metadata.project_urls == URLS
    assert metadata.description is not None
    tag = f"v{metadata.version}"
    blob, raw = (
        f"{URLS['Repository']}/blob/{tag}/",
        f"https://raw.githubusercontent.com/{OWNER}/{NAME}/{tag}/",
    )

    # Code is the same as in the repository, and the rest but for the links.
    text, readme = metadata.description, (ROOT / "README.md").read_text()
    code = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert code.findall(text) == code.findall(readme)
    assert text.replace(f"]({blob}", "](").replace(f"]({raw}", "](") == readme
    links = re.findall(r"(!?)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)", code.sub("", text))
    assert len(links) > 30
    assert [link for image, link in links if image] == [f"{raw}benchmarks/results/overview.svg"]
    for image, link in links:
        assert link.startswith("https://")
        if image or link.startswith(URLS["Repository"]):
            assert (ROOT / link.removeprefix(raw if image else blob).partition("#")[0]).exists()


def test_the_citation_agrees_with_the_metadata() -> None:
    citation = load("CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["title"] == PROJECT["name"]
    assert citation["abstract"] == PROJECT["description"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert (citation["repository-code"], citation["url"]) == (URLS["Repository"], URLS["Documentation"])


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    first = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    version = Version(PROJECT["version"])
    if version.is_devrelease:
        assert first[1] in ("[Unreleased]", f"[{version.base_version}] - Unreleased")
    else:
        assert re.fullmatch(rf"\[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d", first[1])


def test_the_conda_recipe_agrees_with_the_metadata() -> None:
    recipe = load("conda/recipe.yaml")
    context, needs = recipe["context"], recipe["requirements"]
    assert context["version"] == Version(PROJECT["version"]).base_version
    assert f">={context['python_min']}" == PROJECT["requires-python"]
    assert recipe["package"]["name"] == PROJECT["name"]
    assert recipe["source"]["url"].startswith(f"{URLS['Repository']}/releases/download/v${{{{ version }}}}/")
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in PROJECT["scripts"].items()
    ]
    about = recipe["about"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], PROJECT["license"])

    with (ROOT / "pyproject.toml").open("rb") as file:
        building = tomllib.load(file)["build-system"]["requires"]
    assert conda(needs["host"]) == versions(building) | {"python": "${{ python_min }}.*", "pip": ""}
    python = {"python": ">=${{ python_min }}"}
    assert conda(needs["run"]) == versions(PROJECT["dependencies"]) | python
    for_users = ("arrow", "cli", "duckdb", "iceberg", "polars", "serve", "upath")
    extras = [need for extra in for_users for need in PROJECT["optional-dependencies"][extra]]
    assert conda(needs["run_constraints"]) == versions(extras)


def versions(needs: list[str]) -> dict[str, str]:
    """Return the ranges of requirements as in pyproject.toml."""
    return {need.name: ",".join(sorted(map(str, need.specifier))) for need in map(Requirement, needs)}


def conda(needs: list[str]) -> dict[str, str]:
    """Return the ranges of requirements of a recipe, by their names on PyPI."""
    names = {"python-duckdb": "duckdb", "universal_pathlib": "universal-pathlib"}
    parts = [need.partition(" ") for need in needs]
    return {names.get(name, name): ",".join(sorted(spec.split(","))) for name, _, spec in parts}


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A folder with the files that `problems` reads, as they are in a commit that can be released."""
    for name in ("pyproject.toml", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    change(tmp_path / "pyproject.toml", rf'version = "{PROJECT["version"]}"', 'version = "7.0.0"')
    change(tmp_path / "CHANGELOG.md", r"^## .*", "## [7.0.0] - 2001-02-03")
    change(tmp_path / "CITATION.cff", r"^version: .*", "version: 7.0.0\ndate-released: 2001-02-03")
    return tmp_path


def change(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count
    path.write_text(text)


def test_a_tag_that_agrees_with_all_files_can_be_released(released: Path) -> None:
    assert problems(released, "v7.0.0", f"{OWNER}/{NAME}", "") == []
    assert problems(released, "v7.0.0", f"{OWNER}/{NAME}", "opendalfs") == []


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "problem"),
    [
        ("pyproject.toml", r"7\.0\.0", "7.0.0.dev0", "7.0.0.dev0 is not the version of a release"),
        ("pyproject.toml", r"7\.0\.0", "7.0.1", "the tag is v7.0.0, but .* has the version 7.0.1"),
        ("pyproject.toml", rf"github\.com/{OWNER}/", "github.com/fork/", "but this is"),
        ("CHANGELOG.md", "2001-02-03", "Unreleased", r"no line '## \[7.0.0\] - YYYY-MM-DD'"),
        ("CITATION.cff", "2001-02-03", "2001-02-02", "no line 'date-released: 2001-02-03'"),
    ],
)
def test_a_tag_that_disagrees_with_a_file_cannot_be_released(
    released: Path, file: str, pattern: str, replacement: str, problem: str
) -> None:
    change(released / file, pattern, replacement)
    found = problems(released, "v7.0.0", f"{OWNER}/{NAME}", "")
    assert re.search(problem, "\n".join(found))


def test_a_name_on_pypi_that_is_not_that_of_the_project_cannot_be_released(released: Path) -> None:
    [problem] = problems(released, "v7.0.0", f"{OWNER}/{NAME}", "opendal-fs")
    assert problem == "the variable PYPI_PROJECT is opendal-fs, but pyproject.toml has the name opendalfs"


# Workflows


def test_each_action_is_pinned_by_its_commit_with_its_version_beside_it() -> None:
    uses = [line for path in WORKFLOWS for line in re.findall(r"uses: (.*)", path.read_text())]
    actions = [line for line in uses if not line.startswith("./")]
    assert len(actions) > 20
    pinned = [re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line) for line in actions]
    assert [line for line, match in zip(actions, pinned, strict=True) if match is None] == []
    # One version of each action, and one commit of each version.
    found = {match.groups() for match in pinned if match}
    assert len(found) == len({name for name, _, _ in found})


def test_jobs_have_the_rights_that_they_need_and_no_secret() -> None:
    for path in WORKFLOWS:
        assert load(path)["permissions"] in ({}, {"contents": "read"})
        assert "secrets." not in path.read_text()
    rights = {(file, name): job["permissions"] for file, name, job in jobs() if "permissions" in job}
    assert rights == {
        ("pages.yml", "deploy"): {"pages": "write", "id-token": "write"},
        ("release.yml", "check"): {"contents": "read"},
        ("release.yml", "ci"): {"contents": "read"},
        ("release.yml", "attest"): {"attestations": "write", "id-token": "write"},
        ("release.yml", "pypi"): {"id-token": "write"},
        ("release.yml", "github"): {"contents": "write"},
    }


def test_no_checkout_keeps_the_token() -> None:
    steps = [step for _, _, job in jobs() for step in job.get("steps", [])]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) > 8
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_release_is_of_what_ci_has_built_and_tested() -> None:
    release = load(".github/workflows/release.yml")["jobs"]
    needs = {name: job.get("needs") for name, job in release.items()}
    assert needs == {
        "check": None,
        "ci": "check",
        "attest": "ci",
        "pypi": "attest",
        "github": ["attest", "pypi"],
    }
    build = load(".github/workflows/ci.yml")["jobs"]["build"]
    [upload] = [step for step in build["steps"] if "upload-artifact@" in step.get("uses", "")]
    for name in ("attest", "pypi", "github"):
        download, *others = release[name]["steps"]
        assert download["with"] == upload["with"]
        assert not [step for step in others if "checkout@" in step.get("uses", "")]


def test_a_release_is_published_on_pypi_only_under_a_name_that_is_set() -> None:
    pypi = load(".github/workflows/release.yml")["jobs"]["pypi"]
    assert pypi["if"] == "vars.PYPI_PROJECT != ''"
    assert pypi["environment"] == "pypi"


def test_nothing_is_on_github_that_was_to_be_on_pypi_too_and_is_not() -> None:
    """A job that reaches its time limit is cancelled, and has not failed."""
    github = load(".github/workflows/release.yml")["jobs"]["github"]
    assert "(needs.pypi.result == 'success' || needs.pypi.result == 'skipped')" in github["if"]


def test_the_notice_of_a_release_that_is_not_on_pypi_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests import release

    monkeypatch.setattr(release, "problems", lambda *arguments: [])
    assert release.main("v7.0.0", f"{OWNER}/{NAME}", "") == 0
    assert "PYPI_PROJECT is not set: CONTRIBUTING.md says when to set it" in capsys.readouterr().out
    assert "`PYPI_PROJECT`" in (ROOT / "CONTRIBUTING.md").read_text()


# Other files for GitHub


def test_hooks_of_pre_commit_run_the_ruff_of_the_project() -> None:
    repositories = {entry["repo"]: entry for entry in load(".pre-commit-config.yaml")["repos"]}
    ruff = repositories["https://github.com/astral-sh/ruff-pre-commit"]
    assert f"ruff=={ruff['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize("form", ["bug_report", "feature_request"])
def test_issue_forms_are_valid(form: str) -> None:
    content = load(f".github/ISSUE_TEMPLATE/{form}.yml")
    assert content.keys() == {"name", "description", "labels", "body"}
    identifiers = [field["id"] for field in content["body"]]
    assert len(identifiers) == len({*identifiers})
    for field in content["body"]:
        assert field["type"] in ("input", "textarea")
        assert field["attributes"]["label"]
        assert field.keys() <= {"type", "id", "attributes", "validations"}
