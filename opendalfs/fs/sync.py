"""Blocking methods for the coroutines of a filesystem, as fsspec makes them, but for four things.

They are made once a class: fsspec makes them for each instance, which then holds itself in a circle. They
call what the instance's class overrides. And a timeout keeps its words: fsspec's own bridge to the event
loop puts an empty FSTimeoutError in the place of every TimeoutError. Ctrl-C cancels the coroutine.
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

__all__ = ["mirrored"]

C = TypeVar("C", bound=type)

_OURS: Final = {"_object_version_info", "_url"}
"""What s3fs has besides."""


def mirrored(cls: C) -> C:
    """Give a filesystem class a blocking method for each coroutine that fsspec or s3fs has one for.

    Parameters
    ----------
    cls : type
        A subclass of `fsspec.asyn.AsyncFileSystem`; blocking methods of its own stay.

    Returns
    -------
    type
        The class.
    """
    for name in {*async_methods, *dir(AsyncFileSystem), *dir(cls)}:
        public = name.removeprefix("_")
        default = getattr(AbstractFileSystem, public, None)
        if public == name or name.startswith("__") or getattr(cls, public, None) is not default:
            continue
        method = getattr(cls, name, None)
        if inspect.isasyncgenfunction(method):
            setattr(cls, public, _iterating(name, default or method))
        elif inspect.iscoroutinefunction(method) and (default or name in async_methods or name in _OURS):
            setattr(cls, public, _blocking(name, default or method))
    return cls


def _blocking(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(like)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _wait(self, getattr(self, name), *args, **kwargs)

    return method


def _iterating(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(like)
    def method(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        items = getattr(self, name)(*args, **kwargs)
        while True:
            try:
                yield _wait(self, items.__anext__)
            except StopAsyncIteration:
                return

    return method


def _wait(fs: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    task: asyncio.Task[Any] | None = None
    left = False

    async def call() -> Any:
        nonlocal task
        task = asyncio.current_task()
        if left:
            raise asyncio.CancelledError
        try:
            return await function(*args, **kwargs)
        except asyncio.CancelledError as exc:
            # fsspec would return None, and the caller of a write would take it for done.
            raise RuntimeError(f"{function.__name__} was cancelled: the interpreter exits") from exc

    try:
        return sync(fs.loop, call)
    except FSTimeoutError as exc:
        told = exc.__cause__
        if not isinstance(told, TimeoutError):
            raise
        raise told from told.__cause__
    except BaseException:
        # Ctrl-C, or what a signal handler raises. fsspec lets the coroutine go on, and might still publish.
        left = True
        if task is not None and not task.done():
            fs.loop.call_soon_threadsafe(task.cancel)
        raise
