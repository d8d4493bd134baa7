"""Generations of files: the same after a restart, another after every change.

A file's generation is the microsecond of its inode's last change (ctime): that is what the file
itself remembers, it looks like the service's generations, and nobody can set it back. Two changes
that a coarse clock gives the same instant still differ in identity; then, and when the clock was
set back, the next generation is the last one plus one, and `settled` is false: the caller must
record it, so that a restart does not forget it.

Invariants:
1. One name and one identity give one generation, for as long as the record is kept.
2. Within one run the generations of a name never decrease, and grow whenever the identity changes.
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
    """What tells one state of one file from another."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Return the identity that a stat call has seen."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class GenerationLedger:
    """The last generation given to each name, with the identity it was given for.

    An identity is remembered as its hash: what is listed may be a million names.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def of_file(self, name: str, identity: Identity, recorded: int | None) -> tuple[int, bool]:
        """Return the file's generation, and whether it is settled (needs no record).

        `recorded` is the generation recorded for this identity, if there is a record.
        """
        fingerprint = hash(identity)
        last = self._last.get(name)
        if last is not None and last[0] == fingerprint:
            return last[1], True
        own = identity.ctime_ns // _NS_PER_US if recorded is None else recorded
        generation = own if last is None else max(own, last[1] + 1)
        self._last[name] = (fingerprint, generation)
        return generation, generation == own

    def fresh(self, name: str, now_ns: int) -> int:
        """Return a generation for content that is not a plain file."""
        last = self._last.get(name)
        now_us = now_ns // _NS_PER_US
        generation = now_us if last is None else max(now_us, last[1] + 1)
        self._last[name] = (0, generation)
        return generation

    def note(self, name: str, identity: Identity, generation: int) -> None:
        """Remember that `name` has become a file that keeps the generation it had."""
        self._last[name] = (hash(identity), generation)
