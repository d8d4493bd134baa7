"""A mount of a cache in a process of its own, which is killed while it writes.

Run: `python -m tests.caching.crashes.killed_writer ROOT SIZE_BYTES KILL_AT`. The process writes,
reads and evicts objects. It ends by `os._exit` in front of operation KILL_AT of its cache files; of
a write, half is done first. With KILL_AT 0, it writes until it is killed. It prints the number of
operations if it ends otherwise.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .mounts import Clock, MountedCache
from .objects import CachedObject, check_reads

if TYPE_CHECKING:
    from gcsmux_fs.caching.cache_files import CacheFiles

__all__ = ["KILLED", "OBJECTS"]

KILLED = 77
"""The exit code after `os._exit`."""

OBJECTS = tuple(CachedObject(f"object {number}", 20_000) for number in range(16))

_CHANGES = {"open", "write", "append", "truncate", "remove", "rename", "make_directory", "close"}


class KillingFiles:
    """The operations of `files`. The process ends in front of one of those that change files."""

    def __init__(self, files: CacheFiles, kill_at: int) -> None:
        self.count = 0
        self._files = files
        self._kill_at = kill_at

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._files, name)
        return self._counted(name, operation) if name in _CHANGES else operation

    def _counted(self, name: str, operation: Any) -> Any:
        def run(*arguments: Any) -> Any:
            self.count += 1
            if self.count == self._kill_at:
                if name == "write":
                    descriptor, content, offset = arguments
                    os.pwrite(descriptor, memoryview(content)[: len(content) // 2], offset)
                elif name == "append":
                    descriptor, content = arguments
                    os.write(descriptor, memoryview(content)[: len(content) // 2])
                os._exit(KILLED)
            return operation(*arguments)

        return run


def main(root: Path, size_bytes: int, kill_at: int) -> None:
    """Use the cache once, or without end."""
    files: list[KillingFiles] = []

    def wrap(real: CacheFiles) -> CacheFiles:
        files.append(KillingFiles(real, kill_at))
        return files[0]

    mounted = MountedCache(root, size_bytes, Clock(), wrap=wrap)
    for turn in itertools.count() if not kill_at else range(1):
        for number, each in enumerate(OBJECTS):
            mounted.write_all(each)
            check_reads(mounted.store, OBJECTS[(number * 7 + turn) % len(OBJECTS)], alone=False)
            mounted.keep_house(0.1)
        mounted.keep_house(11)
    mounted.close()
    print(files[0].count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
