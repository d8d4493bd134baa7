"""What a shell proposes for an argument or an option value: files, directories, mount points.

Each function is a `shell_complete` callback of click. `share/` has the scripts for bash, zsh and
fish, which call the command itself to find proposals.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from gcsmux_fs.fuse.mountinfo import mount_table
from gcsmux_fs.settings.defaults import LOG_LEVELS

if TYPE_CHECKING:
    import click

__all__ = [
    "complete_directory",
    "complete_file",
    "complete_level",
    "complete_mountpoint",
    "complete_value",
]


def complete_directory(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell propose directories."""
    return [CompletionItem(incomplete, type="dir")]


def complete_file(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell propose files and directories."""
    return [CompletionItem(incomplete, type="file")]


def complete_level(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Propose the log levels."""
    return [CompletionItem(level) for level in LOG_LEVELS if level.startswith(incomplete)]


def complete_value(
    _ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Propose values of an option by its metavar: paths for FILE and DIR, words such as `auto`."""
    words = (param.metavar or "").split("|")
    if any(word.endswith("FILE") for word in words):
        return [CompletionItem(incomplete, type="file")]
    if "DIR" in words:
        return [CompletionItem(incomplete, type="dir")]
    return [
        CompletionItem(word) for word in words if word.islower() and word.startswith(incomplete)
    ]


def complete_mountpoint(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Propose the mount points of all mounts of this machine, from the kernel's mount table."""
    paths = [os.fspath(entry.path) for entry in mount_table() if entry.is_gcsmux]
    return [CompletionItem(path) for path in paths if path.startswith(incomplete)]
