"""The command `gcsmux top`: shows what a mount does, once per interval."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.click_command import examples, parsed_by
from gcsmux_fs.commands.mount_argument import chosen_mount, mountpoint_argument
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.commands.top_figures import TopFigures
    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["top"]

_MIN_INTERVAL_SECONDS = 0.2
# The size of the text if stdout is not a terminal.
_TEXT_COLUMNS = 100


def _interval(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < _MIN_INTERVAL_SECONDS:
        raise ConfigError(f"{text} is too short: write at least {_MIN_INTERVAL_SECONDS:g}s.")
    return seconds


@click.command(
    name="top",
    epilog=examples(
        "gcsmux top /mnt/data",
        "gcsmux top --once",
        "gcsmux top --json --interval 10s | jq .reader_rate",
    ),
)
@mountpoint_argument
@click.option(
    "--interval",
    metavar="DURATION",
    default="2s",
    show_default=True,
    callback=parsed_by(_interval),
    help="Time between two refreshes. All rates and percentiles are those of one interval.",
)
@click.option("--once", is_flag=True, help="Print one interval as text and exit.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per interval, one per line."
)
def top(*, mountpoint: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Show what a mount does: throughput, hits, latencies, streams, memory, faults and costs.

    Without MOUNTPOINT, the only mount of this machine is shown. `q` quits. If stdout is not a
    terminal, the command prints one interval as text. Reads that the kernel answers from its page
    cache do not reach the mount and are not counted. Latencies are estimated within the buckets of
    a histogram, whose bounds are 1, 2, 5, 10 and so on. Costs are estimates: the prices of Standard
    storage in one region.

    If the mount ends, the command prints a sentence and exits with 0, because watching a mount to
    its end is no failure.
    """
    # Imported here, because a usage error needs neither rich nor a mount.
    from rich.console import Console

    from gcsmux_fs.commands.top_feed import MountEnded
    from gcsmux_fs.commands.top_screen import show_live
    from gcsmux_fs.commands.top_view import top_view

    mount = chosen_mount(mountpoint)
    console = Console()
    if console.is_terminal and not (once or as_json):
        sentence = show_live(mount, console, interval)
        if sentence:
            click.echo(f"gcsmux: {sentence}")
        return
    try:
        for figures in _figures(mount, interval):
            if as_json:
                click.echo(json.dumps(asdict(figures)))
            if not as_json or once:
                break
    except MountEnded as error:
        click.echo(f"gcsmux: {error}", err=as_json)
        return
    if not as_json:
        if not console.is_terminal:
            console = Console(width=_TEXT_COLUMNS)
        console.print(top_view(figures, (), width=console.width, height=0))


def _figures(mount: MountEntry, interval: float) -> Iterator[TopFigures]:
    """Yield the figures of each interval."""
    from gcsmux_fs.commands.top_feed import take_snapshot
    from gcsmux_fs.commands.top_figures import figures_between

    before = take_snapshot(mount)
    due = time.monotonic()
    while True:
        due += interval
        time.sleep(max(0.0, due - time.monotonic()))
        after = take_snapshot(mount)
        yield figures_between(before, after)
        before = after
