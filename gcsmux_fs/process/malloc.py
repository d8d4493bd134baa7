"""Tuning of the C library's allocator for messages of a few MiB.

glibc maps each block above its mmap threshold separately. Each message of 2 MiB then costs an mmap,
512 page faults and a munmap, which is a third of the processor time of a sequential read. Blocks on
the heap avoid this cost. But free memory remains between the blocks on the heap, with many readers
100 MiB or more. When this free memory becomes too large, `memory_watch` returns it to the system.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["allocated_bytes", "resident_bytes", "trim", "tune"]

# Parameters of mallopt, from <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_MIB = 1024 * 1024

# The size from which glibc maps a block separately. This is the largest value that glibc accepts
# (half of HEAP_MAX_SIZE), far above the size of the largest message.
_MMAP_THRESHOLD_BYTES = 32 * _MIB

# Size of the free memory that glibc keeps at the top of the heap, enough for a few messages.
_TOP_BYTES = 8 * _MIB

# Maximum number of bytes to read from /proc/self/statm. The file contains seven numbers of up to 20
# digits.
_STATM_BYTES = 160
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def is_tunable() -> bool:
    """Return whether the C library has `mallopt`."""
    return hasattr(ctypes.CDLL(None), "mallopt")


def tune() -> bool:
    """Keep large blocks on a single heap; return False if the C library has no `mallopt`.

    By default glibc gives each thread of gRPC a separate heap, each with free memory. In a
    measurement with 32 readers, these heaps took 180 MiB more than a single heap.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, _TOP_BYTES),
        (_M_TOP_PAD, _TOP_BYTES),
    )
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)


def trim() -> None:
    """Return every free page of the heap to the system, including pages between used blocks."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def allocated_bytes() -> int:
    """Return how many bytes of the heap are in use; 0 with glibc before 2.33, which cannot count.

    The count excludes separately mapped blocks and the interpreter's small objects.
    """
    mallinfo2 = _mallinfo2()
    return 0 if mallinfo2 is None else int(mallinfo2().uordblks)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    return int(os.pread(_statm(), _STATM_BYTES, 0).split()[1]) * _PAGE_BYTES


class _MallInfo2(ctypes.Structure):
    """`struct mallinfo2` of <malloc.h>."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


@functools.cache
def _mallinfo2() -> Callable[[], _MallInfo2] | None:
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is not None:
        function.restype = _MallInfo2
    return function


@functools.cache
def _statm() -> int:
    """Open /proc/self/statm once; opening it later may fail because no descriptor is free."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
