"""The prefixes below which all kept names were invalidated, as lines of one file; sans-IO.

Each view has one such file. An invalidation appends one line, so that two mounts do not overwrite
each other's lines. A line that is torn counts as no line.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.caching.name_ages import Moment, age_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_MARKS", "PrefixMark", "is_marked", "pack_mark", "unpack_marks"]

MAX_MARKS = 256
"""Number of lines after which one line for the whole bucket replaces all of them."""


class PrefixMark(NamedTuple):
    """All names that begin with `prefix` were invalidated at the moment `at`.

    `prefix` is empty or ends with a slash, or is the location of a `%part~` directory.
    """

    prefix: str
    at: Moment


def pack_mark(mark: PrefixMark) -> bytes:
    """Return the line of a mark."""
    boot, *rest = mark.at
    return json.dumps([mark.prefix, boot.hex(), *rest]).encode() + b"\n"


def unpack_marks(data: bytes) -> list[PrefixMark]:
    """Return the marks of all lines that are whole."""
    marks: list[PrefixMark] = []
    for line in data.split(b"\n"):
        try:
            match json.loads(line):
                case [str(prefix), str(boot), int(since), int(day), bool(synchronised)]:
                    at = Moment(bytes.fromhex(boot), since, day, synchronised)
                    marks.append(PrefixMark(prefix, at))
        except ValueError:
            continue
    return marks


def is_marked(name: str, asked: Moment, marks: Iterable[PrefixMark], now: Moment) -> bool:
    """Return whether the object or location `name` was invalidated after the moment `asked`.

    The name of a directory is invalidated together with everything below it. If nobody knows which
    of the two came first, the answer is True.
    """
    age = age_seconds(asked, now)
    return any(
        (name.startswith(mark.prefix) or name + "/" == mark.prefix)
        and age_seconds(mark.at, now) <= age
        for mark in marks
    )
