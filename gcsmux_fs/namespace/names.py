"""A reversible spelling of object names as paths of Linux file names.

Theory of operation

An object name is cut at its slashes. A component that can be a file name is spelled as itself.
What cannot, or would be ambiguous, gets a *marker*, which is `%`, lower-case letters and `~`; real
components that begin like a marker are spelled by one, so that the two never clash:

- `%~TEXT`: a component that is empty, `.` or `..`, holds a NUL or begins like a marker;
- `%file~TEXT`: the object `TEXT` beside the folder `TEXT/`, which keeps the plain name;
- `%content~`: inside a folder, the object named like the folder with its slash, if it has content;
- `%part~TEXT`: a directory; the component goes on, without a slash, in the entries below.

TEXT is quoted: `%` as `%25`, NUL as `%00`. A spelling of more than 255 bytes is cut into `%part~`
directories, each as long as possible, and a last part that is spelled like any component.

A directory is named by its *location*: the prefix that its objects share. It is the root, or ends
with `/`, or else (a `%part~` directory) ends within a component.

1. Spelling and its reverse need no table and no server: `step` is a pure function.
2. Two objects never share a path: `step` accepts no spelling but the one that `place` gives.
3. Every entry is a legal file name: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
4. No path is longer than three times its object's name and 128 bytes, so that PATH_MAX (4096
   bytes) leaves room for the mount point.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

__all__ = [
    "MAX_FILE_NAME_BYTES",
    "MAX_OBJECT_NAME_BYTES",
    "Form",
    "Place",
    "Step",
    "content_name",
    "encoded_length",
    "is_plain",
    "locate",
    "locate_directory",
    "place",
    "split_location",
    "step",
]

# NAME_MAX of Linux.
MAX_FILE_NAME_BYTES = 255
# https://cloud.google.com/storage/docs/objects#naming
MAX_OBJECT_NAME_BYTES = 1024

_MARKED = re.compile("%[a-z]*~")
_QUOTED = "%~"
_FILE = "%file~"
_CONTENT = "%content~"
_PART = "%part~"
_MAX_PART_BYTES = MAX_FILE_NAME_BYTES - len(_PART)
# The next character did not fit: the widest has 4 bytes (`%25` and `%00` have 3).
_MIN_PART_BYTES = _MAX_PART_BYTES - 3

# Quoting makes at most three bytes of one.
_ALWAYS_FITS_BYTES = (MAX_FILE_NAME_BYTES - len(_PART)) // 3

_PLAIN = re.compile(r"(?!%[a-z]*~|\.{1,2}\Z)[^/\0]+")
# A character takes four bytes at most.
_ALWAYS_FITS_CHARACTERS = MAX_FILE_NAME_BYTES // 4


class Form(enum.Enum):
    """What an entry's name says of the entry."""

    PLAIN = enum.auto()
    FILE = enum.auto()
    CONTENT = enum.auto()
    PART = enum.auto()


_FORM_OF_MARKER = {
    _QUOTED: Form.PLAIN,
    _FILE: Form.FILE,
    _CONTENT: Form.CONTENT,
    _PART: Form.PART,
}


@dataclass(frozen=True, slots=True)
class Step:
    """Where one path component leads.

    PLAIN: the object `target`, or the directory `target` + `/`, which goes first; FILE and
    CONTENT: the object `target`; PART: the directory with the location `target`.
    """

    form: Form
    target: str


@dataclass(frozen=True, slots=True)
class Place:
    """How a component appears in a directory; `part` is the location of a `%part~` directory."""

    name: bytes
    part: str | None = None


def split_location(location: str) -> tuple[str, str]:
    """Split a location after its last slash; the second half is not empty within a component."""
    cut = location.rfind("/") + 1
    return location[:cut], location[cut:]


def step(location: str, name: bytes) -> Step | None:
    """Tell where `name` leads from the directory `location`; None if it is no spelling."""
    parsed = _parse(name)
    if parsed is None:
        return None
    form, text = parsed
    if form is Form.CONTENT:
        return Step(form, location) if location.endswith("/") else None
    if form is Form.PART:
        return Step(form, location + text) if _is_whole_part(text) else None
    found = place(location, split_location(location)[1] + text, form)
    return Step(form, location + text) if found is not None and found.name == name else None


def place(location: str, component: str, form: Form) -> Place | None:
    """Tell how `component`, which begins with the location's partial one, appears in `location`.

    None means that it does not appear here, but in another directory.
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
    """Tell whether the component `name[start:]` is spelled as itself."""
    if _PLAIN.fullmatch(name, start) is None:
        return False
    fits = len(name) - start <= _ALWAYS_FITS_CHARACTERS
    return fits or encoded_length(name[start:]) <= MAX_FILE_NAME_BYTES


def content_name() -> bytes:
    """Return the name of the object that is called like its directory."""
    return _CONTENT.encode()


def locate(target: str, form: Form) -> tuple[str, bytes]:
    """Return the location and the name under which `target` (without its slash) appears."""
    if form is Form.CONTENT:
        return target, content_name()
    location, text = split_location(target)
    while head := _head(text, form):
        location += head
        text = text[len(head) :]
    return location, _spell(text, form).encode()


def locate_directory(location: str) -> tuple[str, bytes]:
    """Return the location and the name under which the directory `location` appears."""
    if location.endswith("/"):
        return locate(location[:-1], Form.PLAIN)
    above, text = split_location(location)
    while (head := _longest_part(text)) != text:
        above += head
        text = text[len(head) :]
    return above, (_PART + _quote(text)).encode()


def encoded_length(text: str) -> int:
    """Return the length of `text` in UTF-8."""
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
    """Return the part to cut off the front of `text`, or "" if its spelling is short enough."""
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
