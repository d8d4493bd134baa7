"""Links, times, owners and modes that other tools write into custom metadata; sans-IO.

- `goog-reserved-file-is-symlink`, written by gcloud, gsutil, Storage Transfer Service and gcsfuse:
  `true` if the object's content is the target of a symbolic link;
- `gcsfuse_symlink_target`, written by older versions of gcsfuse: the target of a symbolic link;
- `gcsfuse_mtime`, written by gcsfuse: a time in RFC 3339, with up to nine decimals of a second;
- `goog-reserved-file-mtime` and `-atime`, written by gcloud, gsutil and rclone: seconds since 1970;
- `goog-reserved-posix-uid`, `-gid` and `-mode`, written by gcloud and gsutil: numbers (the mode in
  octal).

Any program may have written these values. An ill-formed value is ignored, as if its key were
absent, and its key is listed in `ill_formed`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

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
"""Maximum target that Linux follows: PATH_MAX of <linux/limits.h> minus the final NUL."""

_IS_LINK = "goog-reserved-file-is-symlink"
_TARGET = "gcsfuse_symlink_target"
_MTIME = "goog-reserved-file-mtime"
_ATIME = "goog-reserved-file-atime"
_PRECISE_MTIME = "gcsfuse_mtime"
_UID = "goog-reserved-posix-uid"
_GID = "goog-reserved-posix-gid"
_MODE = "goog-reserved-posix-mode"

_NS = 10**9
_EPOCH = datetime(1970, 1, 1)
# Seconds from 1970 to the beginning of the year 10000. RFC 3339 cannot express later times.
_END_OF_TIME_SECONDS = 253_402_300_800
# The largest user or group number. The next number, (uid_t) -1, means "leave unchanged" in system
# calls.
_MAX_ID = 2**32 - 2
# The mode bits that a mount shows. Set-user-ID and set-group-ID are left out, because a writer of
# the bucket must not gain the rights of another user on this machine.
_PERMISSIONS = 0o777

_SECONDS = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?")
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_ID = re.compile(r"[0-9]{1,10}")
_OCTAL = re.compile(r"[0-7]{1,6}")


class Link(NamedTuple):
    """A symbolic link; `target` is None if the object's content is the target.

    `size` is the length of the target in bytes.
    """

    target: bytes | None
    size: int


class ForeignMetadata(NamedTuple):
    """Attributes of a file that other tools stored; None for an attribute that is not stored.

    Times are in nanoseconds since the epoch. `mode` has permission bits only. `ill_formed` lists
    the keys whose values were ignored.
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
    """Return the attributes that are stored in the custom metadata of an object of `size` bytes."""
    if _PARSERS.keys().isdisjoint(metadata):
        return NOTHING
    values: dict[str, Any] = {}
    ill_formed: tuple[str, ...] = ()
    for key, text in metadata.items():
        parse = _PARSERS.get(key)
        if parse is None:
            continue
        value = parse(text)
        if value is None:
            ill_formed += (key,)
        else:
            values[key] = value
    link = None
    if values.get(_IS_LINK):
        if 0 < size <= MAX_TARGET_BYTES:
            link = Link(None, size)
        else:
            ill_formed += (_IS_LINK,)
    # Some versions of gcsfuse store the target twice: in the content and, for older versions, in
    # the metadata. The content has precedence.
    if link is None and (target := values.get(_TARGET)) is not None:
        link = Link(target, len(target))
    mtime_ns = values.get(_PRECISE_MTIME)
    return ForeignMetadata(
        link,
        values.get(_MTIME) if mtime_ns is None else mtime_ns,
        values.get(_ATIME),
        values.get(_UID),
        values.get(_GID),
        values.get(_MODE),
        ill_formed,
    )


def is_target(target: bytes) -> bool:
    """Return whether a symbolic link can have this target: not empty, not too long, no NUL."""
    return 0 < len(target) <= MAX_TARGET_BYTES and b"\0" not in target


def _flag(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _target(text: str) -> bytes | None:
    target = text.encode()
    return target if is_target(target) else None


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
    fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        since_epoch = datetime.fromisoformat(text[:19]) - _EPOCH
    except ValueError:
        return None
    seconds = since_epoch.days * 86400 + since_epoch.seconds
    if sign:
        hours, minutes = int(offset_hours), int(offset_minutes)
        if hours > 23 or minutes > 59:
            return None
        offset = hours * 3600 + minutes * 60
        seconds += offset if sign == "-" else -offset
    return seconds * _NS + _fraction_ns(fraction)


def _fraction_ns(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _id(text: str) -> int | None:
    number = int(text) if _ID.fullmatch(text) else _MAX_ID + 1
    return number if number <= _MAX_ID else None


def _mode(text: str) -> int | None:
    return int(text, 8) & _PERMISSIONS if _OCTAL.fullmatch(text) else None


# The parser for the value of each key. A parser returns None for an ill-formed value.
_PARSERS: Mapping[str, Callable[[str], bool | bytes | int | None]] = {
    _IS_LINK: _flag,
    _TARGET: _target,
    _MTIME: _seconds,
    _ATIME: _seconds,
    _PRECISE_MTIME: _rfc_3339,
    _UID: _id,
    _GID: _id,
    _MODE: _mode,
}
