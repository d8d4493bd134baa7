"""The entry point of `gcsmux-mount`, from which nothing is loaded before ^C has a sentence.

Loading what reads the arguments takes a tenth of a second; a user who thinks better of it within
that time is told what anybody is who interrupts a start, not where an import was.
"""

from __future__ import annotations

import sys

from gcsmux_fs.process.standard_streams import open_missing_streams, tell

__all__ = ["mount_command"]

# The shell's convention for what SIGINT ended.
_INTERRUPTED_EXIT_CODE = 130


def mount_command() -> None:
    """Run `gcsmux-mount` with the arguments of this process, and exit."""
    open_missing_streams()
    exit_code = _INTERRUPTED_EXIT_CODE
    # Nurseries wrap what ends them, so that ^C may come in a group.
    try:
        from gcsmux_fs.commands.mount import run

        exit_code = run(sys.argv[1:])
    except* KeyboardInterrupt:
        tell("gcsmux-mount: interrupted, nothing is mounted.")
    sys.exit(exit_code)
