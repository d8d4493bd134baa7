"""No copies of this process's memory: it holds tokens, and what its users read.

A process that is not dumpable (PR_SET_DUMPABLE, prctl(2)) leaves no core, whatever the limits and
the handler of cores are, and other processes of the same user may neither trace it nor look into
its memory. Root may; so may a debugger that starts the process.
"""

from __future__ import annotations

import ctypes

__all__ = ["forbid_core_dumps"]

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> bool:
    """Make this process undumpable; return False where the C library cannot."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        return False
    nothing = ctypes.c_ulong(0)
    return bool(prctl(_PR_SET_DUMPABLE, nothing, nothing, nothing, nothing) == 0)
