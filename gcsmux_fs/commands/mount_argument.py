"""The argument MOUNTPOINT and the connection to a mount, which several subcommands have."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from gcsmux_fs.commands.completions import complete_mountpoint
from gcsmux_fs.control.client import ControlError, control_client
from gcsmux_fs.control.mounts import locate_path, only_mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.control.protocol import Json
    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = [
    "ask_mount",
    "chosen_mount",
    "json_option",
    "mountpoint_argument",
    "print_json",
    "understood",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., object]")


def mountpoint_argument(command: _Decorated) -> _Decorated:
    """Add the optional argument MOUNTPOINT, which the command gets as `mountpoint`."""
    return click.argument("mountpoint", required=False, shell_complete=complete_mountpoint)(command)


def json_option(command: _Decorated) -> _Decorated:
    """Add the option --json, which the command gets as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def chosen_mount(mountpoint: str | None) -> MountEntry:
    """Return the mount in which `mountpoint` lies, or the only mount if it is None.

    Raises:
        ConfigError: there is no such mount, or there are several.
    """
    return only_mount() if mountpoint is None else locate_path(mountpoint)[0]


def ask_mount(mountpoint: str | None, command: str, arguments: Json | None = None) -> Json:
    """Return what the chosen mount answers to a command of the control socket.

    Raises:
        GcsmuxError: there is no such mount, or it does not answer, or the command failed.
    """
    with control_client(chosen_mount(mountpoint)) as client:
        return client.ask(command, arguments)


@contextmanager
def understood() -> Iterator[None]:
    """Raise ControlError if the block finds that an answer has an unknown form.

    A mount of another version may answer in such a form, and so may a process of another user that
    pretends to be a mount.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ControlError(
            "the mount answered in an unknown form: use the same version of gcsmux, or mount again."
        ) from None


def print_json(answer: Json) -> None:
    """Print an answer as JSON."""
    click.echo(json.dumps(answer, indent=2))
