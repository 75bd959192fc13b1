"""The base of the filesystem classes: options, identity, paths, and the invalidation of caches."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar, Final, Protocol

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.utils import stringify_path

from opendalfs import urls
from opendalfs.credential_providers import CredentialProvider
from opendalfs.credentials import with_credentials
from opendalfs.errors import OptionError, UnsupportedError, redact
from opendalfs.listing.cache import Listings
from opendalfs.listing.info import Info
from opendalfs.options import check, is_secret, redact_option, shown_options, without_secrets
from opendalfs.read import recorded
from opendalfs.read.cache import records
from opendalfs.read.version_cache import LISTED
from opendalfs.runtime import process
from opendalfs.services import Form, Locality, Service, lookup
from opendalfs.storage.connection import Connection
from opendalfs.storage.operators import connect
from opendalfs.storage.version import Version, detects_change

from .json_encoder import OptionsEncoder

__all__ = ["BaseFileSystem", "ChangeListener", "must_refresh", "parent_directory"]

_listeners_lock: Final = threading.Lock()


class ChangeListener(Protocol):
    """Protocol for caches that must be invalidated when files change."""

    def changed(self, fs: Any, path: str | None) -> None:
        """Invalidate what is cached of a stripped path and all below it; of all paths when None."""


class _InstanceCache(type(AsyncFileSystem)):  # type: ignore[misc]  # fsspec has no types
    """fsspec's metaclass, which caches instances by the texts of their options.

    Two sessions of boto3 may have the same text. Hugging Face's `datasets` adds a dict ``hf`` to options.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if isinstance(options.get("hf"), dict):
            del options["hf"]
        provider = options.get("credential_provider")
        if provider is not None:
            options["credential_provider"] = CredentialProvider.of(provider)
        return super().__call__(*args, **options)


