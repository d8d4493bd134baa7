"""Protection of this process's memory, which contains tokens and the data of users.

A process that is not dumpable (PR_SET_DUMPABLE, prctl(2)) writes no core dump, whatever core limit
the process has and whatever core handler the machine has. Other processes of the same user can
neither trace the process nor read its memory. Root can do both, and so can a debugger that starts
the process.
"""

from __future__ import annotations

import ctypes

__all__ = ["disable_core_dumps"]

_PR_SET_DUMPABLE = 4


def disable_core_dumps() -> bool:
    """Disable core dumps of this process; return False if the system call is missing or fails."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        return False
    zero = ctypes.c_ulong(0)
    return bool(prctl(_PR_SET_DUMPABLE, zero, zero, zero, zero) == 0)
