"""The entry points of the commands that `gcsmux_fs/commands/` implements.

To add the command `gcsmux-NAME`, write a module `commands/NAME.py` with `run(arguments)`, which
returns the exit code. Then add a function here, and its line to `[project.scripts]` in
pyproject.toml.

This module imports no command before it handles Ctrl+C: loading a command takes 0.1 s, and an
interrupt within this time must give a sentence instead of a traceback.
"""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

from gcsmux_fs.process.standard_streams import open_missing_streams, print_error

__all__ = ["mount_command"]

# The shell's exit code for a command that SIGINT ended.
_INTERRUPTED_EXIT_CODE = 130


def mount_command() -> NoReturn:
    """Run `gcsmux-mount` with the arguments of this process, and exit."""
    _run_command("mount", when_interrupted="nothing is mounted")


def _run_command(name: str, *, when_interrupted: str) -> NoReturn:
    """Run `gcsmux-NAME`; after Ctrl+C print which state it leaves behind."""
    open_missing_streams()
    exit_code = _INTERRUPTED_EXIT_CODE
    # A trio nursery wraps KeyboardInterrupt in an exception group.
    try:
        command = importlib.import_module(f"gcsmux_fs.commands.{name}")
        exit_code = command.run(sys.argv[1:])
    except* KeyboardInterrupt:
        print_error(f"gcsmux-{name}: interrupted, {when_interrupted}.")
    sys.exit(exit_code)
