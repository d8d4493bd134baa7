"""Names of objects: which are allowed, which of them a file can have, and how they are ordered.

The service orders names by their UTF-8 bytes. Python orders strings by code point, and UTF-8 was
made so that the two orders agree; plain comparison of strings is therefore used throughout.
"""

from __future__ import annotations

import re

from gcsmux_fs.emulator.rpc_error import invalid

__all__ = [
    "MAX_NAME_BYTES",
    "after_prefix",
    "bucket_of",
    "check_bucket_name",
    "check_object_name",
    "file_can_be_named",
    "folder_of",
    "is_object_name",
]

# The service's limit for object names.
MAX_NAME_BYTES = 1024
# NAME_MAX of every common Linux file system.
_MAX_COMPONENT_BYTES = 255
_NO_COMPONENTS = {b"", b".", b".."}
_BUCKET_PREFIX = "projects/_/buckets/"
_NEW_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_LAST_CODE_POINT = 0x10FFFF


def bucket_of(resource: str) -> str:
    """Return the bucket that `projects/_/buckets/NAME` names."""
    name = resource.removeprefix(_BUCKET_PREFIX)
    if name == resource or not name or "/" in name:
        raise invalid(f"Not a bucket's name: {resource!r}")
    return name


def folder_of(resource: str) -> tuple[str, str]:
    """Return the bucket and the path that `projects/_/buckets/NAME/folders/PATH` names."""
    bucket, separator, path = resource.partition("/folders/")
    if not separator:
        raise invalid(f"Not a folder's name: {resource!r}")
    return bucket_of(bucket), path


def check_bucket_name(name: str) -> None:
    """Refuse the name of a bucket to be made that the service would not take."""
    if not _NEW_BUCKET.fullmatch(name):
        raise invalid(f"Not a name for a bucket: {name!r}")


def is_object_name(name: str) -> bool:
    """Tell whether the service could hold an object of this name.

    Names with line breaks count: the service refuses them, but files have them.
    """
    try:
        return 0 < len(name.encode()) <= MAX_NAME_BYTES and "\0" not in name
    except UnicodeEncodeError:
        return False


def check_object_name(name: str) -> None:
    """Refuse a name that no object can have."""
    if not is_object_name(name):
        raise invalid(f"Not an object's name: {name!r}")


def file_can_be_named(name: str) -> bool:
    """Tell whether a path below a bucket's folder can spell `name` exactly."""
    parts = name.encode().split(b"/")
    return _NO_COMPONENTS.isdisjoint(parts) and len(max(parts, key=len)) <= _MAX_COMPONENT_BYTES


def after_prefix(prefix: str) -> str | None:
    """Return the first string after all that begin with `prefix`; None if nothing follows them.

    It is for comparison only: it may end with half a surrogate pair, which no name does.
    """
    while prefix and ord(prefix[-1]) == _LAST_CODE_POINT:
        prefix = prefix[:-1]
    if not prefix:
        return None
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
