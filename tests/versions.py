"""Which versions of other packages the tests run with."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.version import Version


def before(package: str, lowest: str) -> bool:
    """Whether the tests run with an older version of a package."""
    return Version(version(package)) < Version(lowest)


def since(package: str, lowest: str, reason: str) -> pytest.MarkDecorator:
    """Skip a test with older versions of a package, for a reason that docs/versions.md has."""
    return pytest.mark.skipif(before(package, lowest), reason=f"{package}: {reason}")
