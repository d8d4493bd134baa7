"""Applies changes of objects to a tree: to its cached answers and to its inodes; sans-IO.

A change makes the inodes of older generations GONE: they can no longer be opened, so a program that
opens the name gets the newest generation, even if the kernel still holds the old name. Open files
keep their generation.

The kernel has its own cache of names. `apply` returns whether it may hold a name that has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.namespace.absent_names import AbsentNames
from gcsmux_fs.namespace.name_patches import folders_above
from gcsmux_fs.namespace.names import SHORT_NAME, part_locations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsmux_fs.namespace.inodes import InodeTable
    from gcsmux_fs.namespace.name_cache import NameCache
    from gcsmux_fs.namespace.object_change import ObjectChange

__all__ = ["TreeChanges"]


class TreeChanges:
    """The changes of one tree.

    Args:
        inodes: the inodes of the tree.
        cache: the cached answers of the tree.
        clock: returns the time in seconds.
        is_expected: whether there will be changes.
    """

    def __init__(
        self,
        inodes: InodeTable,
        cache: NameCache,
        clock: Callable[[], float],
        *,
        is_expected: bool,
    ) -> None:
        self._inodes = inodes
        self._cache = cache
        self._clock = clock
        self._absent = AbsentNames()
        self._is_expected = is_expected
        if is_expected:
            inodes.files.index_names()

    @property
    def root(self) -> str:
        """The location of the root directory: changes of objects outside of it do not matter."""
        return self._inodes.root.location

    def apply(self, changes: Iterable[ObjectChange]) -> bool:
        """Apply changes of objects below the root; each is newer than those of the same object.

        Return whether the kernel may hold a name that has changed.
        """
        self._inodes.files.index_names()
        now = self._clock()
        is_held = False
        for change in changes:
            vanished = self._cache.apply_change(change, now)
            # Each call changes inodes, so all of them are made.
            is_held |= self._apply_to_files(change)
            is_held |= self._apply_to_directory(change)
            is_held = is_held or self._is_name_held(change, vanished, now)
        return is_held

    def known_size(self, name: str, generation: int) -> int | None:
        """Return the size of a generation in bytes; None if it is unknown."""
        for number in self._inodes.files.named(name):
            info = self._inodes.files.get(number)
            if info is not None and info.generation == generation:
                return info.size
        known = self._cache.known_object(name)
        return known.size if known is not None and known.generation == generation else None

    def note_absent(self, target: str, valid_until: float) -> None:
        """Record that the kernel may hold the file names of `target` as absent until a time."""
        if self._is_expected:
            self._absent.note(target, valid_until)

    def note_names_dropped(self) -> None:
        """Record that the kernel looks up all names again."""
        self._absent.clear()

    def _apply_to_files(self, change: ObjectChange) -> bool:
        """Change the states of the object's inodes; return whether one of them is outdated."""
        files = self._inodes.files
        if not files.is_known(change.name):
            return False
        is_outdated = False
        for number in files.named(change.name):
            row = files.row(number)
            if row is None or not change.outdates_row(row):
                continue
            is_outdated = True
            if row.objects.generations[row.row_index] < change.generation or not change.exists:
                files.mark_gone(number)
        return is_outdated

    def _apply_to_directory(self, change: ObjectChange) -> bool:
        """Give a directory its new placeholder object; return whether it has changed."""
        directory = self._inodes.directory_at(change.name)
        if directory is None:
            return False
        known = directory.placeholder
        if known is not None and not change.outdates(known):
            return False
        if not change.exists:
            directory.placeholder = None
        else:
            directory.update_placeholder(change.info)
        return directory.placeholder is not known or change.info is None

    def _is_name_held(self, change: ObjectChange, vanished: Iterable[str], now: float) -> bool:
        files, absent = self._inodes.files, self._absent
        if any(
            self._inodes.directory_at(location) is not None or files.is_known(location[:-1])
            for location in vanished
        ):
            return True
        if self._is_part_held(change.name, now):
            return True
        if not change.exists or not (absent or files):
            return False
        if absent.may_hold(change.name, now):
            return True
        for location in folders_above(change.name, self.root):
            if absent.may_hold(location[:-1], now):
                return True
            # An object beside a new folder gets another file name.
            if self._inodes.directory_at(location) is None and files.is_known(location[:-1]):
                return True
        return False

    def _is_part_held(self, name: str, now: float) -> bool:
        """Return whether the kernel may hold a `%part~` directory of a long name."""
        if len(name) <= SHORT_NAME or all(len(each) <= SHORT_NAME for each in name.split("/")):
            return False
        targets = {name, *(location[:-1] for location in folders_above(name, self.root))}
        return any(
            self._absent.may_hold(part, now) or self._inodes.directory_at(part) is not None
            for target in targets
            for part in part_locations(target)
        )
