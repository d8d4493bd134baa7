"""Assigns generations to files: a change of a file gives a new generation, a restart does not.

A file's generation is its ctime in microseconds. The advantages are that the file system stores the
ctime, that no program can set the ctime, and that the number looks like a generation of the
service. But two changes within one tick of a coarse clock have the same ctime. The second of these
changes therefore gets the last generation plus one. A change after the clock was set back also gets
the last generation plus one. In these two cases, the ctime does not give the generation. `of_file`
then returns False as its second value, and its caller must write a record.

Invariants:
1. While the record of a file is kept, the same name and identity always have the same generation.
2. Within one run of the emulator, the generations of a name never decrease. They increase with each
   new identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

__all__ = ["GenerationLedger", "Identity"]

_NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """The state of a file, as shown by stat(). Any change of the file gives another identity."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Return the identity of a file from its stat result."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class GenerationLedger:
    """The last generation of each object name, and the file identity with this generation.

    To save memory, only the hash of an identity is stored: a listing may contain a million names.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def of_file(self, name: str, identity: Identity, recorded: int | None) -> tuple[int, bool]:
        """Return the generation of a file, and whether a restart keeps it without a new record.

        `recorded` is the generation in the record of this identity; None if there is no record.
        """
        identity_hash = hash(identity)
        last = self._last.get(name)
        if last is not None and last[0] == identity_hash:
            return last[1], True
        stored = identity.ctime_ns // _NS_PER_US if recorded is None else recorded
        generation = stored if last is None else max(stored, last[1] + 1)
        self._last[name] = (identity_hash, generation)
        return generation, generation == stored

    def fresh(self, name: str, now_ns: int) -> int:
        """Return a new generation for the object `name`, whose content is in the metadata store."""
        last = self._last.get(name)
        now_us = now_ns // _NS_PER_US
        generation = now_us if last is None else max(now_us, last[1] + 1)
        self._last[name] = (0, generation)
        return generation

    def note(self, name: str, identity: Identity, generation: int) -> None:
        """Store that the file `name` has `generation`."""
        self._last[name] = (hash(identity), generation)
