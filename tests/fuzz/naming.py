"""Fuzz targets: conversion of object names to paths, and of listing pages to directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.listing import Listing
from gcsmux_fs.namespace.names import (
    MAX_FILE_NAME_BYTES,
    Form,
    is_plain,
    locate,
    locate_directory,
    place,
    split_location,
    step_from,
)
from gcsmux_fs.storage.listing_decoder import decode_listing
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .source import Source

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ListingPage

__all__ = ["listing_bytes", "listing_pages", "names_of_objects", "names_of_paths"]

# Maximum size of a path, in addition to three times the size of the object name: see the fourth
# invariant in gcsmux_fs.namespace.names.
_EXTRA_PATH_BYTES = 128
# Parts of difficult names: separators, dots, escape marks, and characters that are sorted before or
# after a slash.
_PIECES = (
    *("a", "/", "", ".", "..", "%", "%~", "%file~", "%part~", "%content~", "-", "0", "é", "\0"),
    *("\n", "\u202e", "\U0010ffff", "x" * 249, "~", "b/", "a/", "\ue000", "\x1b[31m"),
)


def _is_legal(name: bytes) -> bool:
    return (
        0 < len(name) <= MAX_FILE_NAME_BYTES
        and b"/" not in name
        and b"\0" not in name
        and name not in (b".", b"..")
    )


def _reach(location: str) -> list[bytes]:
    """Return the names of a directory and of all directories above it, up to the root.

    For each directory check that converting its location to a name and back gives this location.
    """
    path: list[bytes] = []
    while location:
        above, name = locate_directory(location)
        resolved = step_from(above, name)
        assert resolved is not None
        reached = resolved.target if resolved.form is Form.PART else resolved.target + "/"
        assert reached == location
        assert len(above) < len(location)
        path.append(name)
        location = above
    return path


def names_of_objects(data: bytes) -> None:
    """Convert any object name to a path and back; each file name in the path must be legal."""
    source = Source(data)
    beside_folder = source.flag()
    target = source.rest().decode("utf-8", "ignore")
    if not target:
        return
    if target.endswith("/"):
        form = Form.CONTENT
    else:
        form = Form.FILE if beside_folder and split_location(target)[1] else Form.PLAIN
    location, name = locate(target, form)
    path = [name, *_reach(location)]
    assert all(map(_is_legal, path))
    length = sum(len(each) + 1 for each in path)
    assert length <= 3 * len(target.encode()) + _EXTRA_PATH_BYTES
    back = step_from(location, name)
    assert back is not None
    assert (back.form, back.target) == (form, target)
    if form is not Form.CONTENT:
        component = split_location(target)[1]
        placed = place(location, component, form)
        assert placed is not None
        assert placed.name == name
        if form is Form.PLAIN and location == split_location(location)[0]:
            assert is_plain(target, len(location)) == (name == component.encode())


def names_of_paths(data: bytes) -> None:
    """Convert any valid file name to an object name and back; the file name must stay the same."""
    source = Source(data)
    location = source.take(source.number(2) % 600).decode("utf-8", "ignore")
    cut = split_location(location)[0]
    if cut != location:
        # This location is inside of a component. Such a location is a directory only if `locate`
        # splits a long component at this location; otherwise use another location.
        above, name = locate(location + "x" * MAX_FILE_NAME_BYTES, Form.PLAIN)
        location = above if above.startswith(cut) else cut
        del name
    name = source.rest()
    resolved = step_from(location, name)
    if resolved is None:
        return
    assert _is_legal(name)
    if resolved.form is Form.PART:
        assert locate_directory(resolved.target) == (location, name)
    else:
        assert locate(resolved.target, resolved.form) == (location, name)


def listing_bytes(data: bytes) -> None:
    """Decode listing pages from arbitrary bytes; the result must be valid entries or an error."""
    source = Source(data)
    pages: list[ListingPage] = []
    location = source.choice(("", "a/", "a", "x" * 249))
    while source:
        try:
            message = pb.ListObjectsResponse.FromString(source.take(source.number(2)))
        except DecodeError:
            continue
        pages.append(decode_listing(message))
    _list(location, pages)


def listing_pages(data: bytes) -> None:
    """Add listing pages with names that are likely to collide; the entries must be valid."""
    source = Source(data)
    location = source.choice(("", "a/", "x" * 249, "a/b/"))
    pages: list[ListingPage] = []
    while source:
        objects: list[pb.Object] = []
        prefixes: list[str] = []
        for _ in range(source.number() % 8):
            name = location + "".join(source.choice(_PIECES) for _ in range(source.number() % 5))
            if source.flag():
                objects.append(pb.Object(name=name, generation=1, size=source.number()))
            else:
                prefixes.append(name + "/" * source.flag())
        if source.flag():
            objects.sort(key=lambda each: each.name)
            prefixes.sort()
        token = source.choice(("1", "2", "3", "4", "5", "6", ""))
        message = pb.ListObjectsResponse(objects=objects, prefixes=prefixes, next_page_token=token)
        pages.append(decode_listing(message))
    _list(location, pages)


def _list(location: str, pages: list[ListingPage]) -> None:
    """Add pages until a page is refused. A page must not change the entries of earlier pages."""
    listing = Listing(location)
    shown: list[bytes] = []
    for page in pages:
        if listing.complete:
            break
        try:
            listing.add_page(page)
        except StorageError:
            break
        names = [name for name, _ in listing.entries_from(0)]
        assert names[: len(shown)] == shown
        shown = names
    _check_entries(location, listing)


def _check_entries(location: str, listing: Listing) -> None:
    entries = list(listing.entries_from(0))
    assert len(entries) == len(listing)
    assert len({name for name, _ in entries}) == len(entries)
    for position, (name, child) in enumerate(entries):
        assert _is_legal(name), name
        assert listing.position_of(name) == position
        resolved = step_from(location, name)
        assert resolved is not None, name
        if isinstance(child, Directory):
            assert child.location == (
                resolved.target if resolved.form is Form.PART else resolved.target + "/"
            )
            assert listing.file_at(position) is None
        else:
            assert resolved.target == child.info.name
            assert listing.file_at(position) == child.info
        assert listing.find(name) == child
    assert listing.find(b"no such name") is None
