"""Applies changes of objects to all cached answers about names; sans-IO.

A change of the object `a/b/c` concerns the entry `c` of the directory `a/b/`. It may also concern
the directories `a/b/` and `a/`: a directory appears with its first object and vanishes with its
last. Cached answers are patched where the change shows exactly what they have to be. All others are
dropped, so that the service is asked.

1. After `apply`, no cached answer about a name is older than the change.
2. An answer that arrives later is patched by the changes that were applied since its request:
   a page of a listing by `replay`, a resolution by `patched`.
3. A directory is hidden only if a valid and complete listing shows that it is empty.
"""

from __future__ import annotations

import enum
import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.namespace.change_log import ChangeLog
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.listing_patch import (
    Spelling,
    doubt_folder,
    drop_placeholder,
    hide_folder,
    patch_object,
    patch_own_object,
    replace_earlier,
    show_folder,
    shows_folder,
)
from gcsmux_fs.namespace.names import SHORT_NAME, part_locations

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.invalidations import Invalidations
    from gcsmux_fs.namespace.listing_cache import CachedListing, ListingCache
    from gcsmux_fs.namespace.object_change import ObjectChange
    from gcsmux_fs.namespace.resolution import Resolution

__all__ = ["NamePatches", "folders_above"]

# What is kept on disk is written within this time. Older changes are known there.
_DISK_SECONDS = 60.0
# Number of directories whose spelling is remembered, because most changes are in few directories.
_CACHED_DIRECTORIES = 1024
_MAX_CACHED_CHARACTERS = 128


class _FolderState(enum.Enum):
    """What the cached listing of a folder shows about the folder."""

    FILLED = enum.auto()
    EMPTY = enum.auto()
    UNKNOWN = enum.auto()


class _Level(NamedTuple):
    """A folder above an object.

    Attributes:
        location: the location of the folder.
        target: its name without the slash.
        above: the location of the directory that has the folder.
        spelling: the file names of the folder; None if a `%part~` directory has them.
    """

    location: str
    target: str
    above: str
    spelling: Spelling | None


def _levels_above(directory: str, root: str) -> tuple[_Level, ...]:
    """Return the folders in the path of a directory, the directory itself first."""
    if len(directory) > _MAX_CACHED_CHARACTERS:
        return _find_levels(directory, root)
    return _cached_levels(directory, root)


@lru_cache(_CACHED_DIRECTORIES)
def _cached_levels(directory: str, root: str) -> tuple[_Level, ...]:
    return _find_levels(directory, root)


def _find_levels(directory: str, root: str) -> tuple[_Level, ...]:
    levels: list[_Level] = []
    end = len(directory)
    while end > len(root):
        start = directory.rfind("/", 0, end - 1) + 1
        target = directory[: end - 1]
        levels.append(_Level(directory[:end], target, directory[:start], Spelling.of(target)))
        end = start
    return tuple(levels)


def folders_above(name: str, root: str) -> Sequence[str]:
    """Return the locations of the folders below `root` that exist because of the object `name`.

    The deepest folder comes first. An object whose name ends with a slash is in this folder.
    """
    return [level.location for level in _levels_above(name[: name.rfind("/") + 1], root)]


