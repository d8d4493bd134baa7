"""The command `gcsmux warm`: fetches files into the cache of a mount before programs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.commands.mount_argument import understood
from gcsmux_fs.commands.path_arguments import given_paths, path_arguments
from gcsmux_fs.commands.warm_progress import warm_progress
from gcsmux_fs.control.client import control_client
from gcsmux_fs.control.path_batches import batches
from gcsmux_fs.metrics.readable import shown_bytes
from gcsmux_fs.model.errors import GcsmuxError
from gcsmux_fs.process.logs import printable
from gcsmux_fs.process.standard_streams import print_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.control.protocol import Json
    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["DoesNotFit", "warm"]

_FAILURE_EXIT_CODE = 1

# The counts that are added up over all requests.
_SUMS = ("files", "bytes", "files_done", "bytes_done", "failed", "charge")


class DoesNotFit(GcsmuxError):
    """The files are larger than the cache; the message is one sentence for the user."""


@click.command(
    name="warm",
    epilog=examples(
        "gcsmux warm /mnt/data/model",
        "gcsmux warm '/mnt/data/**/*.parquet'",
        "gcsmux warm --files-from list.txt --dry-run",
    ),
)
@path_arguments
@click.option("--dry-run", is_flag=True, help="Only count the files and their bytes.")
@click.option(
    "--partial",
    is_flag=True,
    help="If the files do not fit into the cache, fetch the first ones until it is full.",
)
def warm(*, paths: tuple[str, ...], files_from: str | None, dry_run: bool, partial: bool) -> int:
    """Fetch files into the cache of a mount, before programs read them.

    A directory stands for all files below it. In a quoted pattern, *, ? and [...] match within one
    name, and ** matches any number of directories. The mount fetches the files itself, and leaves
    room for the READs of programs. Ctrl+C ends the command; what was fetched stays cached.

    Three quarters of --memory can be warmed, and with --cache-dir as much as the cache on disk
    holds. Without --partial, nothing is fetched if the files are larger.
    """
    failed = False
    for mount, names in given_paths(paths, files_from):
        found = _ask(mount, names, {"dry_run": True})
        _report_failures(found)
        where, size = printable(mount.path), shown_bytes(found["bytes"])
        too_large = found["charge"] > found["capacity_bytes"]
        if too_large and not partial:
            raise DoesNotFit(
                f"the cache of {where} is too small for {_files(found['files'])} with {size}:"
                f" {shown_bytes(found['capacity_bytes'])} can be warmed. Mount with more --memory"
                " or with --cache-dir, or use --partial."
            )
        if dry_run:
            click.echo(f"{where}: {_files(found['files'])}, {size}")
            failed |= bool(found["failed"])
            continue
        total = min(found["bytes"], found["capacity_bytes"])
        with warm_progress(where, found["files"], total) as show:
            done = _ask(mount, names, {"partial": partial}, show)
        if done["failed"] > found["failed"]:
            _report_failures(done)
        failed |= bool(done["failed"])
        click.echo(
            f"{where}: {done['files_done']} of {_files(done['files'])} cached,"
            f" {shown_bytes(done['bytes_done'])}"
        )
    return _FAILURE_EXIT_CODE if failed else 0


def _ask(
    mount: MountEntry,
    names: list[str],
    options: Json,
    show: Callable[[Json], None] = lambda counts: None,
) -> Json:
    """Send the names in as many requests as needed, and return the sums of their counts."""
    sums: Json = {**dict.fromkeys(_SUMS, 0), "failures": []}
    for batch in batches(names):
        with understood(), control_client(mount) as client:
            answer = client.ask("warm", {"paths": batch, **options}, _shower(show, sums))
            failures = sums["failures"] + answer["failures"]
            kept = {"failures": failures, "capacity_bytes": answer["capacity_bytes"]}
            sums = {**_added(sums, answer), **kept}
    return sums


def _shower(show: Callable[[Json], None], sums: Json) -> Callable[[Json], None]:
    """Return a function that shows the counts of one request together with earlier `sums`."""
    return lambda counts: show(_added(sums, counts))


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _added(sums: Json, counts: Json) -> Json:
    return {name: sums[name] + counts[name] for name in _SUMS}


def _report_failures(counts: Json) -> None:
    for failure in counts["failures"]:
        print_error(f"gcsmux warm: {printable(failure)}")
    if (more := counts["failed"] - len(counts["failures"])) > 0:
        print_error(f"gcsmux warm: {more} further failures")
