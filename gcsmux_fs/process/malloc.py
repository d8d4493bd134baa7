"""Tuning of the C library's allocator for messages of some MiB that come and go.

glibc serves a block above its mmap threshold by a mapping of its own: each 2 MiB message then
costs an mmap, 512 page faults and a munmap, about a third of the processor time of a sequential
read. Keeping such blocks on the heap avoids that, and costs what lies free between them: with many
readers a hundred MiB and more, which is given back to the system whenever it grows too much.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["allocated_bytes", "give_back", "resident_bytes", "tune"]

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_MIB = 1024 * 1024

# The largest value that glibc takes (half of HEAP_MAX_SIZE), well above any message.
_MMAP_THRESHOLD_BYTES = 32 * _MIB

# Free memory at the top of the heap that is kept instead of given back: a few messages' worth.
_HELD_BACK_BYTES = 8 * _MIB

# Seven numbers of up to 20 digits.
_STATM_BYTES = 160
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tune() -> bool:
    """Keep large blocks on one heap; return False where the C library has no `mallopt`.

    One heap, because gRPC's threads would each get one with its own share of unused memory:
    measured with 32 readers, 180 MiB more.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, _HELD_BACK_BYTES),
        (_M_TOP_PAD, _HELD_BACK_BYTES),
    )
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)


def give_back() -> None:
    """Return every free page of the heap to the system, also those between used blocks."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def allocated_bytes() -> int:
    """Return what of the heap is in use; 0 where the C library cannot tell (glibc before 2.33).

    Blocks that are mappings of their own are not counted, nor are the interpreter's small objects.
    """
    mallinfo2 = _mallinfo2()
    return 0 if mallinfo2 is None else int(mallinfo2().uordblks)


def resident_bytes() -> int:
    """Return the memory that this process occupies now."""
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
    """Return a descriptor kept open: when there is none left, a look must not end the mount."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
