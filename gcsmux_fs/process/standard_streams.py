"""The three standard streams of a command, where its caller has closed them or nobody reads.

A program may be started with any of its standard descriptors closed (`<&- 2>&-`). The next pipe
or file that it opens then gets such a number, and a child that is given standard streams of its own
loses that pipe. So the numbers are taken before anything else is opened.
"""

from __future__ import annotations

import os
import sys

__all__ = ["open_missing_streams", "tell"]

_NAMES = ("stdin", "stdout", "stderr")


def open_missing_streams() -> None:
    """Open /dev/null where a standard descriptor is closed; call it first of all."""
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one, as those below it are open.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, errors="backslashreplace", closefd=False))


def tell(text: str) -> None:
    """Write a line to stderr; that it cannot be written changes nothing of what was done."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # The interpreter tries again at its end, and would exit with 120.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)
