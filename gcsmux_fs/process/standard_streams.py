"""The standard streams of a command, also where they are closed or cannot be written.

A program may be started with closed standard descriptors (`<&- 2>&-`). The next file or pipe that
it opens then gets one of the numbers 0 to 2. A child process that receives new standard streams
loses this file. `open_missing_streams` therefore occupies the numbers first.
"""

from __future__ import annotations

import os
import sys

__all__ = ["open_missing_streams", "print_error"]

_NAMES = ("stdin", "stdout", "stderr")


def open_missing_streams() -> None:
    """Open /dev/null for each closed standard descriptor; call this before opening any file."""
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            # open() returns the lowest free number, and all numbers below this one are in use.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, errors="backslashreplace", closefd=False))


def print_error(text: str) -> None:
    """Write a line to stderr; ignore that stderr cannot be written."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # At its end the interpreter flushes stderr again, and would exit with code 120.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)
