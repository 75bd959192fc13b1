"""Blocking methods for the coroutines of a filesystem class.

fsspec makes them too, but for each instance, so that each instance refers to itself and lives until the
garbage collector runs. These are made once for each class, and differ in three more things: they call the
coroutine that a subclass overrides, they raise the original `TimeoutError` where fsspec raises an
FSTimeoutError without a message, and Ctrl-C cancels the coroutine.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem, async_methods, sync
from fsspec.exceptions import FSTimeoutError

from opendalfs.runtime import process

__all__ = ["add_blocking_methods"]

C = TypeVar("C", bound=type)

_BEYOND_FSSPEC: Final = {"_clear_multipart_uploads", "_clear_uploads", "_object_version_info", "_url"}
"""Coroutines beyond those of fsspec, most of them of s3fs."""


def add_blocking_methods(cls: C) -> C:
    """Add a blocking method to a filesystem class for each coroutine that has one in fsspec or above.

    The coroutine ``_info`` gets the method ``info``, with the signature and the docstring of the coroutine if
    it has one, else with those of fsspec.

    Parameters
    ----------
    cls : type
        A subclass of `fsspec.asyn.AsyncFileSystem`. A blocking method of its own is kept.

    Returns
    -------
    type
        The same class.
    """
    for name in {*async_methods, *dir(AsyncFileSystem), *dir(cls)}:
        public = name.removeprefix("_")
        default = getattr(AbstractFileSystem, public, None)
        if public == name or name.startswith("__") or getattr(cls, public, None) is not default:
            continue
        method = getattr(cls, name, None)
        if inspect.isasyncgenfunction(method):
            setattr(cls, public, _iterator(name, _documented(method, default)))
        elif inspect.iscoroutinefunction(method) and (
            default or name in async_methods or name in _BEYOND_FSSPEC
        ):
            setattr(cls, public, _blocking(name, _documented(method, default)))
    return cls


def _documented(method: Callable[..., Any], default: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return the function whose signature and docstring a blocking method gets."""
    ours = method.__module__.partition(".")[0] == __name__.partition(".")[0]
    return method if default is None or (ours and method.__doc__) else default


def _blocking(name: str, documented: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(documented)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _wait(self, getattr(self, name), *args, **kwargs)

    return _named(method, name)


def _iterator(name: str, documented: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(documented)
    def method(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        items = getattr(self, name)(*args, **kwargs)
        while True:
            try:
                yield _wait(self, items.__anext__)
            except StopAsyncIteration:
                return

    return _named(method, name)


def _named(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Name a method after the coroutine that it calls, without the underscore."""
    path, dot, _ = method.__qualname__.rpartition(".")
    method.__name__ = name.removeprefix("_")
    method.__qualname__ = f"{path}{dot}{method.__name__}"
    return method


def _wait(fs: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a coroutine function on the event loop of a filesystem and return its result."""
    task: asyncio.Task[Any] | None = None
    interrupted = False

    async def call() -> Any:
        nonlocal task
        task = asyncio.current_task()
        if interrupted:
            raise asyncio.CancelledError
        try:
            return await function(*args, **kwargs)
        except asyncio.CancelledError as exc:
            # fsspec would return None, and the caller of a write would take it for a success.
            raise RuntimeError(
                f"{function.__name__} was cancelled, because the interpreter is exiting"
            ) from exc

    try:
        return sync(fs.loop, call)
    except FSTimeoutError as exc:
        original = exc.__cause__
        if not isinstance(original, TimeoutError):
            raise
        raise original from original.__cause__
    except BaseException:
        # Ctrl-C, or what a signal handler raises. The coroutine would go on, and might publish a write.
        interrupted = True
        if task is not None and not task.done():
            fs.loop.call_soon_threadsafe(task.cancel)
            process.cancelled(task)
        raise
