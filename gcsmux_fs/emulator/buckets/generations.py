"""Generations of files: unchanged by a restart, and new after every change of the file.

A file's generation is its ctime in microseconds. The file itself stores the ctime, no program can
set it, and it looks like a generation of the service. Two changes within one tick of a coarse clock
have the same ctime. Such a change, or a change after the clock was set back, gets the last
generation plus one. The caller must record this generation, because the file does not store it:
`of_file` then returns False as its second value.

Invariants:
1. While a record is kept, one name and one identity have one generation.
2. Within one run, the generations of a name never decrease, and increase with each new identity.
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
    """The state of a file, as far as stat shows it. Any change of the file changes it."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Return the identity in the result of a stat call."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class GenerationLedger:
    """The last generation of each name, and the identity that has it.

    It stores only the hash of an identity, because a listing may contain a million names.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def of_file(self, name: str, identity: Identity, recorded: int | None) -> tuple[int, bool]:
        """Return the generation of a file, and whether a restart would find it without a record.

        `recorded` is the generation in the record of this identity; None without a record.
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
        """Return a new generation for content in the metadata store."""
        last = self._last.get(name)
        now_us = now_ns // _NS_PER_US
        generation = now_us if last is None else max(now_us, last[1] + 1)
        self._last[name] = (0, generation)
        return generation

    def note(self, name: str, identity: Identity, generation: int) -> None:
        """Store that the file `name` has `generation`."""
        self._last[name] = (hash(identity), generation)
