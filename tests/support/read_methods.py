"""Every way in which a program can read an open file.

A read method is a function of a descriptor, an offset and a number of bytes. It returns the bytes
that it has read. At the end of the file, these are fewer bytes. Some methods bypass the page cache.
Some methods bypass the file size that limits `read`. So a mount can return the right bytes with
one method and wrong bytes with another. This module imports nothing of the package, because a
program uses a mount only through its path.
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

# Default capacity in bytes of a pipe on Linux.
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
    """Set O_DIRECT on the descriptor, and read. Such a read bypasses the page cache."""
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
    """Copy as cp(1) does, with copy_file_range.

    If the kernel refuses this call between two file systems, read and write the bytes.
    """

    def copy(to: int, done: int) -> int:
        try:
            return os.copy_file_range(descriptor, to, size - done, offset + done, done)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return os.pwrite(to, os.pread(descriptor, size - done, offset + done), done)

    return _copied(size, copy)


def _copied(size: int, copy: Callable[[int, int], int]) -> bytes:
    """Return the bytes that `copy` writes into a temporary file.

    `copy` gets the descriptor of this file and the number of bytes written so far. `copy`
    returns how many bytes this call has written, which is 0 at the end of the source.
    """
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
    """Map the file up to its `fstat` size. If a page cannot be read, SIGBUS ends the process."""
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
"""Read methods that map the file, by name. A read error ends the process with SIGBUS."""

WAYS: dict[str, Callable[[int, int, int], bytes]] = {
    "read": _read,
    "pread": _pread,
    "preadv2": _preadv2,
    "O_DIRECT": _direct,
    "sendfile": _sendfile,
    "splice": _splice,
    "copy_file_range": _copy_file_range,
}
"""Read methods that use system calls, by name. A read error raises OSError with an errno."""


def whole_by(way: str, descriptor: int, *, limit: int = 1 << 62) -> bytes:
    """Read a file to its end with the read method `way`; return at most `limit` bytes."""
    get = (WAYS | MAPPINGS)[way]
    parts: list[bytes] = []
    done = 0
    while done < limit and (part := get(descriptor, done, min(_WHOLE_PIECE_BYTES, limit - done))):
        parts.append(part)
        done += len(part)
    return b"".join(parts)


# -- programs that use read methods


def stat_and_read(path: str, descriptor: int, way: str) -> tuple[bytes, int]:
    """Call stat for the path in a thread, and 30 ms later read the file by one read method.

    Return the bytes and the size that fstat shows afterwards.
    """
    looking = threading.Thread(target=os.stat, args=(path,))
    looking.start()
    time.sleep(0.03)
    content = whole_by(way, descriptor)
    looking.join()
    return content, os.fstat(descriptor).st_size


def copy_repeatedly(path: str, target: str, times: int) -> list[bytes]:
    """Copy a file `times` times with `shutil.copyfile`; return the content of each copy."""
    copies = []
    for _ in range(times):
        shutil.copyfile(path, target)
        copies.append(Path(target).read_bytes())
    return copies


def serve_repeatedly(path: str, times: int) -> list[tuple[int, bytes]]:
    """Answer `times` requests for a file as a web server does.

    For each request, ask fstat for the size and send this many bytes with sendfile. Return each
    size with the bytes sent.
    """
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
    """Map a file `times` times with MAP_SHARED, as `numpy.load(mmap_mode="r")` and lmdb do.

    Return the size and the bytes of each mapping.
    """
    answers = []
    for _ in range(times):
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping,
        ):
            answers.append((len(mapping), mapping[:]))
    return answers
