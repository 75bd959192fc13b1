"""Writes `opendalfs/option_types` from the table of services and the configurations of the opendal wheel.

Run ``python -m tools.generate_option_types`` after an update of opendal; a test compares the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opendalfs.peer_options import class_options
from opendalfs.services import SERVICES, Form, Service

FOLDER: Final = Path(__file__).resolve().parent.parent / "opendalfs" / "option_types"

TYPES: Final = {"dict[str, str]": "Mapping[str, str]", "path": "str | os.PathLike[str]"}
"""The Python types of `Service.options`, where they are spelled differently."""

MODULES: Final = {
    "object_stores": "Options of the services with buckets, containers or repositories",
    "other_services": "Options of all other services",
}

HEADER: Final = '''"""{title}; generated: see tools/."""

from __future__ import annotations

{imports}

from .common import CommonOptions

__all__ = [
{names}
]
'''


def types_of(service: Service) -> dict[str, str]:
    """Return the options that the service's class takes, and their types."""
    found = {name: TYPES.get(kind, kind) for name, kind in class_options(service).items()}
    found = {peer: found[name] for peer, name in service.peers.items()} | found
    return {name: f"{kind} | None" for name, kind in sorted(found.items())}


def name_of(service: Service) -> str:
    """Return the name of the TypedDict of a service."""
    return service.class_name.removesuffix("FileSystem") + "Options"


def class_of(service: Service) -> str:
    """Return the source of the TypedDict of a service."""
    lines = [
        f"\n\nclass {name_of(service)}(CommonOptions, total=False):",
        f'    """Options of `opendalfs.{service.class_name}`."""',
        "",
        *(f"    {name}: {kind}" for name, kind in types_of(service).items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def sources() -> dict[Path, str]:
    """Return the source of each generated file."""
    stores = [s for s in SERVICES.values() if s.form in (Form.CONTAINER, Form.HUB)]
    others = [s for s in SERVICES.values() if s not in stores]
    found = {}
    for (module, title), services in zip(MODULES.items(), (stores, others), strict=True):
        body = "".join(class_of(service) for service in services)
        imports = ["import os"] if "os." in body else []
        imports += ["from collections.abc import Mapping"] if "Mapping[" in body else []
        imports += ["from typing import Any"] if "Any]" in body else []
        names = "\n".join(f'    "{name}",' for name in sorted(map(name_of, services)))
        header = HEADER.format(title=title, imports="\n".join(imports), names=names)
        found[FOLDER / f"{module}.py"] = header + body
    return found


if __name__ == "__main__":
    for path, text in sources().items():
        path.write_text(text, encoding="utf-8")
