"""Every way in which a program can read an open file.

A read method is a function of a descriptor, an offset and a number of bytes. It returns the bytes,
which are fewer at the end of the file. Some methods bypass the page cache, some bypass the file
size that limits `read`: a mount can be right with one method and wrong with another. This module
imports nothing of the package: a program uses a mount only through its path.
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

# The default capacity of a pipe.
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
    """Read through the same descriptor with O_DIRECT, which bypasses the page cache."""
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
    """Copy as cp(1) does: by reads if the kernel refuses copy_file_range between file systems."""

    def copy(to: int, done: int) -> int:
        try:
            return os.copy_file_range(descriptor, to, size - done, offset + done, done)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return os.pwrite(to, os.pread(descriptor, size - done, offset + done), done)

    return _copied(size, copy)


def _copied(size: int, copy: Callable[[int, int], int]) -> bytes:
    """Return the bytes that `copy` writes into a file; it gets the number of bytes so far."""
    to = os.memfd_create("copy")
    try:
        done = 0
        while done < size and (count := copy(to, done)):
            done += count
        content = os.pread(to, size, 0)
        assert len(content) == done
        return content
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
    """Map the file up to its `fstat` size; an unreadable page ends the process by SIGBUS."""
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
"""Methods in which an error is a SIGBUS."""

WAYS: dict[str, Callable[[int, int, int], bytes]] = {
    "read": _read,
    "pread": _pread,
    "preadv2": _preadv2,
    "O_DIRECT": _direct,
    "sendfile": _sendfile,
    "splice": _splice,
    "copy_file_range": _copy_file_range,
}
"""Methods in which an error is an errno."""


def whole_by(way: str, descriptor: int, *, limit: int = 1 << 62) -> bytes:
    """Return all bytes of a file by one read method, or the first `limit` bytes."""
    get = (WAYS | MAPPINGS)[way]
    parts: list[bytes] = []
    done = 0
    while done < limit and (part := get(descriptor, done, min(_WHOLE_PIECE_BYTES, limit - done))):
        parts.append(part)
        done += len(part)
    return b"".join(parts)


# -- programs that use read methods


def stat_and_read(path: str, descriptor: int, way: str) -> tuple[bytes, int]:
    """Start a stat of the path and read the file 30 ms later by one read method.

    Returns the bytes, and the size of the open file afterwards.
    """
    looking = threading.Thread(target=os.stat, args=(path,))
    looking.start()
    time.sleep(0.03)
    content = whole_by(way, descriptor)
    looking.join()
    return content, os.fstat(descriptor).st_size


def copy_repeatedly(path: str, target: str, times: int) -> list[bytes]:
    """Copy a file repeatedly with `shutil.copyfile`; return the copies."""
    copies = []
    for _ in range(times):
        shutil.copyfile(path, target)
        copies.append(Path(target).read_bytes())
    return copies


def serve_repeatedly(path: str, times: int) -> list[tuple[int, bytes]]:
    """Act as a web server: promise the size that `fstat` returns, and send it with sendfile."""
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