class NamePatches:
    """Patches the answers in `listings` and `resolutions`.

    Args:
        listings: the cached listings.
        resolutions: the cached resolutions, by name.
        invalidations: the names that were invalidated.
        is_valid: returns whether a listing is still valid at a time.
        root: the location of the root directory.
        hierarchical: whether folders exist without objects.
    """

    def __init__(
        self,
        listings: ListingCache,
        resolutions: MutableMapping[str, Resolution],
        invalidations: Invalidations,
        is_valid: Callable[[CachedListing, float], bool],
        *,
        root: str,
        hierarchical: bool,
    ) -> None:
        self._listings = listings
        self._resolutions = resolutions
        self._invalidations = invalidations
        self._is_valid = is_valid
        self._root = root
        self._hierarchical = hierarchical
        self.log = ChangeLog()

    def apply(self, change: ObjectChange, now: float) -> Sequence[str]:
        """Patch or drop all cached answers that are older than `change`.

        Return the locations of the folders that may have vanished.
        """
        self.log.note(change, now)
        name = change.name
        if name.endswith("/"):
            is_exact = self._patch_own(change)
        else:
            is_exact = self._patch_object(change, now)
        if name in self._resolutions:
            resolution = self._resolutions[name]
            is_exact &= self._replace(name, resolution, _with_object(resolution, change))
        if is_exact and not self._invalidations.is_empty:
            # All answers about the object are right, and those in flight will be patched.
            self._invalidations.forget(name)
        resolutions, listings = self._resolutions, self._listings
        vanished: list[str] = []
        for level in _levels_above(name[: name.rfind("/") + 1], self._root):
            is_cached = (
                level.target in resolutions or level.above in listings or level.spelling is None
            )
            if change.exists:
                if is_cached:
                    self._show(level, change, now)
                continue
            state = self._state(level.location, now)
            if is_cached:
                self._hide(level, state, change, now)
            if state is _FolderState.FILLED:
                break
            vanished.append(level.location)
        return vanished

    def unknown_folders(self, name: str) -> list[str]:
        """Return the folders above an object that no cached answer shows."""
        return [
            level.location
            for level in _levels_above(name[: name.rfind("/") + 1], self._root)
            if not self._shows(level)
        ]

    # -- answers that arrive

    def replay(self, cached: CachedListing, now: float) -> None:
        """Apply the changes that waited for the page that was just added to a listing."""
        pending, cached.pending = cached.pending, {}
        for (key, _), change in pending.items():
            self._replay_change(cached, key, change, now)

    def replay_log(self, cached: CachedListing, now: float) -> bool:
        """Apply all logged changes to a listing that was kept; return False if that is impossible.

        The place that has kept the listing must know earlier changes (`knows_changes_since_disk`).
        """
        location = cached.listing.location
        for change in self.log.since(cached.begun_at):
            if not change.name.startswith(location):
                continue
            if not location.endswith("/") and location:
                return False
            end = change.name.find("/", len(location)) + 1
            self._replay_change(cached, change.name[: end or None], change, now)
        return True

    def knows_changes_since_disk(self, now: float) -> bool:
        """Return whether the log has all changes that the disk may not have yet."""
        return self.log.dropped_at <= now - _DISK_SECONDS

    def changed_names(self) -> set[str]:
        """Return all targets (see `Step`) that the logged changes concern."""
        targets: set[str] = set()
        for change in self.log.since(-math.inf):
            targets.add(change.name)
            targets.update(location[:-1] for location in folders_above(change.name, self._root))
        return targets

    def patched(self, target: str, resolution: Resolution, now: float) -> Resolution | None:
        """Return an answer that has just arrived with the changes since its request.

        Return None if the changes do not show what the answer has to be.
        """
        log, asked_at = self.log, resolution.asked_at
        if log.dropped_at >= asked_at:
            return None
        patched: Resolution | None = resolution
        if (change := log.change_of(target, asked_at)) is not None:
            patched = _with_object(resolution, change)
        folder = target + "/"
        for change in log.since(asked_at):
            if patched is None:
                break
            if change.name.startswith(folder):
                state = self._state(folder, now)
                if change.exists:
                    state = _FolderState.FILLED
                patched = _with_folder(patched, folder, state, change)
        return patched

    def show_newer(self, info: ObjectInfo) -> None:
        """Replace listed entries of an object by an answer about it that shows a later one.

        Otherwise a program would see the earlier one again, when it lists the directory.
        """
        cut = info.name.rfind("/") + 1
        listings = self._listings.at(info.name[:cut])
        if not listings or not info.name[cut:] or (spelling := Spelling.of(info.name)) is None:
            return
        for cached in listings:
            replace_earlier(cached, spelling, info)
            self._listings.note_patched(cached)

    # -- internals

    def _patch_object(self, change: ObjectChange, now: float) -> bool:
        name = change.name
        cut = name.rfind("/") + 1
        listings = self._listings.at(name[:cut])
        if not listings and len(name) - cut <= SHORT_NAME:
            return True
        spelling = Spelling.of(name)
        if spelling is None:
            self._give_up_parts(name, now)
            return False
        is_exact = True
        for cached in listings:
            is_exact &= patch_object(cached, spelling, change)
            self._listings.note_patched(cached)
        return is_exact

    def _patch_own(self, change: ObjectChange) -> bool:
        is_exact = True
        for cached in self._listings.at(change.name):
            is_exact &= patch_own_object(cached, change)
            self._listings.note_patched(cached)
        return is_exact

    def _replace(self, target: str, resolution: Resolution, patched: Resolution | None) -> bool:
        """Cache a patched resolution; if it is unknown, drop the old one and return False."""
        if patched is None:
            del self._resolutions[target]
        elif patched is not resolution:
            self._resolutions[target] = patched
        return patched is not None

    def _patch_folder(self, level: _Level, state: _FolderState, change: ObjectChange) -> None:
        if level.target in self._resolutions:
            resolution = self._resolutions[level.target]
            is_own = change.name == level.location
            if change.exists and not is_own and resolution.directory is not None:
                return
            patched = _with_folder(resolution, level.location, state, change)
            self._replace(level.target, resolution, patched)

    def _shows(self, level: _Level) -> bool:
        if level.target in self._resolutions:
            return self._resolutions[level.target].directory is not None
        cached = self._listings.peek(level.above)
        if cached is None or level.spelling is None or not cached.trusts(level.spelling.plain):
            return False
        return shows_folder(cached, level.spelling)

    def _show(self, level: _Level, change: ObjectChange, now: float) -> None:
        self._patch_folder(level, _FolderState.FILLED, change)
        spelling = level.spelling
        if spelling is None:
            self._give_up_parts(level.target, now)
            return
        is_own = change.name == level.location
        for cached in self._listings.at(level.above):
            if is_own or not cached.trusts_all or not shows_folder(cached, spelling):
                show_folder(cached, spelling, change, is_own=is_own)
                self._listings.note_patched(cached)

    def _hide(self, level: _Level, state: _FolderState, change: ObjectChange, now: float) -> None:
        self._patch_folder(level, state, change)
        if state is _FolderState.FILLED and change.name != level.location:
            return
        if level.spelling is None:
            self._give_up_parts(level.target, now)
            return
        for cached in self._listings.at(level.above):
            _patch_parent(cached, level.spelling, state, change)
            self._listings.note_patched(cached)

    def _replay_change(
        self, cached: CachedListing, key: str, change: ObjectChange, now: float
    ) -> None:
        """Apply a change to one listing; `key` is the object or the folder that it concerns."""
        if key == cached.listing.location:
            patch_own_object(cached, change)
        elif (spelling := Spelling.of(key.removesuffix("/"))) is None:
            cached.distrust_all()
        elif not key.endswith("/"):
            patch_object(cached, spelling, change)
        elif change.exists:
            show_folder(cached, spelling, change, is_own=key == change.name)
        else:
            _patch_parent(cached, spelling, self._state(key, now), change)
        self._listings.note_patched(cached)

    def _state(self, location: str, now: float) -> _FolderState:
        cached = self._listings.peek(location)
        if cached is None or not self._is_valid(cached, now):
            return _FolderState.UNKNOWN
        if cached.has_trusted_entry or cached.listing.placeholder is not None:
            return _FolderState.FILLED
        is_empty = cached.listing.complete and cached.trusts_all and not self._hierarchical
        return _FolderState.EMPTY if is_empty else _FolderState.UNKNOWN

    def _give_up_parts(self, target: str, now: float) -> None:
        """Discard the listings of all directories that have a part of a long name."""
        parts = part_locations(target)
        for location in (target[: target.rfind("/") + 1], *parts):
            for cached in self._listings.at(location):
                self._listings.give_up(cached)
        for location in parts:
            # The answer of a listing in flight shows whether there is such a directory.
            self._invalidations.note(location, now)


