"""The command `gcsmux streams`: shows the open streams of a mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.commands.mount_argument import (
    ask_mount,
    json_option,
    mountpoint_argument,
    print_json,
    understood,
)
from gcsmux_fs.control.status_lines import shown_duration
from gcsmux_fs.metrics.readable import shown_bytes
from gcsmux_fs.process.logs import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.control.protocol import Json

__all__ = ["streams"]

_HEADINGS = ("STATE", "AGE", "IN FLIGHT", "UNSENT", "RECEIVED", "REOPENS", "OBJECT#GENERATION")


@click.command(
    name="streams",
    epilog=examples("gcsmux streams /mnt/data", "gcsmux streams --json | jq '.streams|length'"),
)
@mountpoint_argument
@json_option
def streams(*, mountpoint: str | None, as_json: bool) -> None:
    """Show each open stream of a mount: its object and generation, its ranges and its bytes.

    All readers of an object share one stream. IN FLIGHT is the number of ranges that the service
    has been asked for, UNSENT the number of ranges that wait for their message.
    """
    answer = ask_mount(mountpoint, "streams")
    if as_json:
        print_json(answer)
        return
    with understood():
        open_streams: Sequence[Json] = answer["streams"]
        rows = [_HEADINGS, *map(_row, open_streams)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if open_streams else ():
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(printable("  ".join(cells).rstrip()))
    if not open_streams:
        click.echo("No stream is open.", err=True)


def _row(stream: Json) -> tuple[str, ...]:
    error = f"  ({stream['last_error']})" if stream["last_error"] else ""
    return (
        stream["state"],
        shown_duration(stream["age_seconds"]),
        str(stream["ranges_in_flight"]),
        str(stream["ranges_unsent"]),
        shown_bytes(stream["bytes_received"]),
        str(stream["reopens"]),
        f"{stream['object']}#{stream['generation']}{error}",
    )
