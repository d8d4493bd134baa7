"""Names of objects and buckets: which names are valid, and which names a file can have.

The service sorts names by their UTF-8 bytes, and Python sorts strings by code points. Both orders
are the same, so the emulator compares plain strings.
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

# Maximum length, in bytes, of an object name in the service.
MAX_NAME_BYTES = 1024
# Maximum length, in bytes, of one part of a path: NAME_MAX of all common Linux file systems.
_MAX_COMPONENT_BYTES = 255
_INVALID_COMPONENTS = {b"", b".", b".."}
_BUCKET_PREFIX = "projects/_/buckets/"
_NEW_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_LAST_CODE_POINT = 0x10FFFF


def bucket_of(resource: str) -> str:
    """Return the bucket name in the resource name `projects/_/buckets/NAME`.

    Raises:
        RpcError: `resource` has another form (INVALID_ARGUMENT).
    """
    name = resource.removeprefix(_BUCKET_PREFIX)
    if name == resource or not name or "/" in name:
        raise invalid(f"{resource!r} is not the resource name of a bucket.")
    return name


def folder_of(resource: str) -> tuple[str, str]:
    """Return the bucket name and the path in `projects/_/buckets/NAME/folders/PATH`.

    Raises:
        RpcError: `resource` has another form (INVALID_ARGUMENT).
    """
    bucket, separator, path = resource.partition("/folders/")
    if not separator:
        raise invalid(f"{resource!r} is not the resource name of a folder.")
    return bucket_of(bucket), path


def check_bucket_name(name: str) -> None:
    """Check the name of a new bucket.

    Raises:
        RpcError: the service would refuse the name (INVALID_ARGUMENT).
    """
    if not _NEW_BUCKET.fullmatch(name):
        raise invalid(f"{name!r} is not a valid name for a bucket.")


def is_object_name(name: str) -> bool:
    """Return whether an object can have this name.

    Names with line breaks are valid here. The service refuses them, but files may have them.
    """
    try:
        return 0 < len(name.encode()) <= MAX_NAME_BYTES and "\0" not in name
    except UnicodeEncodeError:
        return False


def check_object_name(name: str) -> None:
    """Check the name of an object.

    Raises:
        RpcError: no object can have this name (INVALID_ARGUMENT).
    """
    if not is_object_name(name):
        raise invalid(f"{name!r} is not a valid name for an object.")


def file_can_be_named(name: str) -> bool:
    """Return whether a file below the bucket's folder can have exactly this path."""
    parts = name.encode().split(b"/")
    return (
        _INVALID_COMPONENTS.isdisjoint(parts) and len(max(parts, key=len)) <= _MAX_COMPONENT_BYTES
    )


def after_prefix(prefix: str) -> str | None:
    """Return the first string after all strings that begin with `prefix`; None if there is none.

    Use the result only for comparisons, because the result may end with half of a surrogate pair
    and is then not a valid name.
    """
    while prefix and ord(prefix[-1]) == _LAST_CODE_POINT:
        prefix = prefix[:-1]
    if not prefix:
        return None
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
