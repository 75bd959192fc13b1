"""Check that a tag may be released: `python -m tests.release TAG OWNER/REPOSITORY [NAME_ON_PYPI]`.

The release workflow runs this first, with nothing installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(root: Path, tag: str, repository: str, name_on_pypi: str) -> list[str]:
    """Return what has to be changed before the files below `root` can be released as `tag`."""
    with (root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    name, version, address = project["name"], project["version"], project["urls"]["Repository"]
    found = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        found.append(f"pyproject.toml: {version} is not the version of a release, such as 0.1.0")
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, but pyproject.toml has the version {version}")
    if address != f"https://github.com/{repository}":
        found.append(f"pyproject.toml: the repository is {address}, but this is {repository}")
    if name_on_pypi not in ("", name):
        found.append(f"the variable PYPI_PROJECT is {name_on_pypi}, but pyproject.toml has the name {name}")
    heading = rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$"
    released = re.search(heading, (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if not released:
        found.append(f"CHANGELOG.md: no line '## [{version}] - YYYY-MM-DD'")
    elif f"\ndate-released: {released[1]}\n" not in (root / "CITATION.cff").read_text():
        found.append(f"CITATION.cff: no line 'date-released: {released[1]}'")
    return found


def main(tag: str, repository: str, name_on_pypi: str = "") -> int:
    """Print the problems as errors of a workflow, and return the exit code."""
    found = problems(ROOT, tag, repository, name_on_pypi)
    for problem in found:
        print(f"::error::{problem}")
    if not found and not name_on_pypi:
        print(
            "::notice::Not published on PyPI, because the variable PYPI_PROJECT is not set: "
            "CONTRIBUTING.md says when to set it"
        )
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
