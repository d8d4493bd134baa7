"""The functions that the installed commands, such as `gcsmux-mount`, call.

Each function runs one module of `gcsmux_fs/commands/`. To add the command `gcsmux-NAME`, write the
module `commands/NAME.py` with a function `run(arguments)`, which returns the exit code. Then add a
function for the command to this module, and a line to `[project.scripts]` in pyproject.toml. The
command `gcsmux` has subcommands: see `commands/gcsmux.py`.

It takes 0.1 s to import the module of a command. If the user presses Ctrl+C within this time, a
sentence must appear instead of a traceback. Therefore the function `_run_command` imports the
module inside of its `try` block.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import NoReturn

from gcsmux_fs.process.standard_streams import (
    escape_unencodable,
    open_missing_streams,
    print_error,
)

__all__ = ["gcsmux_command", "mount_command"]

# The exit code that a shell reports for a command that SIGINT ended.
_INTERRUPTED_EXIT_CODE = 130


def gcsmux_command() -> NoReturn:
    """Run `gcsmux` with the arguments of this process, and exit."""
    _run_command("gcsmux", "gcsmux", when_interrupted="nothing more is done")


def mount_command() -> NoReturn:
    """Run `gcsmux-mount` with the arguments of this process, and exit."""
    _run_command("gcsmux-mount", "mount", when_interrupted="nothing is mounted")


def _run_command(program: str, module: str, *, when_interrupted: str) -> NoReturn:
    """Run a module of `commands` and exit; after Ctrl+C print the text `when_interrupted`."""
    open_missing_streams()
    escape_unencodable()
    if os.getpid() == 1:
        _let_sigterm_interrupt()
    exit_code = _INTERRUPTED_EXIT_CODE
    # `except*`, because a trio nursery wraps these exceptions in an exception group.
    try:
        command = importlib.import_module(f"gcsmux_fs.commands.{module}")
        exit_code = command.run(sys.argv[1:])
    except* KeyboardInterrupt:
        print_error(f"{program}: interrupted, {when_interrupted}.")
    except* SystemExit:
        # rich raises it when the reader of the output has gone, for example `head`.
        exit_code = 1
    sys.exit(exit_code)


def _let_sigterm_interrupt() -> None:
    """Let SIGTERM have the effect of Ctrl+C, until the command handles SIGTERM itself.

    Process 1 of a container needs this, because the kernel drops signals that process 1 does not
    handle. Otherwise a mount that still waits for the service would only end by SIGKILL. SIGINT is
    sent instead of an exception, because trio raises KeyboardInterrupt only at safe places.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
