"""Sets the name of this process, which `ps`, `top`, `pgrep` and the journal show.

The kernel takes the name from the started program. A mount process is started as an interpreter,
so without this module its name would be `python3`.
"""

from __future__ import annotations

import ctypes

__all__ = ["set_process_name"]

_PR_SET_NAME = 15  # prctl(2)


def set_process_name(name: str) -> bool:
    """Set the name of this process, up to 15 bytes; return whether the kernel accepted it.

    Call this in the main thread: the name of a process is the name of its main thread.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0) == 0)
