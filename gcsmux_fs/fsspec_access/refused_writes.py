"""The methods of fsspec that write. The file system is read-only, so each raises an OSError."""

from __future__ import annotations

import errno
from typing import Any, NoReturn

__all__ = ["RefusedWrites", "read_only_error"]


def read_only_error(path: object) -> OSError:
    """Return the error of an attempt to write."""
    return OSError(errno.EROFS, "gcsmux:// is read-only", str(path))


class RefusedWrites:
    """Refuses all methods that write; their arguments are those of fsspec."""

    async def _pipe_file(self, path: str, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(path)

    async def _put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(rpath)

    async def _cp_file(self, path1: str, path2: str, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(path2)

    async def _rm_file(self, path: str, **_: Any) -> NoReturn:
        raise read_only_error(path)

    async def _rm(self, path: object, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(path)

    async def _mkdir(self, path: str, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(path)

    async def _makedirs(self, path: str, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(path)

    async def _mv_file(self, path1: str, *_: Any, **__: Any) -> NoReturn:
        raise read_only_error(path1)

    def mv(self, path1: str, *_: Any, **__: Any) -> NoReturn:
        """Refuse to move a file."""
        raise read_only_error(path1)

    def rmdir(self, path: str) -> NoReturn:
        """Refuse to remove a folder."""
        raise read_only_error(path)

    def touch(self, path: str, *_: Any, **__: Any) -> NoReturn:
        """Refuse to create a file."""
        raise read_only_error(path)
