"""Protection of this process's memory, which contains tokens and the data of users.

A process that is not dumpable (PR_SET_DUMPABLE, prctl(2)) writes no core dump, regardless of the
limits and of the machine's core handler. Other processes of the same user can neither trace it nor
read its memory. Root can, and so can a debugger that starts the process.
"""

from __future__ import annotations

import ctypes

__all__ = ["disable_core_dumps"]

_PR_SET_DUMPABLE = 4


def disable_core_dumps() -> bool:
    """Make this process undumpable; return False if the system call is missing or fails."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        return False
    zero = ctypes.c_ulong(0)
    return bool(prctl(_PR_SET_DUMPABLE, zero, zero, zero, zero) == 0)
