"""The arguments PATH... and --files-from of subcommands that act on paths in a mount."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gcsmux_fs.commands.completions import complete_file
from gcsmux_fs.control.mounts import locate_path
from gcsmux_fs.control.path_batches import by_mount
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["given_paths", "path_arguments"]

_Decorated = TypeVar("_Decorated", bound="Callable[..., object]")


def path_arguments(command: _Decorated) -> _Decorated:
    """Add the arguments PATH... and the option --files-from: `paths` and `files_from`."""
    command = click.option(
        "--files-from",
        metavar="LIST",
        shell_complete=complete_file,
        help="Read further paths from this file, one in each line; - for stdin.",
    )(command)
    return click.argument("paths", metavar="[PATH]...", nargs=-1, shell_complete=complete_file)(
        command
    )


def given_paths(paths: Sequence[str], files_from: str | None) -> list[tuple[MountEntry, list[str]]]:
    """Return for each mount that the paths lie in: the mount, and the paths relative to its root.

    Raises:
        ConfigError: there is no path, a path is in no mount, or the list cannot be read.
    """
    given = [*paths, *(_read_list(files_from) if files_from is not None else ())]
    if not given:
        raise ConfigError("PATH is missing: name files or directories in a mount.")
    return list(by_mount(map(locate_path, given)).values())


def _read_list(name: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"--files-from {name} cannot be read: {error.strerror}.") from None
    return [os.fsdecode(line) for line in content.split(b"\n") if line]
