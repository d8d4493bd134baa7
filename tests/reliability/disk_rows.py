"""The rows of the table with faults of the disk that holds the cache (`--cache-dir`)."""

from __future__ import annotations

import enum
import errno
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.disks.disk_faults import FOR_EVER, READING, WRITING, DiskFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["DISK_ROWS", "DiskRow", "Pauses", "injected"]

_EVERYTHING = READING | WRITING
_NAMES = {
    _EVERYTHING: "every operation",
    READING: "every operation that only reads",
    WRITING: "every operation that writes",
}


class Pauses(enum.Enum):
    """Whether the mount pauses the cache; the value is the text in the document."""

    YES = "pauses the cache"
    NO = "goes on to use the cache"
    MAYBE = "goes on to use the cache, or pauses it"


@dataclass(frozen=True, slots=True)
class DiskRow:
    """One fault of the disk and its expected outcome.

    Attributes:
        fault: the name of the row in the document.
        faults: the faults that operations of the disk meet.
        change: a function that changes the directory of the cache, which it gets as an argument.
        full_errno: the errno of writes to a disk without free space, or 0.
        metrics: the minimum increase of each metric; 0 means that the metric must not increase.
        pauses: whether the mount stops using the cache until the disk works again.
    """

    fault: str
    faults: tuple[DiskFault, ...] = ()
    change: Callable[[Path], None] | None = None
    full_errno: int = 0
    metrics: Mapping[str, int] = field(default_factory=dict)
    pauses: Pauses = Pauses.YES


def injected(row: DiskRow) -> str:
    """Return the text that describes the fault of a row in the document."""
    if row.change is not None:
        return row.change.__doc__ or ""
    if row.full_errno:
        return f"no free space, `{errno.errorcode[row.full_errno]}`"
    return "; ".join(_injected(fault) for fault in row.faults)


def _injected(fault: DiskFault) -> str:
    what = _NAMES.get(fault.operations) or "every " + " and ".join(sorted(fault.operations))
    if fault.times != FOR_EVER:
        what = what.replace("every", "one" if fault.times == 1 else str(fault.times), 1)
    if fault.probability < 1:
        what = what.replace("every", f"{fault.probability:.0%} of every", 1)
    if fault.hangs:
        return f"{what}: hangs"
    if fault.seconds:
        return f"{what}: {fault.seconds:g} s slower"
    return f"{what}: `{errno.errorcode[fault.errno]}`"


def _remove(cache: Path) -> None:
    """the directory is removed (`rm -rf`)"""
    while cache.exists():
        # The mount may add files meanwhile.
        shutil.rmtree(cache, ignore_errors=True)


def _replace(cache: Path) -> None:
    """the directory is renamed, and another, empty directory takes its name"""
    cache.rename(cache.with_name("renamed"))
    cache.mkdir(mode=0o700)


def _truncate(cache: Path) -> None:
    """every file loses its second half"""
    for path in cache.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)


def _overwrite(cache: Path) -> None:
    """every file is overwritten with zeros"""
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))


def _flip(cache: Path) -> None:
    """one byte in 100,000 of every chunk changes"""
    for path in cache.rglob("chunks/*/*"):
        if path.is_file():
            with path.open("r+b") as file:
                content = bytearray(file.read())
                content[50_000::100_000] = bytes(255 - value for value in content[50_000::100_000])
                file.seek(0)
                file.write(content)


def _errors(number: int, operations: frozenset[str] = _EVERYTHING) -> tuple[DiskFault, ...]:
    return (DiskFault(operations, errno=number),)


_READS = frozenset({"read"})
_WRITES = frozenset({"write"})

# Two rows that follow each other share a mount. Reads and writes pause separately, and a pause
# grows if it soon repeats, so such rows are a fault of reads and a fault of writes.
DISK_ROWS: tuple[DiskRow, ...] = (
    DiskRow("the disk fails to read", _errors(errno.EIO, _READS)),
    DiskRow("the disk fails to write", _errors(errno.EIO, _WRITES)),
    DiskRow("the disk fails", _errors(errno.EIO)),
    DiskRow("the disk becomes read-only", _errors(errno.EROFS, WRITING)),
    DiskRow("the file server has lost the directory", _errors(errno.ESTALE)),
    DiskRow("the disk is full", full_errno=errno.ENOSPC),
    DiskRow("the permissions of the directory change", _errors(errno.EACCES)),
    DiskRow("reads hang", (DiskFault(_READS, hangs=True),), metrics={"disk_cache_timeouts": 1}),
    DiskRow("the directory is removed", change=_remove, pauses=Pauses.MAYBE),
    DiskRow(
        "the disk hangs", (DiskFault(_EVERYTHING, hangs=True),), metrics={"disk_cache_timeouts": 1}
    ),
    DiskRow(
        "the disk fails now and then",
        (DiskFault(_EVERYTHING, errno=errno.EIO, probability=0.05),),
        pauses=Pauses.MAYBE,
    ),
    DiskRow(
        "the disk fails to read once",
        (DiskFault(_READS, errno=errno.EIO, times=1),),
        pauses=Pauses.NO,
    ),
    DiskRow("writes hang", (DiskFault(WRITING, hangs=True),), pauses=Pauses.NO),
    DiskRow(
        "the disk is slow",
        (DiskFault(_EVERYTHING, seconds=0.01),),
        metrics={"disk_cache_hits": 1},
        pauses=Pauses.NO,
    ),
    DiskRow("the directory is replaced", change=_replace, pauses=Pauses.NO),
    DiskRow(
        "all files are truncated",
        change=_truncate,
        metrics={"disk_cache_mismatches": 1},
        pauses=Pauses.NO,
    ),
    DiskRow("all files are overwritten", change=_overwrite, pauses=Pauses.NO),
    DiskRow(
        "bytes change on the disk",
        change=_flip,
        metrics={"disk_cache_mismatches": 1, "disk_cache_hit_bytes": 1},
        pauses=Pauses.NO,
    ),
)
