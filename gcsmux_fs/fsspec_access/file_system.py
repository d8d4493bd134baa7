"""`gcsmux://bucket/path` for fsspec: read-only, with the reader of the mount.

The paths are those of gcsfs: `bucket/object`. Object names are used as they are; a folder is what
has objects below it. All methods of fsspec exist, in a synchronous and an asynchronous form.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.callbacks import DEFAULT_CALLBACK

from gcsmux_fs.fsspec_access.access_settings import check_option_names, settings_from_options
from gcsmux_fs.fsspec_access.engines import EngineLease
from gcsmux_fs.fsspec_access.object_details import (
    folder_details,
    object_details,
    os_error,
    parent_folders,
    split_path,
)
from gcsmux_fs.fsspec_access.range_batch import RangeBatch, RangesOfObject
from gcsmux_fs.fsspec_access.refused_writes import RefusedWrites, read_only_error
from gcsmux_fs.fsspec_access.remote_file import AsyncRemoteFile, RemoteFile
from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.values import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gcsmux_fs.fsspec_access.pinned_object import PinnedObject
    from gcsmux_fs.fsspec_access.service_reader import ServiceReader

__all__ = ["GcsmuxFileSystem"]

T = TypeVar("T")

# Length of the reads of `get_file`, and of programs that read whole blocks.
_BLOCK_BYTES = 8 * 1024 * 1024


class GcsmuxFileSystem(RefusedWrites, AsyncFileSystem):  # type: ignore[misc]
    """The buckets of Google Cloud Storage that a program may read.

    docs/FSSPEC.md explains the storage options. File systems with equal options share their
    connections, caches and memory budget. The instances may be pickled, and used in all threads and
    after a fork.
    """

    protocol = "gcsmux"
    blocksize = _BLOCK_BYTES
    _pid: int
    _loop: asyncio.AbstractEventLoop | None

    def __init__(
        self,
        *,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        use_listings_cache: bool = True,
        listings_expiry_time: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size)
        if not use_listings_cache:
            options["metadata_ttl"] = options["negative_ttl"] = 0
        elif listings_expiry_time is not None:
            options["metadata_ttl"] = listings_expiry_time
        check_option_names(options)
        self._engine = EngineLease(settings_from_options(**options))

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of fsspec that runs the synchronous methods; a new one after a fork."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = None if self.asynchronous else get_loop()
        return self._loop

    def __repr__(self) -> str:
        return f"<GcsmuxFileSystem at {self._engine.settings.endpoint}>"

    # -- names

    async def _info(
        self, path: str, generation: int | str | None = None, **_: Any
    ) -> dict[str, Any]:
        path = self._strip_protocol(path)
        bucket, name = split_path(path)
        if not bucket:
            return folder_details("", "")
        if not name:
            # Only a listing shows whether the bucket exists.
            await self._ask(path, lambda reader: reader.list_folder(bucket, ""))
            return folder_details(bucket, "")
        number = int(generation or 0)
        found = await self._ask(path, lambda reader: reader.find(bucket, name, number))
        if isinstance(found, ObjectInfo):
            return object_details(bucket, found)
        return folder_details(bucket, name)

    async def _ls(
        self, path: str, detail: bool = True, refresh: bool = False, **_: Any
    ) -> list[Any]:
        path = self._strip_protocol(path)
        bucket, name = split_path(path)
        if not bucket:
            raise NotImplementedError("gcsmux:// cannot list buckets: write gcsmux://BUCKET.")
        if refresh:
            await self._ask(path, lambda reader: reader.invalidate(bucket, name))
        found = await self._ask(path, lambda reader: reader.list_folder(bucket, name))
        listed = [folder_details(bucket, folder) for folder in found.folders]
        listed += [object_details(bucket, info) for info in found.objects]
        listed.sort(key=lambda details: details["name"])
        return listed if detail else [details["name"] for details in listed]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **_: Any,
    ) -> Any:
        path = self._strip_protocol(path)
        bucket, name = split_path(path)
        if maxdepth is not None and (maxdepth > 1 or not prefix):
            # A listing of all levels may be far longer than the levels that are asked for.
            return await super()._find(path, maxdepth, withdirs=withdirs, detail=detail)
        location = name + "/" if name else ""
        delimiter = "" if maxdepth is None else "/"
        found = await self._ask(
            path, lambda reader: reader.list_names(bucket, location + prefix, delimiter)
        )
        details = {
            f"{bucket}/{info.name}": object_details(bucket, info)
            for info in found.objects
            if not info.name.endswith("/")
        }
        if withdirs:
            folders = parent_folders((info.name for info in found.objects), location)
            for folder in {*folders, *found.folders}:
                details.setdefault(f"{bucket}/{folder}", folder_details(bucket, folder))
            if found.objects or found.folders:
                details[path] = folder_details(bucket, name)
        if not details and await self._isfile(path):
            details[path] = await self._info(path)
        names = sorted(details)
        return {each: details[each] for each in names} if detail else names

    def invalidate_cache(self, path: str | None = None) -> None:
        """Drop the cached answers about `path` and all names below it; without it, about all."""
        bucket, name = split_path(self._strip_protocol(path or ""))
        self._engine.call_if_running(lambda reader: reader.invalidate(bucket, name))
        super().invalidate_cache(path)

    def checksum(self, path: str) -> int:
        """Return a number that changes when the object is overwritten: its generation."""
        return int(self.info(path).get("generation", 0))

    def ukey(self, path: str) -> str:
        """Return a text that identifies the content of the object: path and generation."""
        details = self.info(path)
        return f"{details['name']}#{details.get('generation', '')}"

    def modified(self, path: str) -> Any:
        """Return the time of the last change, as a datetime with a time zone."""
        details = self.info(path)
        if details["type"] == "directory":
            raise IsADirectoryError(path)
        return details["mtime"]

    # -- content

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        bucket, name = split_path(self._strip_protocol(path))
        wanted = RangesOfObject(bucket, name, [(start, end)], int(options.get("generation") or 0))
        (result,) = await self._ask(path, lambda reader: reader.read_ranges([wanted]))
        if isinstance(result, StorageError):
            raise os_error(result, path) from result
        return result[0]

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | Exception]:
        batch = RangeBatch([self._strip_protocol(path) for path in paths], starts, ends)
        results = await self._ask("", lambda reader: reader.read_ranges(batch.objects, max_gap))
        contents = batch.in_order(results)
        if on_error != "return":
            for content in contents:
                if isinstance(content, Exception):
                    raise content
        return contents

    async def _get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **options: Any
    ) -> None:
        local = Path(lpath)
        try:
            pinned = await self._pin(rpath, int(options.get("generation") or 0))
        except FileNotFoundError:
            if not await self._isdir(rpath):
                raise
            await asyncio.to_thread(local.mkdir, parents=True, exist_ok=True)
            return
        callback.set_size(pinned.size)
        try:
            for offset in range(0, max(pinned.size, 1), _BLOCK_BYTES):
                content = await self.read_pinned_async(pinned, rpath, offset, _BLOCK_BYTES)
                await asyncio.to_thread(_write_block, local, offset, content)
                callback.relative_update(len(content))
        except BaseException:
            # A copy that is not complete must not be taken for the file.
            local.unlink(missing_ok=True)  # noqa: ASYNC240 # takes microseconds
            raise
        finally:
            self.close_pinned(pinned)

    # -- files

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        generation: int | str | None = None,
        **options: Any,
    ) -> RemoteFile:
        if mode not in ("rb", "r"):
            raise read_only_error(path)
        bucket, name = split_path(path)
        opener, number = threading.get_native_id(), int(generation or 0)
        pinned = self._ask_now(path, lambda reader: reader.open(bucket, name, number, opener))
        cache_type = options.get("cache_type") or "none"
        return RemoteFile(
            self,
            path,
            pinned,
            block_size=block_size or self.blocksize,
            cache_type=cache_type,
            cache_options=cache_options,
        )

    async def open_async(
        self, path: str, mode: str = "rb", generation: int | str | None = None, **_: Any
    ) -> AsyncRemoteFile:
        """Open a file for an asyncio program; its `read` and `close` are coroutines."""
        if mode not in ("rb", "r"):
            raise read_only_error(path)
        return AsyncRemoteFile(self, path, await self._pin(path, int(generation or 0)))

    async def _pin(self, path: str, generation: int) -> PinnedObject:
        bucket, name = split_path(self._strip_protocol(path))
        opener = threading.get_native_id()
        return await self._ask(path, lambda reader: reader.open(bucket, name, generation, opener))

    def read_pinned(self, pinned: PinnedObject, path: str, offset: int, length: int) -> bytes:
        """Return bytes of an open file, fewer at its end; called by the file."""
        return self._ask_now(path, lambda reader: reader.read(pinned, offset, length))

    async def read_pinned_async(
        self, pinned: PinnedObject, path: str, offset: int, length: int
    ) -> bytes:
        """Like `read_pinned`, for an asyncio program."""
        return await self._ask(path, lambda reader: reader.read(pinned, offset, length))

    def close_pinned(self, pinned: PinnedObject) -> None:
        """Close an open file. The garbage collector may call this method in any thread."""
        self._engine.call_soon(lambda reader: reader.close(pinned))

    # -- the engine

    async def _ask(self, path: str, question: Callable[[ServiceReader], Awaitable[T]]) -> T:
        try:
            return await self._engine.call_async(question)
        except StorageError as error:
            raise os_error(error, path) from error

    def _ask_now(self, path: str, question: Callable[[ServiceReader], Awaitable[T]]) -> T:
        try:
            return self._engine.call(question)
        except StorageError as error:
            raise os_error(error, path) from error


def _write_block(local: Path, offset: int, content: bytes) -> None:
    if not offset:
        local.parent.mkdir(parents=True, exist_ok=True)
    with local.open("ab" if offset else "wb") as file:
        file.write(content)
