"""Write docs/reference/services.md from the table of services and the options of the opendal wheel.

Run ``python -m tests.docs.generate_reference`` after an update of opendal; `test_reference` compares it.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import opendalfs
from opendalfs.services import SERVICES, Form, Service
from tests.options.generate_option_types import types_of
from tests.options.test_services import EMBEDDED, WORKING

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "services.md"

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    **WORKING,
    **{scheme: {k: v.format(".") for k, v in options.items()} for scheme, options in EMBEDDED.items()},
    "s3": {"region": "eu-central-1"},
    "gcs": {"token": "anon"},
    "gcs-grpc": {"token": "anon"},
    "azblob": {"account_name": "myaccount"},
}
"""Options for the example of each service; the others need none."""

PATHS: Final = {
    Form.CONTAINER: "my-bucket/key",
    Form.HUB: "datasets/owner/name/key",
    Form.ABSOLUTE: "/folder/key",
}

HEAD: Final = """\
# Classes of the services

`tests/docs/generate_reference.py` writes this page, and each block runs as a test.

One class for each service of OpenDAL. `opendalfs.filesystem("s3", ...)`, `opendalfs.S3FileSystem(...)` and
`fsspec.filesystem("opendal+s3", ...)` are the same. Beside its own options each class takes those of
[`Tuning`](opendalfs.md) and of fsspec. [OpenDAL](https://docs.rs/opendal/latest/opendal/services/)
documents what an option of a service means; options that other libraries call differently have both names.

::: opendalfs.ServiceFileSystem
    options:
      heading_level: 2
      members: false
"""


def example(service: Service) -> str:
    """Return the example of a service's class."""
    options = ", ".join(f"{name}={value!r}".replace("'", '"') for name, value in _options(service).items())
    return f"fs = opendalfs.{service.class_name}({options})"


def section(service: Service) -> str:
    """Return the section of a service."""
    summary = (inspect.getdoc(getattr(opendalfs, service.class_name)) or "").partition("\n")[0]
    path = PATHS.get(service.form, "folder/key")
    host = "host/" if service.form is Form.ENDPOINT else ""
    url = f"{service.protocols[0]}://{host}{path}"
    lines = [f"\n## {service.class_name}\n", f"{summary} URLs: `{url}`.\n"]
    lines += ["```python", "import opendalfs\n", example(service), "```\n"]
    others = {new: [k for k, v in service.peers.items() if v == new] for new in service.peers.values()}
    types = {k: v for k, v in types_of(service).items() if k not in service.peers}
    if not types:
        return "\n".join([*lines, "It has no options of its own.", ""])
    lines += ["| option | type | other names |", "|---|---|---|"]
    for name, kind in types.items():
        names = " ".join(f"`{other}`" for other in others.get(name, ()))
        kinds = " or ".join(f"`{part}`" for part in kind.removesuffix(" | None").split(" | "))
        lines.append(f"| `{name}` | {kinds} | {names} |")
    return "\n".join([*lines, ""])


def page() -> str:
    """Return the page."""
    return HEAD + "".join(map(section, SERVICES.values()))


def _options(service: Service) -> dict[str, Any]:
    return OPTIONS.get(service.scheme, {})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
