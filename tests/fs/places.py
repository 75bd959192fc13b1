"""A folder on each kind of service for tests of files."""

from __future__ import annotations

from opendalfs import OpendalFileSystem

MiB = 1 << 20


class Boom(Exception):
    """Raised by the tests."""


class Place:
    """A filesystem and a folder on it that nobody else uses."""

    def __init__(self, fs: OpendalFileSystem, folder: str) -> None:
        self.fs = fs
        self.folder = folder

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def there(self) -> list[str]:
        """Names of the files in the folder; hidden ones, of writes under way, included."""
        found = self.fs.find(self.folder) if self.fs.exists(self.folder) else []
        return [name.rpartition("/")[2] for name in found]
