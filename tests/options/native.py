"""Options in OpenDAL's names."""

from __future__ import annotations

from typing import Any

from opendalfs.options import check
from opendalfs.services import lookup


def native(scheme: str, **options: Any) -> dict[str, str]:
    return check(lookup(scheme), options, container=False)[0]
