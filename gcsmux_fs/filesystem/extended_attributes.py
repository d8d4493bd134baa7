"""Shows the properties of an object as extended attributes `user.gcs.*`; sans-IO."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from gcsmux_fs.namespace.foreign_metadata import read_foreign_metadata

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["PREFIX", "extended_attributes"]

PREFIX = b"user.gcs."
"""The prefix of every extended attribute of a mount. A request for a name without this prefix is
refused without looking at the object. The refusal must be fast, because the kernel asks for
`security.*` at each exec."""

# Maximum length of a name (XATTR_NAME_MAX of <linux/limits.h>). getxattr(2) refuses longer names,
# so listxattr(2) must not list them.
_MAX_NAME_BYTES = 255


def extended_attributes(info: ObjectInfo) -> dict[bytes, bytes]:
    """Return the `user.gcs.*` attributes of an object by name.

    `crc32c` is the base64 of the big-endian value, as Google's tools print it. Custom metadata
    appears as `user.gcs.metadata.KEY`; a key that makes the name longer than 255 bytes is left out.
    A symbolic link has none of these attributes, because the kernel refuses to read `user.*`
    attributes of a link.
    """
    if not info.name.endswith("/") and read_foreign_metadata(info.metadata, info.size).link:
        return {}
    values = {
        "generation": str(info.generation),
        "metageneration": str(info.metageneration),
        "content-type": info.content_type,
        "content-encoding": info.content_encoding,
        "storage-class": info.storage_class,
    }
    if info.crc32c is not None:
        values["crc32c"] = base64.b64encode(info.crc32c.to_bytes(4, "big")).decode()
    values.update({f"metadata.{key}": value for key, value in info.metadata.items()})
    encoded = ((PREFIX + name.encode(), value.encode()) for name, value in values.items())
    return {name: value for name, value in encoded if value and len(name) <= _MAX_NAME_BYTES}