def _patch_parent(
    cached: CachedListing, spelling: Spelling, state: _FolderState, change: ObjectChange
) -> None:
    """Apply the removal of an object to the listing of the directory that has its folder."""
    if state is _FolderState.EMPTY:
        hide_folder(cached, spelling, change)
        return
    if change.name == spelling.target + "/":
        drop_placeholder(cached, spelling, change)
    if state is _FolderState.UNKNOWN:
        doubt_folder(cached, spelling, change)


def _with_object(resolution: Resolution, change: ObjectChange) -> Resolution | None:
    """Return an answer about a name after a change of the object; None if it is unknown."""
    known = resolution.info
    if known is not None and not change.outdates(known):
        return resolution
    if resolution.object_refused is not None or resolution.assumed is not None:
        return None
    if not change.exists:
        return resolution if known is None else replace(resolution, info=None)
    if change.info is None or (known is None and not change.is_after(resolution.asked_at)):
        return None
    return replace(resolution, info=change.info)


def _with_folder(
    resolution: Resolution, location: str, state: _FolderState, change: ObjectChange
) -> Resolution | None:
    """Return an answer about a name after a change of an object in its folder."""
    folder = resolution.directory
    if resolution.assumed is not None:
        return None
    if folder is None and not change.exists:
        return resolution
    if state is _FolderState.UNKNOWN:
        return None
    if state is _FolderState.EMPTY:
        return replace(resolution, directory=None)
    if folder is None:
        if not change.is_after(resolution.asked_at):
            return None
        folder = Directory(location)
    if change.name == location:
        known = folder.placeholder
        if known is None or change.outdates(known):
            if change.exists and change.info is None:
                return None
            folder = Directory(location, change.info)
    return resolution if folder is resolution.directory else replace(resolution, directory=folder)
