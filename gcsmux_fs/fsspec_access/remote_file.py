"""The file objects of the fsspec file system. Each reads one generation of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from fsspec.asyn import AbstractAsyncStreamedFile
from fsspec.caching import BaseCache
from fsspec.spec import AbstractBufferedFile

from gcsmux_fs.fsspec_access.object_details import object_details

if TYPE_CHECKING:
    import io

    from gcsmux_fs.fsspec_access.pinned_object import PinnedObject

    class _FileSystem(Protocol):
        """The methods of `GcsmuxFileSystem` that a file uses."""

        def read_pinned(
            self, pinned: PinnedObject, path: str, offset: int, length: int
        ) -> bytes: ...
        async def read_pinned_async(
            self, pinned: PinnedObject, path: str, offset: int, length: int
        ) -> bytes: ...
        def close_pinned(self, pinned: PinnedObject) -> None: ...
        def open(self, path: str, mode: str, *, generation: int) -> io.BufferedIOBase: ...


__all__ = ["AsyncRemoteFile", "RemoteFile", "reopen_generation"]

_BUFFER_BYTES = 256 * 1024
"""How much a short read asks for if it continues the read before it. The call of another thread
takes 0.1 ms, as long as the copy of 256 KiB."""


class RemoteFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is open for reading.

    Short reads in sequence are served from a buffer of 256 KiB, which is not part of the memory
    budget. Everything else is in the engine's block cache. `pread` may be called by many threads at
    the same time; the other methods use one position, like all Python files.

    With a `cache_type` of fsspec, the reads go through that cache.
    """

    fs: _FileSystem
    path: str
    size: int
    loc: int

    def __init__(self, fs: _FileSystem, path: str, pinned: PinnedObject, **options: Any) -> None:
        self._pinned = pinned
        # The position of the buffer in the object, and its content.
        self._buffer: tuple[int, bytes] = (0, b"")
        self._next = 0
        options.setdefault("cache_type", "none")
        super().__init__(fs, path, "rb", size=pinned.size, **options)
        self._details = object_details(pinned.key.bucket, pinned.info)
        self._has_cache = type(self.cache) is not BaseCache

    def pread(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes at `offset`, without using or changing the position."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if length <= 0 or offset >= self.size:
            return b""
        return self.fs.read_pinned(self._pinned, self.path, offset, length)

    def read(self, length: int | None = -1) -> bytes:
        """Return up to `length` bytes at the position, all the rest if negative or None."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._has_cache:
            return super().read(-1 if length is None else length)  # type: ignore[no-any-return]
        start = self.loc
        left = max(0, self.size - start)
        wanted = left if length is None or length < 0 else min(int(length), left)
        if not wanted:
            return b""
        content = self._buffered(start, wanted)
        self.loc = self._next = start + len(content)
        return content

    def read1(self, length: int = -1) -> bytes:
        """Like `read`; with a negative length, return what is cheap to get."""
        return self.read(_BUFFER_BYTES if length < 0 else length)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` from the position, and return the number of bytes."""
        target = memoryview(buffer).cast("B")
        content = self.read(len(target))
        target[: len(content)] = content
        return len(content)

    readinto1 = readinto

    def readline(self, length: int | None = -1) -> bytes:
        """Return the next line with its end, or at most `length` bytes of it."""
        most = self.size if length is None or length < 0 else length
        parts: list[bytes] = []
        while most > 0:
            content, start, end = self._span(most)
            found = content.find(b"\n", start, end)
            stop = end if found < 0 else found + 1
            parts.append(content[start:stop])
            most -= stop - start
            self.loc = self._next = self.loc + stop - start
            if found >= 0 or start == end:
                break
        return b"".join(parts)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """Return the content up to and including the next `char`."""
        if char == b"\n":
            return self.readline()
        return super().readuntil(char, blocks or _BUFFER_BYTES)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the file. Its blocks stay in the cache."""
        if not self.closed:
            self._buffer = (0, b"")
            self.fs.close_pinned(self._pinned)
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the file: the copy reads the same generation, at the same position."""
        generation = self._pinned.key.generation
        return reopen_generation, (self.fs, self.path, generation, self.loc)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.read_pinned(self._pinned, self.path, start, end - start)

    def _buffered(self, start: int, wanted: int) -> bytes:
        buffer_start, content = self._buffer
        skip = start - buffer_start
        if skip >= 0 and skip + wanted <= len(content):
            return content[skip : skip + wanted]
        if start != self._next or wanted >= _BUFFER_BYTES:
            return self.fs.read_pinned(self._pinned, self.path, start, wanted)
        head = content[skip:] if 0 <= skip < len(content) else b""
        position = start + len(head)
        content = self.fs.read_pinned(self._pinned, self.path, position, _BUFFER_BYTES)
        self._buffer = (position, content)
        return head + content[: wanted - len(head)]

    def _span(self, most: int) -> tuple[bytes, int, int]:
        """Return a buffer, and where up to `most` bytes at the position begin and end in it."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        left = min(most, max(0, self.size - self.loc))
        if not left:
            return b"", 0, 0
        buffer_start, content = self._buffer
        skip = self.loc - buffer_start
        if not 0 <= skip < len(content):
            end = min(self.loc + _BUFFER_BYTES, self.size)
            if self._has_cache:
                content = self.cache._fetch(self.loc, end)  # noqa: SLF001 # as in fsspec
            else:
                content = self._fetch_range(self.loc, end)
            self._buffer, skip = (self.loc, content), 0
        return content, skip, min(skip + left, len(content))


class AsyncRemoteFile(AbstractAsyncStreamedFile):  # type: ignore[misc]
    """A file that an asyncio program has opened with `open_async`."""

    fs: _FileSystem
    path: str
    size: int
    loc: int
    closed: bool

    def __init__(self, fs: _FileSystem, path: str, pinned: PinnedObject) -> None:
        self._pinned = pinned
        super().__init__(fs, path, "rb", cache_type="none", size=pinned.size)
        self._details = object_details(pinned.key.bucket, pinned.info)

    async def _fetch_range(self, start: int, end: int) -> bytes:
        return await self.fs.read_pinned_async(self._pinned, self.path, start, end - start)

    async def read(self, length: int = -1) -> bytes:
        """Return up to `length` bytes at the position, all the rest if negative."""
        if length < 0 or self.loc + length > self.size:
            length = max(0, self.size - self.loc)
        return await super().read(length)  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Close the file. Its blocks stay in the cache."""
        if not self.closed:
            self.fs.close_pinned(self._pinned)
        await super().close()

    def __del__(self) -> None:
        if not self.closed:
            self.fs.close_pinned(self._pinned)
            self.closed = True


def reopen_generation(
    fs: _FileSystem, path: str, generation: int, position: int
) -> io.BufferedIOBase:
    """Open a generation of an object again, for example after a file was pickled."""
    file = fs.open(path, "rb", generation=generation)
    file.seek(position)
    return file
