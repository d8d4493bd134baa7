"""The files of a cache directory in memory, without the content of chunks."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_files import CacheFiles, FileStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MemoryFiles"]


class MemoryFiles(CacheFiles):
    """The operations that the account and the cleaner use, for one mount.

    Attributes:
        removed: the paths of the files that were removed.
    """

    def __init__(self, free_bytes: int) -> None:
        self.removed: list[str] = []
        self._free = free_bytes
        self._contents: dict[str, bytearray] = {}
        self._open: dict[int, str] = {}
        self._next = 3
        # The disk space of the chunks, by directory and path.
        self._chunks: dict[str, dict[str, int]] = {}

    def allocated(self, path: str) -> int:
        """Return the disk space of a chunk."""
        return self._chunks.get(os.path.dirname(path), {}).get(path, 0)  # noqa: PTH120

    def allocate(self, path: str, size: int) -> None:
        """Set the disk space of a chunk, which may be new."""
        self._chunks.setdefault(os.path.dirname(path), {})[path] = size  # noqa: PTH120

    def open_cached(self, path: str) -> int:
        raise BlockingIOError

    def read_cached(self, descriptor: int, length: int, offset: int) -> memoryview | None:
        return None

    def status_cached(self, path: str) -> FileStatus:
        raise BlockingIOError

    def unlock(self, descriptor: int) -> None:
        pass

    def remove_directory(self, path: str) -> bool:
        return False

    def open(self, path: str, flags: int) -> int:
        if path not in self._contents:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(path)
            self._contents[path] = bytearray()
        self._next += 1
        self._open[self._next] = path
        return self._next

    def read(self, descriptor: int, length: int, offset: int) -> memoryview:
        return memoryview(bytes(self._content(descriptor)[offset : offset + length]))

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        self._content(descriptor)[offset : offset + len(content)] = content

    def append(self, descriptor: int, content: bytes | memoryview) -> None:
        self._content(descriptor).extend(content)

    def truncate(self, descriptor: int, size: int) -> None:
        content = self._content(descriptor)
        content[:] = content[:size].ljust(size, b"\0")

    def status(self, descriptor: int) -> FileStatus:
        return self._status(len(self._content(descriptor)), 0)

    def try_lock(self, descriptor: int) -> bool:
        return True

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def path_status(self, path: str) -> FileStatus | None:
        if size := self.allocated(path):
            return self._status(size, size)
        content = self._contents.get(path)
        return None if content is None else self._status(len(content), 0)

    def remove(self, path: str) -> bool:
        self.removed.append(path)
        chunks = self._chunks.get(os.path.dirname(path), {})  # noqa: PTH120
        return (chunks.pop(path, None) or self._contents.pop(path, None)) is not None

    def rename(self, path: str, target: str) -> None:
        self._contents[target] = self._contents.pop(path)

    def make_directory(self, path: str) -> None:
        pass

    def names(self, path: str) -> Iterator[str]:
        paths = [*self._chunks.get(path, ()), *self._contents]
        yield from (each.rpartition("/")[2] for each in paths if each.startswith(f"{path}/"))

    def statuses(self, path: str) -> Iterator[tuple[str, FileStatus]]:
        for name in self.names(path):
            status = self.path_status(f"{path}/{name}")
            assert status is not None
            yield name, status

    def free_bytes(self) -> int:
        return self._free

    def _content(self, descriptor: int) -> bytearray:
        return self._contents[self._open[descriptor]]

    def _status(self, size: int, allocated: int) -> FileStatus:
        return FileStatus(1, size, allocated, 0, stat.S_IFREG | 0o600, 0.0)