class BaseFileSystem(AsyncFileSystem, metaclass=_InstanceCache):
    """The part of `OpendalFileSystem` that needs no request: options, paths and caches."""

    protocol: ClassVar[str | tuple[str, ...]] = "opendal"
    root_marker = ""
    # `add_blocking_methods` makes them, once a class rather than for each instance.
    mirror_sync_methods = False
    service: Service
    # Whether the options name the container, so that paths are relative to it.
    _relative_paths = True
    _pid: int

    def __init__(
        self,
        scheme: str = "",
        *,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        use_listings_cache: bool | None = None,
        listings_expiry_time: float | None = LISTED.seconds,
        max_paths: int | None = None,
        credential_provider: Any = None,
        **options: Any,
    ) -> None:
        self.service = lookup(scheme)
        native, self.tuning = check(self.service, options, container=self._relative_paths)
        self.native, self.provider = with_credentials(self.service, native, credential_provider)
        if self._relative_paths:
            self._check_container(scheme)
        super().__init__(
            asynchronous=asynchronous,
            loop=loop,
            batch_size=batch_size or self.tuning.concurrency,
        )
        if use_listings_cache is None:
            # Local services answer at once, and other programs change them.
            use_listings_cache = self.service.locality is Locality.REMOTE
        self.dircache = Listings(use_listings_cache, listings_expiry_time, max_paths)
        self._listeners: tuple[weakref.ref[ChangeListener], ...] = ()
        if self._relative_paths:
            # Raises for bad options now rather than at the first read.
            self.locate("")

    def _check_container(self, scheme: str) -> None:
        name = self.service.container
        if name and name not in self.native:
            raise OptionError(
                f"OpendalFileSystem({scheme!r}) needs {name}=; with "
                f"{self.service.class_name} the {name} is the first part of each path"
            )

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that runs the coroutines.

        Raises
        ------
        RuntimeError
            In a forked child of a process that had used storage.
        """
        if self._pid != os.getpid():
            process.check_fork()
            self._pid = os.getpid()
            self._loop = get_loop()
        loop: asyncio.AbstractEventLoop | None = self._loop
        return loop

    @property
    def fsid(self) -> str:
        """Service, endpoint and root: equal for filesystems that see the same files."""
        parts = [self.service.scheme]
        parts += [f"{k}={redact_option(k, v)}" for k, v in sorted(self.native.items()) if not is_secret(k)]
        return ";".join(parts)

    @property
    def endpoint(self) -> str | None:
        """URL of the server that the options name; None for the service's default."""
        return self.native.get(self.service.endpoint)

    def __repr__(self) -> str:
        """Return the service and its options, without secrets."""
        shown = [repr(self.service.scheme)] if self._relative_paths else []
        shown += [f"{name}={text}" for name, text in shown_options(self.native).items()]
        if self.provider is not None:
            shown.append(f"credential_provider={self.provider.name}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Return a dictionary from which ``from_dict`` makes the same filesystem.

        Parameters
        ----------
        include_password : bool
            Whether to include passwords, keys, tokens and the names that go with them.

        Returns
        -------
        dict

        Raises
        ------
        OptionError
            With passwords, if the filesystem has a ``credential_provider``: JSON holds no functions.
        """
        options = dict(self.storage_options)
        if include_password and self.storage_options.get("credential_provider") is not None:
            raise OptionError(
                f"JSON cannot hold the credential_provider {self.provider}: pass include_password=False, "
                "and the provider where the filesystem is made again"
            )
        if not include_password:
            options = without_secrets(self.service, options, container=self._relative_paths)
        cls, encoder = type(self), OptionsEncoder()
        return {
            "cls": f"{cls.__module__}:{cls.__name__}",
            "protocol": self.protocol if isinstance(self.protocol, str) else self.protocol[0],
            "args": encoder.make_serializable(self.storage_args),
            **encoder.make_serializable(options),
        }

    # Paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        text = stringify_path(path)
        for mark in ("opendal://", "opendal::"):
            text = text.removeprefix(mark)
        return text if "://" in text else text.strip("/")

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL of a path; with the same options, the URL leads to the same file."""
        container, key = self._split_path(self._strip_protocol(name))
        path = urls.join(self.service, self._container or container, (self._root + key).rstrip("/"))
        return urls.unstrip(self.service, path, self.endpoint)

    @property
    def _container(self) -> str:
        if self.service.form is Form.ABSOLUTE:
            return "/"
        return self.native.get(self.service.container or "", "")

    @property
    def _root(self) -> str:
        """The root as a prefix of keys, with a trailing slash; empty for none."""
        root = self.native.get("root", "").strip("/")
        return f"{root}/" if root else ""

    def _split_path(self, path: str) -> tuple[str, str]:
        """Split a stripped path into container and key; the container is empty when the options name it."""
        if "://" not in path:
            return "", path
        found = urls.service_of(path)
        if found is not self.service:
            raise ValueError(f"{redact(path)!r} is not a path of {self!r}")
        container, key = urls.split(self.service, urls.strip(self.service, path))
        root = self._root
        if container != self._container or not f"{key}/".startswith(root):
            raise ValueError(
                f"{redact(path)!r} is not within {self!r}: use "
                f"opendalfs.filesystem({self.service.scheme!r}), which serves all of the service"
            )
        return "", key[len(root) :]

    def check_server(self, url: str) -> None:
        """Raise for a URL that names another server than the options of this filesystem.

        Parameters
        ----------
        url : str
            A URL, or a path, which names no server.

        Raises
        ------
        ValueError
            If the servers differ.
        """
        if not urls.serves(self.service, self.endpoint, url):
            raise ValueError(
                f"{redact(url)!r} is on another server than {self!r}: make a filesystem for that server"
            )

    def locate(self, path: str) -> tuple[Connection, str]:
        """Return the connection and the key of a path, as `Reader` and `Writer` take them.

        Parameters
        ----------
        path : str
            A path or URL of this filesystem. Whether it exists is not looked up.

        Returns
        -------
        Connection
        str
            The key, without outer slashes; empty for the root of a container.

        Raises
        ------
        ValueError
            For a path that OpenDAL would change, such as one with ``..`` in it; for a URL of another server.
        UnsupportedError
            For a URL with a query.
        """
        self.check_server(path)
        container, key = self._split_path(self._strip_protocol(path))
        urls.check_key(key, path)
        if "?" in key and self.service.queries:
            raise UnsupportedError(
                f"cannot use the query of {redact(path.partition('?')[0])!r}: open the https:// URL with "
                "fsspec's own filesystem\nOpenDAL does not send the query of a URL, so pre-signed URLs fail."
            )
        connection = connect(self.service, self.native, self.tuning, container, self.provider)
        if not connection.can("list_with_recursive"):
            urls.check_directories(key, path)
        return connection, key

    def locate_for_writing(self, path: str) -> tuple[Connection, str]:
        """Return the connection and the key of a path, which a file can be written to.

        Parameters
        ----------
        path : str
            A path or URL of this filesystem. Whether it exists is not looked up.

        Returns
        -------
        Connection
        str

        Raises
        ------
        IsADirectoryError
            For the root of a container.
        UnsupportedError
            If the service cannot write.
        """
        connection, key = self.locate(path)
        connection.require("write", "write")
        if not key:
            raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
        return connection, key

    # Caches

    def cached_info(self, path: str) -> Info | None:
        """Return the info of a path from the cached listing of its directory, without a request.

        Parameters
        ----------
        path : str
            A stripped path.

        Returns
        -------
        dict or None
            None when no listing is cached that shows the path.
        """
        return self.dircache.lookup(parent_directory(self, path), path)

    def cached_version(self, path: str) -> Version | None:
        """Return the version of a file from a cached listing; None unless a read can be pinned to it.

        Parameters
        ----------
        path : str
            A path or URL.

        Returns
        -------
        Version or None
        """
        info = self.cached_info(self._strip_protocol(path))
        if info is None or info["type"] != "file":
            return None
        version = Version.from_info(info)
        return version if detects_change(self.locate(path)[0], version) else None

    def invalidate_cache(self, path: str | None = None) -> None:
        """Invalidate cached listings, and what adapters have cached of the same paths.

        Parameters
        ----------
        path : str, optional
            Invalidate the listings that show this path, and those of it and all below it; by default all.
        """
        if path is None:
            self.dircache.clear()
            records.forget_all()
        else:
            path = self._strip_protocol(path)
            self.dircache.invalidate(path, *self._parents(path))
            self.dircache.invalidate_below(path)
            if self.tuning.cache_dir is not None:
                with suppress(ValueError, UnsupportedError):
                    recorded.forget(self.locate(path)[0])
        super().invalidate_cache(path)
        for reference in self._listeners:
            listener = reference()
            if listener is not None:
                listener.changed(self, path)

    def _parents(self, path: str) -> Iterator[str]:
        while path not in ("", self.root_marker):
            path = parent_directory(self, path)
            yield path

    def add_change_listener(self, listener: ChangeListener) -> None:
        """Call ``listener.changed`` after each change that is made through this filesystem.

        Parameters
        ----------
        listener : ChangeListener
            Held by a weak reference only. Adding one twice has no effect.
        """
        with _listeners_lock:
            alive = tuple(ref for ref in self._listeners if ref() is not None)
            if all(ref() is not listener for ref in alive):
                alive += (weakref.ref(listener),)
            self._listeners = alive


def parent_directory(fs: BaseFileSystem, path: str) -> str:
    """Return the directory that holds a stripped path; the root for the root itself."""
    return path.rpartition("/")[0] or str(fs.root_marker)


def must_refresh(fs: BaseFileSystem, path: str) -> bool:
    """Whether the cached info of a path is not enough to read or remove its file.

    Of a file whose reads cannot be pinned to a version, the listed size would cut a newer, longer one short,
    and nothing would show it. A directory may be a file by now.
    """
    info = fs.cached_info(fs._strip_protocol(path))
    if info is None:
        return False
    return info["type"] != "file" or not detects_change(fs.locate(path)[0], Version.from_info(info))
