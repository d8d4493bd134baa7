"""What the kernel and programs see of an object: attributes and extended attributes."""

from __future__ import annotations

import base64
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyfuse3

if TYPE_CHECKING:
    from gcsmux_fs.config import Settings
    from gcsmux_fs.model import ObjectInfo
    from gcsmux_fs.namespace.tree import Entry

__all__ = ["AttributeEncoder", "absent_entry", "extended_attributes"]

# XATTR_NAME_MAX of <linux/limits.h>: what is listed must be possible to ask for.
_NAME_MAX_BYTES = 255

# What `stat` shows as the preferred I/O size: the kernel's own READ size for this file system.
_BLOCK_SIZE_BYTES = 128 * 1024

# The kernel takes seconds as an unsigned 64-bit number, but adds them to its own clock: ten years
# mean "as long as the mount lives".
_FOREVER_SECONDS = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class AttributeEncoder:
    """Turns entries of the namespace into what pyfuse3 hands to the kernel."""

    uid: int
    gid: int
    file_mode: int
    dir_mode: int

    @classmethod
    def of(cls, settings: Settings) -> AttributeEncoder:
        """Take ownership and modes from the settings."""
        return cls(settings.uid, settings.gid, settings.file_mode, settings.dir_mode)

    def encode(self, entry: Entry) -> pyfuse3.EntryAttributes:
        """Return the attributes of one entry, with the time for which they may be cached."""
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = pyfuse3.InodeT(entry.inode)
        attributes.generation = 0
        attributes.st_uid = self.uid
        attributes.st_gid = self.gid
        attributes.st_blksize = _BLOCK_SIZE_BYTES
        if entry.is_directory:
            attributes.st_mode = pyfuse3.ModeT(stat.S_IFDIR | self.dir_mode)
            # One link means "unknown" to find(1) and others, which then do not count subfolders.
            attributes.st_nlink = 1
            attributes.st_size = 0
            attributes.st_blocks = 0
        else:
            attributes.st_mode = pyfuse3.ModeT(stat.S_IFREG | self.file_mode)
            attributes.st_nlink = 1
            attributes.st_size = entry.size
            attributes.st_blocks = (entry.size + 511) // 512
        attributes.st_mtime_ns = entry.mtime_ns
        attributes.st_ctime_ns = entry.mtime_ns
        attributes.st_atime_ns = entry.mtime_ns
        attributes.entry_timeout = min(entry.name_valid_seconds, _FOREVER_SECONDS)
        attributes.attr_timeout = min(entry.attributes_valid_seconds, _FOREVER_SECONDS)
        return attributes


def absent_entry(seconds: float) -> pyfuse3.EntryAttributes:
    """Return the answer that lets the kernel remember for `seconds` that a name is absent."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(0)
    attributes.entry_timeout = min(seconds, _FOREVER_SECONDS)
    attributes.attr_timeout = 0
    return attributes


def extended_attributes(info: ObjectInfo) -> dict[bytes, bytes]:
    """Return the `user.gcs.*` attributes of an object.

    `crc32c` is the base64 of the big-endian value, as Google's own tools print it; custom
    metadata appears as `user.gcs.metadata.KEY`, except where that is longer than the kernel allows.
    """
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
    spelled = ((f"user.gcs.{name}".encode(), value.encode()) for name, value in values.items())
    return {name: value for name, value in spelled if value and len(name) <= _NAME_MAX_BYTES}
