"""fsspec's hooks that read and write content, each a few lines over the modules that do it."""

from __future__ import annotations

from typing import Any

from fsspec.asyn import sync
from fsspec.callbacks import DEFAULT_CALLBACK

from opendalfs.errors import UnsupportedError
from opendalfs.listing.info import Info
from opendalfs.runtime.tasks import gather

from .cat import cat, cat_file, cat_ranges, cat_ranges_blocking
from .changes import ChangingFileSystem
from .downloads import download_file, plan_download
from .read_options import check_read_options
from .uploads import upload_bytes, upload_file

__all__ = ["ContentFileSystem"]


class ContentFileSystem(ChangingFileSystem):
    """The part of `OpendalFileSystem` that reads and writes files whole, and ranges of them."""

    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read one or several files whole.

        Parameters
        ----------
        path : str or list of str
            Paths, URLs or patterns.
        recursive : bool
            Whether to read what is below directories. The directories themselves are errors, so pass
            ``on_error="omit"``.
        on_error : {"raise", "return", "omit"}
            Whether an error is raised, takes the place of the content, or leaves the file out.
        batch_size : int, optional
            Largest number of files read at a time.
        **kwargs
            As `cat_file` takes them.

        Returns
        -------
        bytes or dict
            The content of a single path; otherwise a dict of contents by path.

        Raises
        ------
        FileNotFoundError
            If nothing exists at a path, or no pattern matches.
        IsADirectoryError
            For a directory.
        OptionError
            For an unknown option.
        """
        # Before any error of a file, which `on_error` may hide.
        check_read_options(kwargs, "start", "end", "version_id", "many")
        limit = batch_size or self.batch_size
        return await cat(self, path, recursive=recursive, on_error=on_error, limit=limit, **kwargs)

    async def _cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        version_id: str | None = None,
        many: bool = False,
        **kwargs: Any,
    ) -> bytes:
        """Read a file, or one range of it.

        Parameters
        ----------
        path : str
            A path or URL.
        start, end : int, optional
            Start (inclusive) and end (exclusive) in bytes; negative ones count from the end of the file. What
            is past the end of the file is left out.
        version_id : str, optional
            Which version of the file; by default the newest.
        many : bool
            Whether it is one of many small files that are read at the same time.

        Returns
        -------
        bytes

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        IsADirectoryError
            For a directory.
        OptionError
            For an unknown option.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe_file("cat_file/a", b"0123456789")
        >>> fs.cat_file("cat_file/a", start=2, end=-3)
        b'23456'
        """
        check_read_options(kwargs)
        return await cat_file(self, path, start, end, version_id, many)

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        version_id: str | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        check_read_options(kwargs)
        limit = batch_size or self.batch_size
        return await cat_ranges(
            self,
            paths,
            starts,
            ends,
            max_gap=max_gap,
            limit=limit,
            on_error=on_error,
            version_id=version_id,
        )

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        version_id: str | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Read many ranges of many files at the same time; ranges close to each other share a request.

        Reads in threads, without a hop to the event loop.

        Parameters
        ----------
        paths : list of str
            A file for each range; may repeat.
        starts, ends : int, None, or list of these
            Start (inclusive) and end (exclusive) of each range in bytes; negative ones count from the end of
            the file. What is past the end of the file is left out.
        max_gap : int, optional
            Largest gap in bytes between two ranges that one request reads; 256 KiB by default.
        on_error : {"return", "raise"}
            Whether an error takes the place of the bytes of its ranges, or is raised.
        version_id : str, optional
            Which version of the files; by default the newest.

        Returns
        -------
        list of bytes

        Raises
        ------
        OptionError
            For an unknown option.
        OSError
            With ``on_error="raise"``, such as FileNotFoundError.
        ValueError
            If the lists are of different lengths.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe_file("doc/ranges", b"0123456789")
        >>> fs.cat_ranges(["doc/ranges"] * 2, [0, -2], [3, None])
        [b'012', b'89']
        """
        check_read_options(kwargs)
        if version_id is None:
            return cat_ranges_blocking(self, paths, starts, ends, max_gap=max_gap, on_error=on_error)
        options = {"max_gap": max_gap, "on_error": on_error, "version_id": version_id}
        return list(sync(self.loop, self._cat_ranges, paths, starts, ends, **options))

    async def _get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        check_read_options(kwargs, "version_id")
        if isinstance(rpath, list) and isinstance(lpath, list):
            return await super()._get(rpath, lpath, callback=callback, **kwargs)
        version_id = kwargs.get("version_id")
        sources, targets, info = await plan_download(
            self, rpath, lpath, recursive=recursive, maxdepth=maxdepth, version_id=version_id
        )
        if not sources:
            return None
        if info is not None:
            kwargs["info"] = info
        return await super()._get(sources, targets, callback=callback, **kwargs)

    async def _get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Any = DEFAULT_CALLBACK,
        version_id: str | None = None,
        info: Info | None = None,
        **kwargs: Any,
    ) -> None:
        """Download one file.

        Parameters
        ----------
        rpath : str
            A path or URL.
        lpath : str, path object or file-like
            Where the content goes. A local file appears when it is whole; an error leaves the previous one.
        callback : Callback
            fsspec's, for progress.
        version_id : str, optional
            Which version of the file; by default the newest.
        info : dict, optional
            What `info` has returned, which saves a request.

        Raises
        ------
        ChangedError
            If the file changes during the download.
        FileNotFoundError
            If nothing exists at `rpath`.
        OptionError
            For an unknown option.
        """
        check_read_options(kwargs)
        await download_file(self, rpath, lpath, callback, version_id, info)

    # Writing

    async def _pipe(self, path: Any, value: Any = None, batch_size: int | None = None, **kwargs: Any) -> None:
        """Write one or several files.

        Parameters
        ----------
        path : str or dict
            A path or URL, or contents by path.
        value : bytes-like, optional
            Content of a single path.
        batch_size : int, optional
            Largest number of files written at a time.
        **kwargs
            As `pipe_file` takes them.

        Raises
        ------
        OSError
            For the first write that fails.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe({"pipe/a": b"1", "pipe/b": b"2"})
        >>> fs.cat(["pipe/a", "pipe/b"])
        {'pipe/a': b'1', 'pipe/b': b'2'}
        """

        async def write(item: tuple[str, Any]) -> None:
            await self._pipe_file(*item, **kwargs)

        contents = path if isinstance(path, dict) else {path: value}
        # fsspec's own implementation visits all tasks in flight each time one ends.
        await gather(write, contents.items(), batch_size or self.batch_size)

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a file.

        Parameters
        ----------
        path : str
            A path or URL.
        value : bytes-like
            The content.
        mode : {"overwrite", "create"}
            Whether to replace a file that exists, or to raise.
        **kwargs
            ``content_type``, ``content_encoding``, ``content_disposition``, ``cache_control``, ``metadata``
            (a dict of str), ``storage_class``, ``server_side_encryption``, ``kms_key_id``, ``acl``, where the
            service stores them; ``if_match`` (an etag); ``chunksize`` (bytes of a part of an upload),
            ``max_concurrency`` (parts in flight); or the same in the names of s3fs (``ContentType``,
            ``Metadata``, ``StorageClass``, ``SSEKMSKeyId``, ...) and gcsfs (``fixed_key_metadata``).

        Raises
        ------
        FileExistsError
            If the file exists, with ``mode="create"``.
        IsADirectoryError
            For a container.
        OptionError
            For an unknown option, and for one that the service lacks; before anything is sent.
        OSError
            If the write fails. The previous content then stays.
        """
        await upload_bytes(self, path, value, mode, kwargs)

    async def _put_file(
        self,
        lpath: Any,
        rpath: str,
        mode: str = "overwrite",
        callback: Any = DEFAULT_CALLBACK,
        **kwargs: Any,
    ) -> None:
        """Upload one local file; a local directory is created at the target.

        Parameters
        ----------
        lpath : str or path object
            The local file.
        rpath : str
            A path or URL. Its content type is guessed from the name of the local file.
        mode, **kwargs
            As `pipe_file` takes them.
        callback : Callback
            fsspec's, for progress.

        Raises
        ------
        FileNotFoundError
            If there is no local file.
        OSError
            As `pipe_file` raises it.
        """
        await upload_file(self, lpath, rpath, mode, callback, kwargs)

    async def _touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Write an empty file.

        Parameters
        ----------
        path : str
            A path or URL.
        truncate : bool
            Whether to replace a file that exists.

        Raises
        ------
        UnsupportedError
            If the file exists and not `truncate`: services set times by writing only.
        """
        if not truncate and await self._exists(path, refresh=True):
            raise UnsupportedError(
                "cannot set the time of an existing file: services set times only by writing. Write it again"
            )
        await self._pipe_file(path, b"", **kwargs)
