"""A reversible mapping of object names to paths of Linux file names; sans-IO.

Theory of operation

An object name is cut at its slashes. A component that can be a file name stays unchanged. A
component that cannot be a file name, or that would be ambiguous, gets a *marker*: `%`, lower-case
letters (or none), and `~`. A component that itself begins like a marker is spelled with a marker
too, so a spelling never clashes with a real name:

- `%~TEXT`: a component that is empty, `.` or `..`, holds a NUL, or begins like a marker;
- `%file~TEXT`: the object `TEXT` beside the folder `TEXT/` (the folder keeps the plain name);
- `%content~`: the object named like its folder, with the slash, if the object has content;
- `%part~TEXT`: a directory whose entries continue the component `TEXT`, without a slash.

TEXT is quoted: `%` as `%25`, NUL as `%00`. A spelling of more than 255 bytes is cut into `%part~`
directories, each as long as possible, and a last part that is spelled like any other component.

A *location* names a directory: the prefix that its objects share. It is the root, or ends with a
slash, or (for a `%part~` directory) ends within a component.

1. Spelling and parsing need no table and no server: `step_from` is a pure function.
2. Two objects never share a path: `step_from` accepts only the spelling that `place` returns.
3. Every entry is a legal file name: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
4. No path is longer than three times its object's name plus 128 bytes, so within PATH_MAX
   (4096 bytes) enough bytes are left for the path of the mount point.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

__all__ = [
    "MAX_FILE_NAME_BYTES",
    "MAX_OBJECT_NAME_BYTES",
    "SHORT_NAME",
    "Form",
    "Place",
    "Step",
    "content_name",
    "encoded_length",
    "is_plain",
    "locate",
    "locate_directory",
    "part_locations",
    "place",
    "places_of",
    "places_of_changed",
    "split_location",
    "step_from",
]

MAX_FILE_NAME_BYTES = 255
"""Maximum length of a file name in Linux: NAME_MAX of <linux/limits.h>."""

MAX_OBJECT_NAME_BYTES = 1024
"""Longest object name, in UTF-8: https://cloud.google.com/storage/docs/objects#naming."""

SHORT_NAME = 60
"""Components of up to this many characters are never cut into parts."""

_MARKED = re.compile("%[a-z]*~")
_QUOTED = "%~"
_FILE = "%file~"
_CONTENT = "%content~"
_PART = "%part~"
_MAX_PART_BYTES = MAX_FILE_NAME_BYTES - len(_PART)
# A part is at most 3 bytes shorter than the maximum, because a character has at most 4 bytes.
_MIN_PART_BYTES = _MAX_PART_BYTES - 3

# A text of up to this length fits in every spelling, because quoting turns one byte into three at
# most.
_ALWAYS_FITS_BYTES = (MAX_FILE_NAME_BYTES - len(_PART)) // 3

_PLAIN = re.compile(r"(?!%[a-z]*~|\.{1,2}\Z)[^/\0]+")
# A component of up to this many characters fits, because a character takes four bytes at most.
_ALWAYS_FITS_CHARACTERS = MAX_FILE_NAME_BYTES // 4


class Form(enum.Enum):
    """The kind of a file name, which its marker shows."""

    PLAIN = enum.auto()
    """No marker, or the marker `%~`."""

    FILE = enum.auto()
    """The marker `%file~`."""

    CONTENT = enum.auto()
    """The marker `%content~`."""

    PART = enum.auto()
    """The marker `%part~`."""


_FORM_OF_MARKER = {
    _QUOTED: Form.PLAIN,
    _FILE: Form.FILE,
    _CONTENT: Form.CONTENT,
    _PART: Form.PART,
}


@dataclass(frozen=True, slots=True)
class Step:
    """What one file name of a path leads to, depending on its form.

    PLAIN: the directory `target` + `/` if it exists, otherwise the object `target`.
    FILE and CONTENT: the object `target`.
    PART: the directory with the location `target`.
    """

    form: Form
    target: str


@dataclass(frozen=True, slots=True)
class Place:
    """The entry under which a component appears in a directory.

    If the component continues in a `%part~` directory, `part` is the location of this directory.
    """

    name: bytes
    part: str | None = None


def split_location(location: str) -> tuple[str, str]:
    """Split a location after its last slash.

    The second half is empty, unless the location is that of a `%part~` directory.
    """
    cut = location.rfind("/") + 1
    return location[:cut], location[cut:]


def step_from(location: str, name: bytes) -> Step | None:
    """Return what the file name `name` leads to in a directory; None if no entry can have it."""
    parsed = _parse(name)
    if parsed is None:
        return None
    form, text = parsed
    if form is Form.CONTENT:
        return Step(form, location) if location.endswith("/") else None
    if form is Form.PART:
        return Step(form, location + text) if _is_whole_part(text) else None
    placed = place(location, split_location(location)[1] + text, form)
    is_spelling = placed is not None and placed.name == name
    return Step(form, location + text) if is_spelling else None


