"""The command `gcsmux forget`: drops cached names and bytes of paths."""

from __future__ import annotations

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.commands.mount_argument import understood
from gcsmux_fs.commands.path_arguments import given_paths, path_arguments
from gcsmux_fs.control.client import control_client
from gcsmux_fs.control.path_batches import batches
from gcsmux_fs.metrics.readable import shown_bytes
from gcsmux_fs.process.logs import printable
from gcsmux_fs.process.standard_streams import print_error

__all__ = ["forget"]

_FAILURE_EXIT_CODE = 1


@click.command(
    name="forget",
    epilog=examples(
        "gcsmux forget /mnt/data/model.bin",
        "gcsmux forget /mnt/data/results",
        "gcsmux forget --files-from changed.txt",
    ),
)
@path_arguments
def forget(*, paths: tuple[str, ...], files_from: str | None) -> int:
    """Drop what a mount has cached about files, and about directories with everything below them.

    The next use of each path asks the service, so programs see new, overwritten and deleted objects
    at once. The cached bytes of files that are not open are dropped too. Open files keep the
    generation that they have opened.
    """
    failed = False
    for mount, names in given_paths(paths, files_from):
        dropped_bytes, message = 0, ""
        for batch in batches(names):
            with control_client(mount) as client:
                answer = client.ask("forget", {"paths": batch})
            with understood():
                dropped_bytes += answer["bytes"]
                message = printable(answer["message"])
                failures = [printable(failure) for failure in answer["failures"]]
            for failure in failures:
                print_error(f"gcsmux forget: {failure}")
            failed |= bool(failures)
        click.echo(
            f"{printable(mount.path)}: dropped the names and {shown_bytes(dropped_bytes)};"
            f" {message}"
        )
    return _FAILURE_EXIT_CODE if failed else 0
