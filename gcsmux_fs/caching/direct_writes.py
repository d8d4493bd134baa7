"""Writes long ranges past the page cache, unless the disk is slow.

A buffered write copies each byte into new pages of the page cache. With the readers, the service's
messages and the kernel on two cores, the copy took 1.6 to 1.9 processor seconds per GiB and 6 to
8 s; direct writes (O_DIRECT) took 0.1 to 0.5 processor seconds and 1.5 to 3 s (ext4, Linux 6.18,
measured in turns). Direct writes also leave the pages of other programs in memory.

But a direct write waits for the disk, and a buffered write does not. A slow disk would keep only a
part of what a program reads. So `DirectChoice` compares the times.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DirectChoice", "DirectWriter"]

_MIN_BYTES = 256 * 1024
"""Shorter ranges are buffered: programs often read small objects again soon, and a short direct
write costs the disk as much as a long one."""

_BUFFER_BYTES = 2 * 1024 * 1024
# A multiple of the block size of every usual disk. O_DIRECT needs multiples of it.
_ALIGNMENT_BYTES = 4096

_FAST_SECONDS_PER_BYTE = 1 / 150e6
"""Direct writes that are as fast as this are preferred. If the network is faster, the queue of the
writes becomes half full, and the next writes are buffered in any case (see `write_behind`). The
limit is below the rate of local disks, because a busy processor makes a disk look slower."""

_MOST_TIMES_BUFFERED = 2.0
"""How many times the time of a buffered write a slower direct write may take. A buffered write
leaves work for the kernel, and both wait equally for a busy processor."""

_PROBE_WRITES = 32
"""Every so many writes are of the kind that is not preferred, to find out how fast it is now."""

_NEW_WEIGHT = 0.25

# What file systems without direct writes answer.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOENT, errno.EACCES, errno.EPERM}


class DirectChoice:
    """Decides for each long range whether it is written directly; sans-IO.

    Both kinds of writes have an average time per byte, in which recent writes have more weight.
    """

    def __init__(self) -> None:
        self._is_supported = True
        self._direct: float | None = None
        self._buffered: float | None = None
        self._writes = 0

    def next_is_direct(self) -> bool:
        """Return whether to write the next range directly."""
        if not self._is_supported:
            return False
        self._writes += 1
        is_probe = self._writes % _PROBE_WRITES == 0
        return self._prefers_direct() != is_probe

    def note(self, length: int, seconds: float, *, is_direct: bool) -> None:
        """Note how long a write took."""
        if is_direct:
            self._direct = _average(self._direct, seconds / length)
        else:
            self._buffered = _average(self._buffered, seconds / length)

    def refuse(self) -> None:
        """Write nothing directly from now on, because the file system cannot do it."""
        self._is_supported = False

    def _prefers_direct(self) -> bool:
        if self._direct is None or self._direct <= _FAST_SECONDS_PER_BYTE:
            return True
        return self._buffered is not None and self._direct <= _MOST_TIMES_BUFFERED * self._buffered


class DirectWriter:
    """Writes long ranges. Several threads may use it; all but one of them write buffered.

    `clock` returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._choice = DirectChoice()
        self._clock = clock
        self._lock = threading.Lock()
        # Direct writes need aligned memory, which the messages of the service do not have.
        self._buffer: mmap.mmap | None = None

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        """Write the beginning of `content`, as os.pwrite does; return the number of bytes.

        Raises:
            OSError: the disk fails or is full.
        """
        if not _is_suitable(offset, len(content)) or not self._lock.acquire(blocking=False):
            return os.pwrite(descriptor, content, offset)
        try:
            return self._write(descriptor, content[:_BUFFER_BYTES], offset)
        finally:
            self._lock.release()

    def _write(self, descriptor: int, content: memoryview, offset: int) -> int:
        is_direct = self._choice.next_is_direct()
        began = self._clock()
        if is_direct:
            try:
                count = self._write_directly(descriptor, content, offset)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._choice.refuse()
                return os.pwrite(descriptor, content, offset)
        else:
            count = os.pwrite(descriptor, content, offset)
        self._choice.note(len(content), self._clock() - began, is_direct=is_direct)
        return count

    def _write_directly(self, descriptor: int, content: memoryview, offset: int) -> int:
        if self._buffer is None:
            self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
        self._buffer[: len(content)] = content
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            with memoryview(self._buffer) as whole, whole[: len(content)] as view:
                return os.pwrite(direct, view, offset)
        finally:
            os.close(direct)


def _is_suitable(offset: int, length: int) -> bool:
    """Return whether a range is long, and aligned for O_DIRECT."""
    return length >= _MIN_BYTES and not (offset | length) % _ALIGNMENT_BYTES


def _average(average: float | None, new: float) -> float:
    return new if average is None else average + _NEW_WEIGHT * (new - average)
