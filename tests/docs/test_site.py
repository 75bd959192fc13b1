"""The site of the documentation: links. `make docs` builds it, within `make check`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    monkeypatch.delitem(sys.modules, "hooks", raising=False)
    import hooks

    return hooks


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[a](docs/serve.md#safety)", "[a](serve.md#safety)"),
        ("index.md", "![a](benchmarks/results/raw.svg)", "![a](plots/raw.svg)"),
        ("measured.md", "![a](results/raw.svg)", "![a](plots/raw.svg)"),
        ("index.md", "see [docs/tracing.md](docs/tracing.md)", "see [Tracing](tracing.md)"),
        ("clouds/aws.md", "[a](../../README.md)", "[a](../index.md)"),
        ("clouds/aws.md", "[a](../serve.md), [b](azure.md)", "[a](../serve.md), [b](azure.md)"),
        ("beyond_one_machine.md", "[a](../examples/ray_scan.py)", "[a](examples/ray_scan.md)"),
        ("index.md", "[the license](LICENSE)", "the license (`LICENSE`)"),
        (
            "index.md",
            "[a](https://x.test/x.md), [b](#here)",
            "[a](https://x.test/x.md), [b](#here)",
        ),
        ("index.md", "```\n[a](docs/serve.md)\n```", "```\n[a](docs/serve.md)\n```"),
    ],
)
def test_links_to_files_of_the_repository_lead_to_pages_of_the_site(
    hooks: ModuleType, page: str, text: str, expected: str
) -> None:
    assert hooks.site_links(text, page) == expected
