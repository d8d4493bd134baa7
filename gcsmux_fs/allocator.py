"""Tuning of the C library's allocator for messages of some MiB that come and go.

glibc serves a block above its mmap threshold by a mapping of its own: each 2 MiB message then
costs an mmap, 512 page faults and a munmap, about a third of the processor time of a sequential
read. Keeping such blocks on the heap avoids that; what the heap may hold back is bounded by the
trim threshold.
"""

from __future__ import annotations

import ctypes

__all__ = ["HELD_BACK_BYTES", "tune"]

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3

_MIB = 1024 * 1024

# The largest value that glibc takes (half of HEAP_MAX_SIZE), well above any message.
_MMAP_THRESHOLD_BYTES = 32 * _MIB

# Free memory at the top of the heap that is kept instead of given back: a few messages' worth.
HELD_BACK_BYTES = 32 * _MIB


def tune() -> bool:
    """Keep large blocks on the heap; return False where the C library has no `mallopt`."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, HELD_BACK_BYTES),
        (_M_TOP_PAD, HELD_BACK_BYTES // 4),
    )
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)
