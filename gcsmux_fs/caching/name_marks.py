"""Invalidations as lines of a file; sans-IO.

Each view has a file with the prefixes below which everything was invalidated. The file of a listing
ends with the names of the directory that were invalidated since the listing. An invalidation
appends one line, so that two mounts do not overwrite each other's lines. Each line has a checksum.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from crc32c import crc32c

from gcsmux_fs.caching.name_ages import Moment, age_seconds, least_age_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_MARKS", "Mark", "is_marked", "pack_mark", "unpack_marks"]

MAX_MARKS = 256
"""Number of prefixes after which one line for the whole bucket replaces all of them."""


class Mark(NamedTuple):
    """A name, or everything below a prefix, was invalidated at the moment `at`.

    A prefix is empty, ends with a slash, or is the location of a `%part~` directory.
    """

    name: str
    at: Moment


def pack_mark(mark: Mark) -> bytes:
    """Return the line of a mark."""
    boot, *rest = mark.at
    content = json.dumps([mark.name, boot.hex(), *rest]).encode()
    # The line begins with a line feed, too, because the last line may be torn.
    return b"\n%08x %s\n" % (crc32c(content), content)


def unpack_marks(data: bytes) -> tuple[list[Mark], bool]:
    """Return the marks of all intact lines, and whether all lines are intact."""
    marks: list[Mark] = []
    lines = [line for line in data.split(b"\n") if line]
    for line in lines:
        checksum, _, content = line.partition(b" ")
        if checksum != b"%08x" % crc32c(content):
            continue
        try:
            name, boot, *numbers = json.loads(content)
            marks.append(Mark(name, Moment(bytes.fromhex(boot), *numbers)))
        except (TypeError, ValueError):
            continue
    return marks, len(marks) == len(lines)


def is_marked(name: str, asked: Moment, marks: Iterable[Mark], now: Moment) -> bool:
    """Return whether the object or location `name` is below a prefix that was invalidated later.

    Later means after the moment `asked`. The name of a directory is invalidated together with
    everything below it. If nobody knows which of the two came first, the answer is True.
    """
    age = age_seconds(asked, now)
    return any(
        (name.startswith(mark.name) or name + "/" == mark.name)
        and least_age_seconds(mark.at, now) <= age
        for mark in marks
    )
