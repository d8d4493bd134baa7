"""Functions for the terminal, and for standard streams that are closed or cannot be written.

A program may be started with closed standard streams (`<&- 2>&-`). The next file that the program
opens then gets one of the descriptors 0 to 2. When the program later starts a child process with
new standard streams, these streams replace the file in the child. `open_missing_streams` prevents
this: it opens /dev/null on the closed descriptors.
"""

from __future__ import annotations

import io
import os
import sys

__all__ = ["escape_unencodable", "has_terminal", "open_missing_streams", "print_error"]

_NAMES = ("stdin", "stdout", "stderr")


def open_missing_streams() -> None:
    """Open /dev/null on each closed standard stream; call this before any file is opened."""
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            # This opens /dev/null on the descriptor `number`, because open() returns the lowest
            # free descriptor.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, errors="backslashreplace", closefd=False))


def escape_unencodable() -> None:
    """Let stdout show a character that its encoding lacks as an escape, such as \\u25cf.

    Without this call, the write of such a character fails, for example with the locale
    en_US.ISO-8859-1. Python itself does the same for stderr.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_error(text: str) -> None:
    """Write a line to stderr; do nothing if stderr cannot be written."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # When the interpreter exits, it writes the buffer of stderr again. If this write failed
        # too, the exit code would be 120. So stderr is redirected to /dev/null.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal, which can send it signals."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
