"""The objects of a soak, and what the other writer does with each object."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.sizes import MIB

from .content import Identity, bytes_at, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ABSENT",
    "CHANGING",
    "CHURNING",
    "GROWING",
    "LARGE",
    "MEDIUM",
    "SMALL",
    "Fate",
    "all_names",
    "content",
    "entries_of",
    "fate_of",
    "first_objects",
]


class Fate(enum.Enum):
    """What the other writer does with an object."""

    STAYS = "stays"
    CHANGES = "changes"  # overwritten repeatedly, never absent
    COMES_AND_GOES = "comes and goes"
    GROWS = "grows"  # appended to, sometimes replaced by a new version, never absent


# Maximum size of an object that is written in one message; the protocol allows no more than 2 MiB.
_ONE_MESSAGE_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class _Group:
    names: tuple[str, ...]
    smallest_bytes: int
    largest_bytes: int
    fate: Fate


LARGE = _Group(tuple(f"stable/large-{n}" for n in range(5)), 12 * MIB, 24 * MIB, Fate.STAYS)
MEDIUM = _Group(tuple(f"stable/medium-{n}" for n in range(16)), MIB, 4 * MIB, Fate.STAYS)
SMALL = _Group(
    tuple(f"small/folder-{n}/file-{m}" for n in range(8) for m in range(25)),
    64,
    60_000,
    Fate.STAYS,
)
CHANGING = _Group(tuple(f"changing/{n}" for n in range(12)), 1000, _ONE_MESSAGE_BYTES, Fate.CHANGES)
CHURNING = _Group(tuple(f"churn/{n}" for n in range(12)), 64, MIB, Fate.COMES_AND_GOES)
GROWING = _Group(tuple(f"growing/{n}" for n in range(6)), 2000, 3 * MIB, Fate.GROWS)
# An object that is never deleted, so that the folder `churn` always exists: in a flat bucket, a
# folder exists only as long as it contains an object.
_KEEPER = _Group(("churn/keeper",), 1000, 10_000, Fate.STAYS)
# Names of objects that never exist.
ABSENT = tuple(f"{folder}/absent-{n}" for folder in ("stable", "changing") for n in range(5))
_GROUPS = (LARGE, MEDIUM, SMALL, CHANGING, CHURNING, GROWING, _KEEPER)
_GROUP_OF = {name: group for group in _GROUPS for name in group.names}


def fate_of(name: str) -> Fate:
    """Return the fate of an object; the fate of a directory is `STAYS`."""
    group = _GROUP_OF.get(name)
    return Fate.STAYS if group is None else group.fate


def content(name: str, version: int) -> bytes:
    """Return the whole content of version `version` of an object."""
    group = _GROUP_OF[name]
    size = size_of(name, version, group.smallest_bytes, group.largest_bytes)
    return bytes_at(Identity(name, version), 0, size)


def all_names() -> list[tuple[str, Fate]]:
    """Return the name and the fate of each object."""
    return [(name, group.fate) for name, group in _GROUP_OF.items()]


def first_objects() -> Iterator[tuple[str, bytes]]:
    """Yield the name of each object and its content at the start of the soak."""
    for name in _GROUP_OF:
        yield name, content(name, 1)


@functools.cache
def entries_of(folder: str) -> Mapping[str, Fate]:
    """Return the names that a directory may contain, each with its fate."""
    inside = f"{folder}/" if folder else ""
    entries: dict[str, Fate] = {}
    for name, fate in all_names():
        if name.startswith(inside):
            entry = name[len(inside) :].partition("/")[0]
            if entries.get(entry) is not Fate.STAYS:
                entries[entry] = fate
    return entries
