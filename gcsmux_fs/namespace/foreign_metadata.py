"""What other tools write into an object's custom metadata: links, times, owners and modes.

- `goog-reserved-file-is-symlink`, by gcloud, gsutil, Storage Transfer Service and gcsfuse: `true`
  if the object's content is the target of a symbolic link;
- `gcsfuse_symlink_target`, by older versions of gcsfuse: the target itself;
- `gcsfuse_mtime`, by gcsfuse: RFC 3339, with up to nine digits of a second;
- `goog-reserved-file-mtime` and `-atime`, by gcloud, gsutil and rclone: seconds since the epoch;
- `goog-reserved-posix-uid`, `-gid` and `-mode`, by gcloud and gsutil: numbers, the mode in octal.

Anybody may have written these values: an ill-formed one is left out, as if its key were absent, and
named in `ill_formed`. Everything here is decided from its arguments alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MAX_TARGET_BYTES",
    "NOTHING",
    "ForeignMetadata",
    "Link",
    "is_target",
    "read_foreign_metadata",
]

MAX_TARGET_BYTES = 4095
"""PATH_MAX of <linux/limits.h>, which counts a NUL at the end: no longer link can be followed."""

_IS_LINK = "goog-reserved-file-is-symlink"
_TARGET = "gcsfuse_symlink_target"
_MTIME = "goog-reserved-file-mtime"
_ATIME = "goog-reserved-file-atime"
_PRECISE_MTIME = "gcsfuse_mtime"
_UID = "goog-reserved-posix-uid"
_GID = "goog-reserved-posix-gid"
_MODE = "goog-reserved-posix-mode"

_KEYS = frozenset({_IS_LINK, _TARGET, _MTIME, _ATIME, _PRECISE_MTIME, _UID, _GID, _MODE})

_NS = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The year 10000, where RFC 3339 ends as well.
_END_OF_TIME_SECONDS = 253_402_300_800
# (uid_t) -1 means "leave unchanged" to the system calls, and is nobody's number.
_MAX_ID = 2**32 - 2
# Neither set-user-ID nor set-group-ID: who may write to a bucket must not become somebody else.
_PERMISSIONS = 0o777

_SECONDS = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?")
_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_ID = re.compile(r"[0-9]{1,10}")
_OCTAL = re.compile(r"[0-7]{1,6}")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; `target` is None where the object's content is the target."""

    target: bytes | None
    size: int


@dataclass(frozen=True, slots=True)
class ForeignMetadata:
    """What other tools say of a file; None where they do not.

    Times are in nanoseconds since the epoch; `mode` has permission bits only. `ill_formed` are the
    keys whose values mean nothing.
    """

    link: Link | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    ill_formed: tuple[str, ...] = ()


NOTHING = ForeignMetadata()


def read_foreign_metadata(metadata: Mapping[str, str], size: int) -> ForeignMetadata:
    """Return what the custom metadata of an object of `size` bytes says of a file."""
    if _KEYS.isdisjoint(metadata):
        return NOTHING
    ill_formed: list[str] = []
    if metadata.get(_IS_LINK, "").lower() == "false":
        metadata = {key: value for key, value in metadata.items() if key != _IS_LINK}

    def read(key: str, parse: Callable[[str], Value | None]) -> Value | None:
        text = metadata.get(key)
        if text is None:
            return None
        value = parse(text)
        if value is None:
            ill_formed.append(key)
        return value

    by_content = read(_IS_LINK, lambda text: _content_link(text, size))
    by_metadata = read(_TARGET, _metadata_link)
    precise_mtime = read(_PRECISE_MTIME, _rfc_3339)
    mtime = read(_MTIME, _seconds)
    return ForeignMetadata(
        # An object with both is one of a gcsfuse that stores the target twice, for older ones.
        link=by_content or by_metadata,
        mtime_ns=mtime if precise_mtime is None else precise_mtime,
        atime_ns=read(_ATIME, _seconds),
        uid=read(_UID, _id),
        gid=read(_GID, _id),
        mode=read(_MODE, _mode),
        ill_formed=tuple(ill_formed),
    )


def is_target(target: bytes) -> bool:
    """Tell whether a link can have this target."""
    return 0 < len(target) <= MAX_TARGET_BYTES and b"\0" not in target


def _content_link(text: str, size: int) -> Link | None:
    fits = 0 < size <= MAX_TARGET_BYTES
    return Link(None, size) if text.lower() == "true" and fits else None


def _metadata_link(text: str) -> Link | None:
    target = text.encode()
    return Link(target, len(target)) if is_target(target) else None


def _seconds(text: str) -> int | None:
    match = _SECONDS.fullmatch(text)
    if match is None:
        return None
    seconds = int(match[1])
    return seconds * _NS + _fraction_ns(match[2]) if seconds < _END_OF_TIME_SECONDS else None


def _rfc_3339(text: str) -> int | None:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    offset_hours, offset_minutes = int(match[9] or 0), int(match[10] or 0)
    if offset_hours > 23 or offset_minutes > 59:
        return None
    offset = offset_hours * 3600 + offset_minutes * 60
    seconds = (local - _EPOCH) // timedelta(seconds=1)
    seconds += offset if match[8] == "-" else -offset
    return seconds * _NS + _fraction_ns(match[7])


def _fraction_ns(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _id(text: str) -> int | None:
    number = int(text) if _ID.fullmatch(text) else _MAX_ID + 1
    return number if number <= _MAX_ID else None


def _mode(text: str) -> int | None:
    return int(text, 8) & _PERMISSIONS if _OCTAL.fullmatch(text) else None
