"""Every way in which a program gets bytes of an open file out of the kernel.

A way is a function of a descriptor, an offset and a number of bytes; it returns what it got, which
is less than asked for at the end of the file. Some ways pass by the page cache, some by the size
that `read` is cut at, so that a mount may be right in one and wrong in another. Nothing here
imports the project: a program knows a mount by its path only.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAPPINGS",
    "WAYS",
    "copy_repeatedly",
    "map_repeatedly",
    "serve_repeatedly",
    "stat_and_read",
    "whole_by",
]

# What a pipe holds unless somebody makes it larger.
_PIPE_BYTES = 64 * 1024
_WHOLE_PIECE_BYTES = 128 * 1024


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    return os.pread(descriptor, size, offset)


def _read(descriptor: int, offset: int, size: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


def _preadv2(descriptor: int, offset: int, size: int) -> bytes:
    buffers = [bytearray(size // 2), bytearray(size - size // 2)]
    done = os.preadv(descriptor, buffers, offset, os.RWF_HIPRI)
    return b"".join(buffers)[:done]


def _direct(descriptor: int, offset: int, size: int) -> bytes:
    """Read past the page cache, by the same descriptor."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
    try:
        with mmap.mmap(-1, size) as aligned:
            return aligned[: os.preadv(descriptor, [aligned], offset)]
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _sendfile(descriptor: int, offset: int, size: int) -> bytes:
    return _copied(size, lambda to, done: os.sendfile(to, descriptor, offset + done, size - done))


def _copy_file_range(descriptor: int, offset: int, size: int) -> bytes:
    """Copy as cp(1) does: where the kernel copies between file systems no more, by reads."""

    def copy(to: int, done: int) -> int:
        try:
            return os.copy_file_range(descriptor, to, size - done, offset + done, done)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return os.pwrite(to, os.pread(descriptor, size - done, offset + done), done)

    return _copied(size, copy)


def _copied(size: int, copy: Callable[[int, int], int]) -> bytes:
    """Return what `copy` has put into a file, called with how much it has copied so far."""
    to = os.memfd_create("copy")
    try:
        done = 0
        while done < size and (count := copy(to, done)):
            done += count
        found = os.pread(to, size, 0)
        assert len(found) == done
        return found
    finally:
        os.close(to)


def _splice(descriptor: int, offset: int, size: int) -> bytes:
    parts: list[bytes] = []
    output, into = os.pipe()
    try:
        done = 0
        while done < size:
            count = os.splice(
                descriptor, into, min(size - done, _PIPE_BYTES), offset_src=offset + done
            )
            if not count:
                break
            done += count
            while count:
                parts.append(os.read(output, count))
                count -= len(parts[-1])
        return b"".join(parts)
    finally:
        os.close(output)
        os.close(into)


def _mapped(descriptor: int, offset: int, size: int, flags: int) -> bytes:
    """Map as much as the file has by its `fstat`; a page that is not there ends the program."""
    end = min(offset + size, os.fstat(descriptor).st_size)
    if end <= offset:
        return b""
    with mmap.mmap(descriptor, end, flags=flags, prot=mmap.PROT_READ) as mapping:
        return mapping[offset:end]


def _private_mapping(descriptor: int, offset: int, size: int) -> bytes:
    return _mapped(descriptor, offset, size, mmap.MAP_PRIVATE)


def _shared_mapping(descriptor: int, offset: int, size: int) -> bytes:
    return _mapped(descriptor, offset, size, mmap.MAP_SHARED)


MAPPINGS: dict[str, Callable[[int, int, int], bytes]] = {
    "private mapping": _private_mapping,
    "shared mapping": _shared_mapping,
}
"""Those where an error is a SIGBUS."""

WAYS: dict[str, Callable[[int, int, int], bytes]] = {
    "read": _read,
    "pread": _pread,
    "preadv2": _preadv2,
    "O_DIRECT": _direct,
    "sendfile": _sendfile,
    "splice": _splice,
    "copy_file_range": _copy_file_range,
}
"""Those where an error is an errno."""


def whole_by(way: str, descriptor: int, *, limit: int = 1 << 62) -> bytes:
    """Return all bytes that a file has by one way, until there are no more or `limit` are read."""
    get = (WAYS | MAPPINGS)[way]
    parts: list[bytes] = []
    done = 0
    while done < limit and (part := get(descriptor, done, min(_WHOLE_PIECE_BYTES, limit - done))):
        parts.append(part)
        done += len(part)
    return b"".join(parts)


# -- what programs make of them


def stat_and_read(path: str, descriptor: int, way: str) -> tuple[bytes, int]:
    """Have the name looked up, and 30 ms later read the file by one way.

    Returns what was read, and the size of the file afterwards.
    """
    looking = threading.Thread(target=os.stat, args=(path,))
    looking.start()
    time.sleep(0.03)
    found = whole_by(way, descriptor)
    looking.join()
    return found, os.fstat(descriptor).st_size


def copy_repeatedly(path: str, target: str, times: int) -> list[bytes]:
    """Copy a file again and again as `shutil` does; return the copies."""
    copies = []
    for _ in range(times):
        shutil.copyfile(path, target)
        copies.append(Path(target).read_bytes())
    return copies


def serve_repeatedly(path: str, times: int) -> list[tuple[int, bytes]]:
    """Do as a web server: promise as many bytes as `fstat` tells, and send them by sendfile."""
    answers = []
    for _ in range(times):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            promised = os.fstat(descriptor).st_size
            answers.append((promised, whole_by("sendfile", descriptor, limit=promised)))
        finally:
            os.close(descriptor)
    return answers


def map_repeatedly(path: str, times: int) -> list[tuple[int, bytes]]:
    """Map a file shared, as `numpy.load(mmap_mode="r")` and lmdb do."""
    answers = []
    for _ in range(times):
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping,
        ):
            answers.append((len(mapping), mapping[:]))
    return answers
