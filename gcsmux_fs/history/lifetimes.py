"""Decides which generations a bucket had at one time; sans-IO.

Theory of operation

A generation was alive at a time if it existed then: it was created at this time or before, and it
was not overwritten or deleted yet. At most one generation of a name is alive at a time. If two
servers disagree by a few microseconds, the newer generation counts.

Live and noncurrent generations come from one listing, and soft-deleted generations from another
one. A `VersionReader` collects the pages of one listing. `merge` joins the readers.

1. A page may end between two generations of a name, or between a folder and its placeholder object.
   So the last key of a page counts only after a later key or the end of the listing was seen. A key
   is the name of an object, or a prefix.
2. The merged page ends where the first of the listings ends. Keys after this place are listed again
   for the next page, so no state is kept between pages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gcsmux_fs.model.object_versions import ObjectVersion, VersionPage
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["AlivePage", "VersionReader", "alive_by_name", "is_alive", "merge"]


def is_alive(version: ObjectVersion, at_ns: int) -> bool:
    """Return whether a generation existed at a time."""
    return version.created_ns <= at_ns and (version.ended_ns is None or at_ns < version.ended_ns)


def alive_by_name(versions: Iterable[ObjectVersion], at_ns: int) -> dict[str, ObjectVersion]:
    """Return the generation of each name that was alive at a time."""
    alive: dict[str, ObjectVersion] = {}
    for version in versions:
        name = version.info.name
        if is_alive(version, at_ns):
            known = alive.get(name)
            if known is None or known.info.generation < version.info.generation:
                alive[name] = version
    return alive


def as_shown(version: ObjectVersion, at_ns: int) -> ObjectInfo:
    """Return the metadata of a generation without a modification time after `at_ns`.

    The service changes the time of the last update when a generation becomes noncurrent.
    """
    info = version.info
    return info if info.mtime_ns <= at_ns else replace(info, mtime_ns=version.created_ns)


class VersionReader:
    """Collects the pages of one listing of generations."""

    def __init__(self) -> None:
        self.versions: list[ObjectVersion] = []
        self.prefixes: list[str] = []
        self.page_token = ""
        self._complete = False

    def add(self, page: VersionPage) -> None:
        """Add the next page."""
        self.versions += page.versions
        self.prefixes += page.prefixes
        self.page_token = page.next_page_token
        self._complete = not page.next_page_token

    @property
    def bound(self) -> str | None:
        """The key before which all keys are known; None if all keys are known."""
        if self._complete:
            return None
        names = [version.info.name for version in self.versions]
        return max([*names, *self.prefixes], default="")

    @property
    def has_certain_key(self) -> bool:
        """Whether a key before `bound` is known, or the listing is complete."""
        bound = self.bound
        return bound is None or any(
            key < bound
            for key in (*(version.info.name for version in self.versions), *self.prefixes)
        )


@dataclass(frozen=True, slots=True)
class AlivePage:
    """The objects that were alive, and prefixes that still have to be checked, sorted.

    `next_key` is the key at which the next page begins; None after the last page.
    `hidden` counts the generations that were soft-deleted, and so cannot be read.
    """

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[str]
    next_key: str | None
    hidden: int = 0


def merge(readers: Sequence[VersionReader], at_ns: int, page_size: int) -> AlivePage:
    """Return at most `page_size` objects that were alive at a time, and prefixes, of all readers.

    Each reader must have a certain key.
    """
    bounds = [reader.bound for reader in readers]
    next_key = min((bound for bound in bounds if bound is not None), default=None)
    versions = (
        version
        for reader in readers
        for version in reader.versions
        if next_key is None or version.info.name < next_key
    )
    alive = alive_by_name(versions, at_ns)
    prefixes = {
        prefix
        for reader in readers
        for prefix in reader.prefixes
        if next_key is None or prefix < next_key
    }
    keys = sorted({*alive, *prefixes})
    if len(keys) > page_size:
        next_key = keys[page_size]
        keys = keys[:page_size]
    shown = [alive[key] for key in keys if key in alive]
    return AlivePage(
        [as_shown(version, at_ns) for version in shown],
        [key for key in keys if key in prefixes],
        next_key,
        sum(version.soft_deleted for version in shown),
    )
