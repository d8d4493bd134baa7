"""The command `gcsmux log-level`: shows or changes the log level of a mount."""

from __future__ import annotations

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.commands.completions import complete_level, complete_mountpoint
from gcsmux_fs.commands.mount_argument import ask_mount, chosen_mount, understood
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.logs import printable
from gcsmux_fs.settings.defaults import LOG_LEVELS

__all__ = ["change_log_level"]


@click.command(
    name="log-level",
    epilog=examples(
        "gcsmux log-level /mnt/data debug", "gcsmux log-level /mnt/data", "gcsmux log-level debug"
    ),
)
@click.argument("mountpoint", required=False, shell_complete=complete_mountpoint)
@click.argument("level", required=False, shell_complete=complete_level)
def change_log_level(*, mountpoint: str | None, level: str | None) -> None:
    """Show the log level of a mount, or change it to LEVEL until the mount ends.

    LEVEL is debug, info, warning or error. MOUNTPOINT may be left out if there is one mount.
    """
    if level is None and mountpoint is not None and mountpoint.lower() in LOG_LEVELS:
        mountpoint, level = None, mountpoint
    levels = ", ".join(LOG_LEVELS)
    if level is None and mountpoint is not None:
        try:
            chosen_mount(mountpoint)
        except ConfigError:
            if "/" in mountpoint:
                raise
            raise ConfigError(
                f"{mountpoint!r} is no log level and in no mount: write one of {levels}, or a mount"
                " point that `gcsmux list` shows."
            ) from None
    if level is not None and level.lower() not in LOG_LEVELS:
        raise ConfigError(f"{level!r} is not one of {levels}.")
    arguments = {} if level is None else {"level": level.lower()}
    answer = ask_mount(mountpoint, "log-level", arguments)
    with understood():
        click.echo(printable(answer["level"]))
