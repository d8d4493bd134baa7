"""The command `gcsmux cache`: examines, verifies and empties the directory of --cache-dir.

The subcommands need no mount, and work while mounts use the directory. They touch only the files of
the cache, which are below one subdirectory, and refuse a directory without it.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gcsmux_fs.caching.cache_directory import CacheDirectory, open_existing_cache
from gcsmux_fs.caching.chunk_walk import ChunkTotals, count_files, remove_files, verify_chunks
from gcsmux_fs.caching.usage_file import read_usage, request_count, running_mounts
from gcsmux_fs.caching.usage_table import UNLIMITED
from gcsmux_fs.commands.click_command import SuggestingGroup, examples, parsed_by
from gcsmux_fs.commands.completions import complete_directory
from gcsmux_fs.commands.mount_argument import json_option, print_json
from gcsmux_fs.metrics.readable import shown_bytes
from gcsmux_fs.model.errors import GcsmuxError
from gcsmux_fs.process.logs import printable
from gcsmux_fs.settings.paths import parse_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, TypeVar

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.chunk_walk import ChunkDamage

    _Decorated = TypeVar("_Decorated", bound=Callable[..., object])

__all__ = ["cache"]

_DAMAGE_EXIT_CODE = 1


@click.group(
    cls=SuggestingGroup,
    name="cache",
    no_args_is_help=True,
    epilog=examples(
        "gcsmux cache stats /var/cache/gcsmux",
        "gcsmux cache verify /var/cache/gcsmux",
        "gcsmux cache clear /var/cache/gcsmux",
    ),
)
def cache() -> None:
    """Examine, verify or empty a cache on disk.

    DIR is the directory that mounts have as --cache-dir. Mounts may use it meanwhile. docs/CACHE.md
    explains the cache.
    """


def _directory_argument(command: _Decorated) -> _Decorated:
    return click.argument(
        "directory",
        metavar="DIR",
        callback=parsed_by(parse_directory),
        shell_complete=complete_directory,
    )(command)


@cache.command("stats", epilog=examples("gcsmux cache stats /var/cache/gcsmux"))
@_directory_argument
@json_option
def stats(*, directory: Path, as_json: bool) -> None:
    """Show the size of a cache and who uses it.

    The first line has the disk space of the cached content and the number of mounts that run now.
    The second line has the free space of the disk.
    """
    with _opened(directory) as opened:
        totals = count_files(opened.files)
        free_bytes = opened.files.free_bytes()
        users = _users(opened.files)
    if as_json:
        print_json(
            {**_json_of(directory, totals), "free_bytes": free_bytes, **dataclasses.asdict(users)}
        )
        return
    click.echo(f"{printable(str(directory))}: {_content(totals)}, {users.sentence}")
    click.echo(f"{shown_bytes(free_bytes)} of the disk are free")


@cache.command("verify", epilog=examples("gcsmux cache verify /var/cache/gcsmux"))
@_directory_argument
@json_option
def verify(*, directory: Path, as_json: bool) -> int:
    """Verify a cache, and drop what is damaged.

    The command reads the whole cache. Each damage is one line. Mounts check the same at each read,
    so a cache never has to be verified; the command shows the state of the disk. Exit code: 0
    without damage, 1 after damage was dropped.
    """
    totals = ChunkTotals()
    damages = []
    for damage in _damages(directory, totals):
        damages.append(damage._asdict())
        if not as_json:
            done = "removed" if damage.removed else "dropped"
            click.echo(f"{printable(damage.path)} {printable(damage.problem)}: {done}")
    if as_json:
        counts = {name: getattr(totals, name) for name in ("verified_bytes", "bad_granules")}
        print_json({**_json_of(directory, totals), **counts, "damages": damages})
    else:
        verdict = f"{len(damages)} damaged" if damages else "no damage"
        click.echo(
            f"{printable(str(directory))}: {_content(totals)},"
            f" {shown_bytes(totals.verified_bytes)} are correct; {verdict}"
        )
    return _DAMAGE_EXIT_CODE if damages else 0


@cache.command("clear", epilog=examples("gcsmux cache clear /var/cache/gcsmux"))
@_directory_argument
@json_option
def clear(*, directory: Path, as_json: bool) -> None:
    """Remove the content of a cache.

    This includes kept listings. Mounts that use the cache go on: what programs read now is fetched
    from the service, and kept again.
    """
    with _opened(directory) as opened:
        totals = remove_files(opened.files, "chunks")
        names = remove_files(opened.files, "names")
        request_count(opened.files)
    totals.files += names.files
    totals.allocated_bytes += names.allocated_bytes
    if as_json:
        print_json(_json_of(directory, totals))
        return
    click.echo(f"{printable(str(directory))}: removed {_content(totals)}")


def _damages(directory: Path, totals: ChunkTotals) -> Iterator[ChunkDamage]:
    with _opened(directory) as opened:
        yield from verify_chunks(opened.files, totals)


@contextmanager
def _opened(directory: Path) -> Iterator[CacheDirectory]:
    """Open a cache.

    Raises:
        ConfigError: the directory contains no cache, or this user may not use it.
        GcsmuxError: the disk fails.
    """
    try:
        with open_existing_cache(str(directory)) as opened:
            yield opened
    except OSError as error:
        raise GcsmuxError(
            f"the cache in {directory} cannot be used ({error.strerror}): check its disk and its"
            " owner."
        ) from None


@dataclass(frozen=True, slots=True)
class _Users:
    """The running mounts of a cache, and the limit of its size; None if there is none."""

    mounts: int = 0
    limit_bytes: int | None = None

    @property
    def sentence(self) -> str:
        if not self.mounts:
            return "used by no mount now"
        mounts = "1 mount" if self.mounts == 1 else f"{self.mounts} mounts"
        limit = "no --cache-size"
        if self.limit_bytes is not None:
            limit = f"--cache-size {shown_bytes(self.limit_bytes)}"
        return f"used by {mounts} with {limit}"


def _users(files: CacheFiles) -> _Users:
    try:
        table = read_usage(files)
    except FileNotFoundError:
        return _Users()
    running = running_mounts(files, table)
    limit_bytes = table.limit_bytes(running)
    return _Users(len(running), None if limit_bytes == UNLIMITED else limit_bytes)


def _json_of(directory: Path, totals: ChunkTotals) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "files": totals.files,
        "bytes": totals.allocated_bytes,
    }


def _content(totals: ChunkTotals) -> str:
    files = "1 file" if totals.files == 1 else f"{totals.files:,} files"
    return f"{shown_bytes(totals.allocated_bytes)} in {files}"
