"""Changes: create directories, and remove, copy and move files and trees."""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK

from opendalfs.errors import OptionError, redact
from opendalfs.runtime.tasks import gather

from .base import parent_directory
from .copies import copy_file, copy_listed, count_copied, plan_copies
from .directories import create_directory, not_recursive, remove_directory
from .expansion import as_paths, expand
from .lookup import LookupFileSystem
from .moves import move, move_file
from .removal import check_removal, remove_file, remove_listed, remove_tree, topmost
from .unfinished import clear_uploads

__all__ = ["ChangingFileSystem"]


class ChangingFileSystem(LookupFileSystem):
    """The part of `OpendalFileSystem` that creates directories, and removes, copies and moves."""

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Create a directory, if the service stores directories.

        Parameters
        ----------
        path : str
            A path or URL.
        create_parents : bool
            Whether to create missing directories above it.

        Raises
        ------
        FileExistsError
            If a file or directory exists at the path.
        FileNotFoundError
            If the directory above is missing and not `create_parents`.
        UnsupportedError
            For a container.
        """
        path = self._strip_protocol(path)
        if await self._exists(path, refresh=True):
            raise FileExistsError(errno.EEXIST, "File exists", redact(path))
        if not create_parents and not await self._isdir(parent_directory(self, path), refresh=True):
            raise FileNotFoundError(
                errno.ENOENT, "The parent directory does not exist: create it first", redact(path)
            )
        await create_directory(self, path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Create a directory and its parents, if the service stores directories.

        Parameters
        ----------
        path : str
            A path or URL.
        exist_ok : bool
            Whether an existing directory is no error.

        Raises
        ------
        FileExistsError
            If the path exists and not `exist_ok`.
        UnsupportedError
            For a container.
        """
        path = self._strip_protocol(path)
        if not exist_ok:
            await self._mkdir(path)
        elif not await self._isdir(path, refresh=True):
            await create_directory(self, path)

    async def _rmdir(self, path: str) -> None:
        """Remove an empty directory.

        Parameters
        ----------
        path : str
            A path or URL.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        NotADirectoryError
            For a file.
        OSError
            If the directory is not empty (``errno.ENOTEMPTY``).
        UnsupportedError
            For a container; if the service cannot list.
        """
        await remove_directory(self, self._strip_protocol(path))

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        """Remove one file.

        Parameters
        ----------
        path : str
            A path or URL, never a pattern. Of a link only the link is removed.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        IsADirectoryError
            For a directory.
        OptionError
            For any option, such as ``version_id``: the newest version is removed.
        """
        _refuse_options("removal", kwargs)
        await remove_file(self, path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Remove files; with `recursive`, also directories and all that is below them.

        Parameters
        ----------
        path : str or list of str
            Paths, URLs or patterns.
        recursive : bool
            Whether to remove directories.
        batch_size : int, optional
            Largest number of removals at a time.
        maxdepth : int, optional
            Levels to go down; None for all. Directories that are not empty then stay.

        Returns
        -------
        list of str
            The paths removed; of a directory only its own path.

        Raises
        ------
        FileNotFoundError
            If nothing exists at a path, or no pattern matches.
        IsADirectoryError
            For a directory, unless `recursive`.
        OptionError
            For any other option.
        PermissionError
            For a whole container or disk, a pattern that matches all of it, and paths that end in ``..``.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe({"logs/a.txt": b"1", "logs/b.txt": b"2", "logs/c.csv": b"3"})
        >>> fs.rm("logs/*.txt")
        ['logs/a.txt', 'logs/b.txt']
        """
        _refuse_options("removal", kwargs)
        limit = batch_size or self.batch_size
        path = as_paths(path)
        check_removal(self, path, recursive=recursive)
        if maxdepth is not None:
            return await remove_listed(self, await expand(self, path, recursive, maxdepth, False), limit)
        # Patterns are resolved; a directory is removed by its prefix, not file by file.
        paths = list(await expand(self, path, False, None))
        if recursive:
            paths = topmost(paths)
        await gather(partial(remove_tree, self) if recursive else self._rm_file, paths, limit)
        return paths

    async def _copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        on_error: str | None = None,
        maxdepth: int | None = None,
        batch_size: int | None = None,
        callback: Any = DEFAULT_CALLBACK,
        **kwargs: Any,
    ) -> None:
        """Copy files, and with `recursive` directories; on the server if the service supports it.

        Parameters
        ----------
        path1, path2 : str or list of str
            What to copy where. A source may be a pattern; a target that is a directory takes in the copies.
            Existing files are replaced.
        recursive : bool
            Whether to copy directories.
        on_error : {"raise", "ignore"}, optional
            Whether a file that is gone by the time it is copied is an error; by default only if not
            `recursive`.
        maxdepth : int, optional
            Levels to go down; None for all.
        batch_size : int, optional
            Largest number of copies at a time.
        callback : Callback
            fsspec's, for progress: it counts files, and the callbacks of single files the bytes of each once
            it is copied.
        **kwargs
            As `cp_file` takes them.

        Raises
        ------
        FileNotFoundError
            If nothing exists at a source.
        OptionError
            For an option that the copy cannot apply.
        OSError
            If a copy fails. Its target then keeps its previous content.
        """
        # Lists infos along with the paths, which saves a request for each.
        jobs = await plan_copies(self, path1, path2, recursive, maxdepth, follow=True)
        ignore_missing = on_error == "ignore" or (on_error is None and recursive)
        # A single path that turns out to be a directory is skipped, as in fsspec.
        directories = not isinstance(path1, str)
        limit = batch_size or self.batch_size
        await copy_listed(
            self,
            jobs,
            limit,
            ignore_missing=ignore_missing,
            directories=directories,
            callback=callback,
            **kwargs,
        )

    async def _cp_file(self, path1: str, path2: str, callback: Any = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        """Copy one file and replace the file at the target; a directory is created at the target.

        Parameters
        ----------
        path1, path2 : str
            Paths or URLs of the file and of its copy, never patterns.
        callback : Callback
            fsspec's, for progress: it counts the bytes once the file is copied.
        **kwargs
            ``server_side_encryption`` and ``kms_key_id`` on S3, or the same in s3fs's names. Between two
            containers, where the bytes pass through this process, the options of `pipe_file`.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the source.
        IsADirectoryError
            If the target is a container.
        OptionError
            For any other option.
        OSError
            If the copy fails. The target then keeps its previous content.
        """
        if await copy_file(self, path1, path2, **kwargs):
            await count_copied(self, path1, None, callback)
        else:
            await self._makedirs(path2, exist_ok=True)

    async def _mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: str | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Move files, and with `recursive` directories; by a rename if the service supports it.

        Parameters
        ----------
        path1, path2 : str or list of str
            What to move where. A source may be a pattern; a target that is a directory takes in what is
            moved. Existing files are replaced.
        recursive : bool
            Whether to move directories.
        maxdepth : int, optional
            Levels to go down; None for all.
        on_error : {"raise"}, optional
            A file that is gone by the time it is moved is an error.
        batch_size : int, optional
            Largest number of moves at a time.

        Raises
        ------
        FileNotFoundError
            If nothing exists at a source.
        IsADirectoryError
            For a directory, unless `recursive`.
        OptionError
            For any other option; if a copy would lose what the service stores with a file.
        OSError
            If a directory would be moved into itself, or two files to one path. If a copy fails, its source
            stays.
        PermissionError
            For a whole container or disk.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe_file("mv/a.txt", b"1")
        >>> fs.mv("mv/a.txt", "mv/b.txt")
        >>> fs.find("mv")
        ['mv/b.txt']
        """
        if on_error not in (None, "raise"):
            raise OptionError(f"a move takes no on_error={on_error!r}: leave it out")
        _refuse_options("move", kwargs, ", or copy with it and remove the source")
        source, target = as_paths(path1), as_paths(path2)
        await move(self, source, target, recursive=recursive, maxdepth=maxdepth, limit=batch_size)

    async def _mv_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        _refuse_options("move", kwargs, ", or copy with it and remove the source")
        if not await move_file(self, path1, path2, into_directory=True):
            raise not_recursive(path1, "mv")

    # Unfinished writes

    async def _clear_uploads(self, path: str, older_than: float = 86_400.0) -> list[str]:
        """Remove what writes that never ended have left: parts of uploads on S3, staged files on local disks.

        A write that fails or is discarded, and a writer that is killed, publishes nothing. Its parts stay
        with an object store, which charges for them, until they are removed; no listing shows them.

        Parameters
        ----------
        path : str
            A bucket, a directory or a file. What belongs to it and to all below it is removed.
        older_than : float, default 86,400
            On S3, the least age of an upload in seconds, by the clock of the server. An upload that is still
            in progress fails if it is removed. On local disks a lock shows whether the writer is alive, so
            that files of dead writers are removed at any age.

        Returns
        -------
        list of str
            Path of the object for each upload that was aborted, and path of each staged file removed. Empty
            for services that store in this process.

        Raises
        ------
        UnsupportedError
            If the service cannot list uploads. The message contains the lifecycle rule with which the service
            removes them by itself, as a command to paste.
        ImportError
            On S3, if botocore is not installed.
        OptionError
            On S3, if the options assume a role.
        OSError
            If the server refuses it.

        Notes
        -----
        OpenDAL cannot list or abort uploads, so botocore does it, with the endpoint, the region and the
        credentials of this filesystem.

        Examples
        --------
        >>> import opendalfs
        >>> opendalfs.filesystem("memory").clear_uploads("lake")
        []
        """
        return await clear_uploads(self, path, older_than)

    async def _clear_multipart_uploads(self, bucket: str) -> list[str]:
        """Abort all unfinished uploads of a bucket, as in s3fs: also those that are still in progress.

        Parameters
        ----------
        bucket : str
            The bucket, or a directory in it.

        Returns
        -------
        list of str
            As `clear_uploads` returns them.

        Raises
        ------
        OSError
            As of `clear_uploads`.
        """
        return await self._clear_uploads(bucket, older_than=0.0)


def _refuse_options(change: str, options: dict[str, Any], instead: str = "") -> None:
    """Raise for options of a change that cannot apply them."""
    if options:
        raise OptionError(f"a {change} takes no {', '.join(options)}: leave it out{instead}")
