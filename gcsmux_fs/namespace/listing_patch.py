"""Applies changes of objects to one listing; sans-IO.

1. If a change shows exactly what an entry is, the entry is replaced, removed or added, and trusted.
   Otherwise it is distrusted, so that the next lookup asks the service.
2. An entry is never replaced by an older generation or metageneration.
3. A change of a name that is on a later page waits in `CachedListing.pending` until the page has
   come.

`patch_object` and `patch_own_object` return True if the listing shows the object exactly now, or
will when the next page comes, and False if they distrust it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.names import (
    MAX_FILE_NAME_BYTES,
    Form,
    content_name,
    is_plain,
    place,
    split_location,
)
from gcsmux_fs.namespace.patched_listing import Reach

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.listing_cache import CachedListing
    from gcsmux_fs.namespace.object_change import ObjectChange

__all__ = [
    "Spelling",
    "doubt_folder",
    "drop_placeholder",
    "hide_folder",
    "patch_object",
    "patch_own_object",
    "replace_earlier",
    "show_folder",
    "shows_folder",
]

_BESIDE = b"%file~"
# A name of this length has room for the marker of an object beside its folder.
_MAX_SIMPLE_BYTES = MAX_FILE_NAME_BYTES - len(_BESIDE)


class Spelling(NamedTuple):
    """The file names of the object `target`, and of the folder `target` + `/`.

    The folder, or an object without a folder beside it, has the name `plain`. An object beside its
    folder has the name `beside`.
    """

    target: str
    plain: bytes
    beside: bytes

    @classmethod
    def of(cls, target: str) -> Spelling | None:
        """Return the spelling of a name; None if a `%part~` directory has the name."""
        location, component = split_location(target)
        if (
            len(component) <= _MAX_SIMPLE_BYTES
            and "%" not in component
            and component.isascii()
            and is_plain(component, 0)
        ):
            name = component.encode()
            return cls(target, name, _BESIDE + name)
        plain = place(location, component, Form.PLAIN)
        beside = place(location, component, Form.FILE) if component else plain
        if plain is None or beside is None or plain.part or beside.part:
            return None
        return cls(target, plain.name, beside.name)


def patch_object(cached: CachedListing, spelling: Spelling, change: ObjectChange) -> bool:
    """Apply the change of an object whose name does not end with a slash."""
    listing, target = cached.listing, spelling.target
    reach = listing.reach(target)
    if reach is not Reach.SHOWN:
        cached.pending[target, False] = change
        if reach is Reach.AHEAD:
            return True
        held = listing.held(target)
        if held is not None or not _shows_object(cached, spelling):
            return _patch_held(cached, spelling, change, held)
    name, row = spelling.plain, listing.find(spelling.plain)
    if isinstance(row, Directory):
        name, row = spelling.beside, listing.find(spelling.beside)
    if row is None:
        if not change.exists:
            if change.is_certain:
                cached.trust(spelling.plain, spelling.beside)
            return True
        if change.info is None or not change.is_after(cached.begun_at):
            return _distrust_object(cached, spelling)
        listing.add_object(name, change.info)
        cached.note_name(target)
    elif isinstance(row, Row) and not change.outdates_row(row):
        return True
    elif not change.exists:
        listing.remove(name)
    elif change.info is None:
        return _distrust_object(cached, spelling)
    else:
        listing.put_object(name, change.info)
    cached.trust(spelling.plain, spelling.beside)
    return True


def patch_own_object(cached: CachedListing, change: ObjectChange) -> bool:
    """Apply the change of the object that is named like the directory, with the slash."""
    listing = cached.listing
    if not listing.pages:
        cached.pending[change.name, True] = change
        return True
    known = listing.placeholder
    name = content_name()
    if known is None:
        if not change.exists:
            return True
        if change.info is None or not change.is_after(cached.begun_at):
            cached.distrust(name)
            return False
    elif not change.outdates(known):
        return True
    elif change.exists and change.info is None:
        cached.distrust(name)
        return False
    listing.placeholder = info = change.info if change.exists else None
    if info is not None and info.size:
        listing.put_object(name, info)
    else:
        listing.remove(name)
    cached.trust(name)
    return True


def replace_earlier(cached: CachedListing, spelling: Spelling, info: ObjectInfo) -> None:
    """Replace the entry of an object if it has an earlier generation or metageneration."""
    listing = cached.listing
    if listing.reach(spelling.target) is not Reach.SHOWN:
        return
    name, row = spelling.plain, listing.find(spelling.plain)
    if isinstance(row, Directory):
        name, row = spelling.beside, listing.find(spelling.beside)
    if isinstance(row, Row):
        objects, index = row
        listed = objects.generations[index], objects.traits[index].metageneration
        if listed < (info.generation, info.metageneration):
            listing.put_object(name, info)


def shows_folder(cached: CachedListing, spelling: Spelling) -> bool:
    """Return whether a listing has the entry of a folder."""
    return isinstance(cached.listing.find(spelling.plain), Directory)


def show_folder(
    cached: CachedListing, spelling: Spelling, change: ObjectChange, *, is_own: bool
) -> None:
    """Show a folder, because an object in it exists.

    If `is_own`, the object is the placeholder object of the folder.
    """
    listing, location = cached.listing, spelling.target + "/"
    if listing.reach(location) is not Reach.SHOWN:
        cached.pending[location, change.name == location] = change
        return
    child = listing.find(spelling.plain)
    if isinstance(child, Directory):
        if is_own:
            _set_placeholder(cached, spelling, child, change)
        cached.trust_folder(spelling.plain, spelling.beside)
        return
    if not change.is_after(cached.begun_at):
        _distrust_folder(cached, spelling)
        return
    if child is not None:
        listing.rename(spelling.plain, spelling.beside)
    folder = Directory(location)
    listing.put_directory(spelling.plain, folder)
    if is_own:
        _set_placeholder(cached, spelling, folder, change)
    cached.note_name(location)
    cached.trust_folder(spelling.plain, spelling.beside)


def hide_folder(cached: CachedListing, spelling: Spelling, change: ObjectChange) -> None:
    """Hide a folder, because its last object was removed."""
    listing, location = cached.listing, spelling.target + "/"
    if listing.reach(location) is not Reach.SHOWN:
        cached.pending[location, change.name == location] = change
        return
    if isinstance(listing.find(spelling.plain), Directory):
        if listing.find(spelling.beside) is not None and spelling.beside != spelling.plain:
            listing.rename(spelling.beside, spelling.plain)
        else:
            listing.remove(spelling.plain)
    cached.trust_folder(spelling.plain, spelling.beside)


def doubt_folder(cached: CachedListing, spelling: Spelling, change: ObjectChange) -> None:
    """Distrust a folder, because the object that was removed may have been its last."""
    location = spelling.target + "/"
    if cached.listing.reach(location) is not Reach.SHOWN:
        cached.pending[location, change.name == location] = change
    elif shows_folder(cached, spelling):
        _distrust_folder(cached, spelling)


def drop_placeholder(cached: CachedListing, spelling: Spelling, change: ObjectChange) -> None:
    """Record that the placeholder object of a folder that stays was removed."""
    child = cached.listing.find(spelling.plain)
    if isinstance(child, Directory):
        _set_placeholder(cached, spelling, child, change)


def _set_placeholder(
    cached: CachedListing, spelling: Spelling, folder: Directory, change: ObjectChange
) -> None:
    """Give a folder its placeholder object, or none; distrust the folder if it is unknown."""
    known, info = folder.placeholder, change.info
    if known is not None and not change.outdates(known):
        return
    if change.exists and info is None:
        cached.distrust_folder_object(spelling.plain)
        return
    if info is not known:
        cached.listing.put_directory(spelling.plain, Directory(folder.location, info))
    cached.trust_folder_object(spelling.plain)


def _distrust_object(cached: CachedListing, spelling: Spelling) -> bool:
    """Distrust what is known about an object; return False."""
    cached.distrust(spelling.plain)
    cached.distrust(spelling.beside)
    return False


def _distrust_folder(cached: CachedListing, spelling: Spelling) -> None:
    """Distrust what is known about a folder, and about the object beside it."""
    cached.distrust_folder(spelling.plain)
    cached.distrust_folder(spelling.beside)


def _shows_object(cached: CachedListing, spelling: Spelling) -> bool:
    """Return whether a listing has an entry of an object."""
    listing = cached.listing
    return any(isinstance(listing.find(name), Row) for name in (spelling.plain, spelling.beside))


def _patch_held(
    cached: CachedListing, spelling: Spelling, change: ObjectChange, held: Row | None
) -> bool:
    if held is not None and not change.outdates_row(held):
        return True
    if not change.exists:
        cached.listing.hold(spelling.target, None)
    elif change.info is None or (held is None and not change.is_after(cached.begun_at)):
        return _distrust_object(cached, spelling)
    else:
        cached.listing.hold(spelling.target, change.info)
    return True
