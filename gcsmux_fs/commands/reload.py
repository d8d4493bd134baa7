"""The command `gcsmux reload`: makes a mount drop all cached names, as SIGHUP does."""

from __future__ import annotations

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.commands.mount_argument import ask_mount, mountpoint_argument, understood
from gcsmux_fs.process.logs import printable

__all__ = ["reload_mount"]


@click.command(name="reload", epilog=examples("gcsmux reload /mnt/data", "gcsmux reload"))
@mountpoint_argument
def reload_mount(*, mountpoint: str | None) -> None:
    """Drop all cached names of a mount, so that programs see the newest objects.

    The mount also opens its log file again. Open files keep the generation that they have opened.
    SIGHUP and `systemctl reload` do the same. Without MOUNTPOINT, the only mount of this machine is
    reloaded.
    """
    answer = ask_mount(mountpoint, "reload")
    with understood():
        click.echo(printable(answer["message"]))
