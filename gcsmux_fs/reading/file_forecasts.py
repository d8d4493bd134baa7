"""Forecasts which part of a file a program will read, from the similar files read before.

Theory of operation. A program usually reads all files of a kind in the same way: `file` and an
image index read the heads, a Parquet reader reads the tails first, `cat` reads whole files. Files
are of one kind if they have the same directory and the same suffix. If no file of the kind is
known, files with the same suffix count. Each file adds one record when it is closed: how many bytes
its READs covered at its start and at its end. A program that keeps its files open adds the record
when it opens the next file.

The forecast has two uses. If the last files were read only in part, an OPEN and the readahead
request no more than this part, because the rest costs money and is not read. If the last files were
read whole, the readahead begins with its full window. A wrong forecast costs one round trip or one
window, and the record of the file ends the forecast.

Tiny files have no record, because each of them is fetched whole in any case.

Invariants:
1. A part is forecast only if the last `PARTLY_READ_FILES` files of the kind were read in part, and
   a whole file only if the last `WHOLE_FILES` files were read whole.
2. A part is forecast only if it is at most 3/4 of each of these files, because otherwise little
   would be saved, and only if at least half of it was read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.reading.file_reads import FileReads, FileSummary

__all__ = [
    "PARTLY_READ_FILES",
    "TINY_OBJECT_BYTES",
    "UNKNOWN",
    "WHOLE_FILES",
    "FileForecast",
    "FileForecasts",
    "kind_of",
]

TINY_OBJECT_BYTES = 64 * 1024
"""Maximum size of a tiny object in bytes. Any READ of a tiny object fetches all of it, because a
random READ may load 64 KiB anyway, and because a congested kernel reads files page by page, so
that each page would cost a round trip."""

PARTLY_READ_FILES = 3
"""Number of files of one kind, in a row, of which a part was read, before it is expected that only
this part of the next file is read. A user may look at the heads of two files first."""

WHOLE_FILES = 2
"""Number of files of one kind, in a row, that were read whole, before it is expected that the next
file is read whole. If it is not, at most half of the bytes that were read are fetched too much."""

_MAX_KINDS = 1024
_MAX_OPENERS = 1024
_MAX_SUFFIX_LENGTH = 16


@dataclass(frozen=True, slots=True)
class FileForecast:
    """What a program is expected to read of one file; see `UNKNOWN` for no forecast.

    `head` and `tail` are the lengths in bytes of the only parts that are expected to be read, at
    the start and at the end of the file. Both are 0 if the file may be read beyond them. `is_whole`
    says that the whole file is expected to be read.
    """

    head: int = 0
    tail: int = 0
    is_whole: bool = False

    @property
    def is_part(self) -> bool:
        """Whether only the head and the tail are expected to be read."""
        return bool(self.head or self.tail)

    def head_of(self, size: int) -> tuple[int, int]:
        """Return the length that a run from offset 0 is expected to reach, and where it ends.

        Both are in bytes and 0 if unknown. A file that is read whole has no expected end, because
        all of it is needed.
        """
        if self.is_whole:
            return size, 0
        head = min(self.head, size)
        return head, head

    def parts(self, size: int) -> tuple[ByteRange, ...]:
        """Return the expected parts of a file of `size` bytes, the head first; empty if unknown."""
        head_end = min(self.head, size)
        tail_start = (size - self.tail) // GRANULE_BYTES * GRANULE_BYTES if self.tail else size
        if self.tail and tail_start <= head_end:
            return (ByteRange(0, size),)
        parts = ByteRange(0, head_end), ByteRange(tail_start, size - tail_start)
        return tuple([part for part in parts if part.length])


UNKNOWN = FileForecast()
"""No forecast: nothing is known of similar files, or they were read in different ways."""


class _Kind:
    """The summaries of the last files of one kind, the latest last."""

    __slots__ = ("_summaries",)

    def __init__(self) -> None:
        self._summaries: deque[FileSummary] = deque(maxlen=PARTLY_READ_FILES)

    def __len__(self) -> int:
        return len(self._summaries)

    def add(self, summary: FileSummary) -> None:
        self._summaries.append(summary)

    def forecast(self, partly_read_files: int) -> FileForecast:
        summaries = list(self._summaries)
        latest = summaries[-partly_read_files:]
        if len(latest) == partly_read_files and all(each.is_part for each in latest):
            head = max([each.head for each in latest])
            return FileForecast(
                -(-head // GRANULE_BYTES) * GRANULE_BYTES, max([each.tail for each in latest])
            )
        latest = summaries[-WHOLE_FILES:]
        is_whole = len(latest) == WHOLE_FILES and all(each.is_whole for each in latest)
        return FileForecast(is_whole=True) if is_whole else UNKNOWN


class FileForecasts:
    """The forecasts of all files of a mount."""

    def __init__(self) -> None:
        self._by_directory: cachetools.LRUCache[tuple[str, str], _Kind] = cachetools.LRUCache(
            _MAX_KINDS
        )
        self._by_suffix: cachetools.LRUCache[str, _Kind] = cachetools.LRUCache(_MAX_KINDS)
        # For each opener (the number of a thread): the last file that it has opened, if this file
        # is still open. A record of READs refers to the readahead of the file, which takes up to
        # 1 MiB, so a closed file must not stay here.
        self._opened: cachetools.LRUCache[int, FileReads] = cachetools.LRUCache(_MAX_OPENERS)

    def forecast(self, name: str, partly_read_files: int = PARTLY_READ_FILES) -> FileForecast:
        """Return what the last files of the kind of `name` have in common.

        `partly_read_files` is the number of partly read files after which a part is forecast.
        """
        directory, suffix = kind_of(name)
        kind = self._by_directory.get((directory, suffix))
        if kind is None or len(kind) < partly_read_files:
            kind = self._by_suffix.get(suffix)
        return UNKNOWN if kind is None else kind.forecast(partly_read_files)

    def note_open(self, reads: FileReads, opener: int) -> None:
        """Record that a program opens a file. `opener` is the number of the thread, 0 if unknown.

        The file that the thread opened before gets its record, because the thread is expected to
        have read it.
        """
        reads.opener = opener
        if opener:
            previous = self._opened.get(opener)
            self._opened[opener] = reads
            if previous is not None:
                self._record(previous)

    def note_close(self, reads: FileReads) -> None:
        """Record that a file is closed, unless its record has all of its READs already."""
        self._record(reads)
        if self._opened.get(reads.opener) is reads:
            del self._opened[reads.opener]

    def _record(self, reads: FileReads) -> None:
        summary = reads.summary
        is_read = summary.head or summary.tail
        if summary == reads.recorded or not is_read or reads.size <= TINY_OBJECT_BYTES:
            return
        reads.recorded = summary
        directory, suffix = kind_of(reads.name)
        for kind in (
            self._by_directory.setdefault((directory, suffix), _Kind()),
            self._by_suffix.setdefault(suffix, _Kind()),
        ):
            kind.add(summary)


def kind_of(name: str) -> tuple[str, str]:
    """Return the directory and the suffix of a name, the suffix in small letters.

    A long suffix and a number count as none.
    """
    directory, _, last = name.rpartition("/")
    _, dot, suffix = last.rpartition(".")
    is_suffix = dot and len(suffix) <= _MAX_SUFFIX_LENGTH and not suffix.isdigit()
    return directory, suffix.lower() if is_suffix else ""
