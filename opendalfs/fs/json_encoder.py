"""The JSON form of a filesystem's options."""

from __future__ import annotations

from typing import Any

from fsspec.json import FilesystemJSONEncoder

__all__ = ["OptionsEncoder"]


class OptionsEncoder(FilesystemJSONEncoder):
    """fsspec's encoder, which raises for None: an option that is not given, or has no limit."""

    def default(self, o: Any) -> Any:
        """Return None as it is."""
        return None if o is None else super().default(o)