def place(location: str, component: str, form: Form) -> Place | None:
    """Return the entry under which `component` appears in the directory `location`, if it does.

    In a `%part~` directory, `component` is the whole component: it begins with the text after the
    last slash of `location`. None means that the component appears in another directory.
    """
    partial = split_location(location)[1]
    text, length = component, 0
    while length < len(partial):
        head = _head(text, form)
        if not head:
            return None
        length += len(head)
        text = text[len(head) :]
    if length != len(partial):
        return None
    head = _head(text, form)
    if head:
        return Place((_PART + _quote(head)).encode(), location + head)
    return Place(_spell(text, form).encode())


def is_plain(name: str, start: int) -> bool:
    """Return whether the component `name[start:]` is a file name without any change."""
    if _PLAIN.fullmatch(name, start) is None:
        return False
    fits = len(name) - start <= _ALWAYS_FITS_CHARACTERS
    return fits or encoded_length(name[start:]) <= MAX_FILE_NAME_BYTES


def content_name() -> bytes:
    """Return the file name of the object that is named like its directory."""
    return _CONTENT.encode()


def locate(target: str, form: Form) -> tuple[str, bytes]:
    """Return the location and the file name under which an object or a directory appears.

    `target` is an object name, or the location of a directory without its slash.
    """
    if form is Form.CONTENT:
        return target, content_name()
    location, text = split_location(target)
    while head := _head(text, form):
        location += head
        text = text[len(head) :]
    return location, _spell(text, form).encode()


def locate_directory(location: str) -> tuple[str, bytes]:
    """Return the location and the file name under which the directory `location` appears."""
    if location.endswith("/"):
        return locate(location[:-1], Form.PLAIN)
    above, text = split_location(location)
    while (head := _longest_part(text)) != text:
        above += head
        text = text[len(head) :]
    return above, (_PART + _quote(text)).encode()


def places_of(name: str) -> list[tuple[str, bytes]]:
    """Return each location and file name under which the object `name` can appear."""
    forms = [Form.CONTENT] if name.endswith("/") else [Form.PLAIN, Form.FILE]
    return [locate(name, form) for form in forms]


def places_of_changed(name: str) -> list[tuple[str, bytes]]:
    """Return the entries that an invalidation of an object, or of all names below it, concerns.

    `name` is the name of an object, or a prefix that is empty or ends with a slash.
    """
    if not name:
        return []
    return places_of(name) + ([locate_directory(name)] if name.endswith("/") else [])


def part_locations(target: str) -> list[str]:
    """Return the locations of all `%part~` directories that the object `target` can be in."""
    locations: list[str] = []
    for form in (Form.PLAIN, Form.FILE):
        location, text = split_location(target)
        while head := _head(text, form):
            location += head
            text = text[len(head) :]
            locations.append(location)
    return locations


def encoded_length(text: str) -> int:
    """Return the length of `text` in UTF-8, in bytes."""
    return len(text) if text.isascii() else len(text.encode())


def _parse(name: bytes) -> tuple[Form, str] | None:
    if len(name) > MAX_FILE_NAME_BYTES or b"/" in name:
        return None
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    if not (marker := _MARKED.match(text)):
        return Form.PLAIN, text
    form = _FORM_OF_MARKER.get(marker[0])
    quoted = text[marker.end() :]
    text = quoted.replace("%00", "\0").replace("%25", "%")
    if form is None or _quote(text) != quoted:
        return None
    if not text and form is Form.FILE:
        return None
    if text and form is Form.CONTENT:
        return None
    return form, text


def _quote(text: str) -> str:
    return text.replace("%", "%25").replace("\0", "%00")


def _spell(text: str, form: Form) -> str:
    if form is Form.FILE:
        return _FILE + _quote(text)
    if text in ("", ".", "..") or "\0" in text or _MARKED.match(text):
        return _QUOTED + _quote(text)
    return text


def _head(text: str, form: Form) -> str:
    """Return the beginning of `text` that becomes a `%part~` directory; "" if `text` fits."""
    if encoded_length(text) <= _ALWAYS_FITS_BYTES:
        return ""
    if encoded_length(_spell(text, form)) <= MAX_FILE_NAME_BYTES:
        return ""
    return _longest_part(text)


def _longest_part(text: str) -> str:
    length = 0
    for index, character in enumerate(text):
        length += encoded_length(_quote(character))
        if length > _MAX_PART_BYTES:
            return text[:index]
    return text


def _is_whole_part(text: str) -> bool:
    return _MIN_PART_BYTES <= encoded_length(_quote(text)) <= _MAX_PART_BYTES
