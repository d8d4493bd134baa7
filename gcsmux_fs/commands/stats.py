"""The command `gcsmux stats`: shows all metrics of a mount."""

from __future__ import annotations

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.commands.mount_argument import (
    ask_mount,
    json_option,
    mountpoint_argument,
    print_json,
    understood,
)
from gcsmux_fs.control.status_lines import status_lines
from gcsmux_fs.metrics.readable import readable_lines
from gcsmux_fs.metrics.transfer import decode_metrics
from gcsmux_fs.process.logs import printable

__all__ = ["stats"]


@click.command(
    name="stats",
    epilog=examples("gcsmux stats /mnt/data", "gcsmux stats --json | jq .uptime_seconds"),
)
@mountpoint_argument
@json_option
def stats(*, mountpoint: str | None, as_json: bool) -> None:
    """Show the metrics of a mount since its start.

    Without MOUNTPOINT, the only mount of this machine is shown. docs/CONTROL.md explains the JSON.
    """
    answer = ask_mount(mountpoint, "stats")
    if as_json:
        print_json(answer)
        return
    with understood():
        lines = [*status_lines(answer), *readable_lines(decode_metrics(answer["metrics"]))]
    for line in lines:
        click.echo(printable(line))
