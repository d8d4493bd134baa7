"""What the kernel and programs see of an object: attributes and extended attributes."""

from __future__ import annotations

import base64
import logging
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cachetools
import pyfuse3

from gcsmux_fs.namespace.foreign_metadata import NOTHING, read_foreign_metadata

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.foreign_metadata import ForeignMetadata
    from gcsmux_fs.namespace.tree import Entry
    from gcsmux_fs.settings.settings import Settings

__all__ = ["AttributeEncoder", "IllFormedMetadata", "absent_entry", "extended_attributes"]

log = logging.getLogger(__name__)

# XATTR_NAME_MAX of <linux/limits.h>: what is listed must be possible to ask for.
_NAME_MAX_BYTES = 255

# What `stat` shows as the preferred I/O size: the kernel's own READ size for this file system.
_BLOCK_SIZE_BYTES = 128 * 1024

# The kernel takes seconds as an unsigned 64-bit number, but adds them to its own clock: ten years
# mean "as long as the mount lives".
_FOREVER_SECONDS = 10 * 365 * 86400.0

# 1 MB; of more files than this at a time some may be counted again.
_MAX_REMEMBERED_INODES = 16_384

# Of a link nobody ever checks them: Linux shows all.
_LINK_MODE = 0o777


class IllFormedMetadata:
    """Counts the values of custom metadata that other tools wrote and that mean nothing.

    The values of a file count once, however often its attributes are asked for.
    """

    def __init__(self) -> None:
        self.values = 0
        self._counted: cachetools.LRUCache[int, None] = cachetools.LRUCache(_MAX_REMEMBERED_INODES)

    def note(self, inode: int, keys: tuple[str, ...]) -> None:
        """Count the values of one file."""
        if inode in self._counted:
            return
        self._counted[inode] = None
        self.values += len(keys)
        log.debug("inode %d: ignoring ill-formed metadata: %s", inode, ", ".join(keys))


@dataclass(frozen=True, slots=True)
class AttributeEncoder:
    """Turns entries of the namespace into what pyfuse3 hands to the kernel.

    With `posix`, owners and modes that other tools have stored take the place of the given ones.
    """

    uid: int
    gid: int
    file_mode: int
    dir_mode: int
    posix: bool = False
    ill_formed: IllFormedMetadata = field(default_factory=IllFormedMetadata)

    @classmethod
    def of(cls, settings: Settings) -> AttributeEncoder:
        """Take ownership and modes from the settings."""
        return cls(
            settings.uid, settings.gid, settings.file_mode, settings.dir_mode, settings.posix
        )

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
        if entry.metadata:
            self._apply(self._read(entry), attributes, is_directory=entry.is_directory)
        attributes.entry_timeout = min(entry.name_valid_seconds, _FOREVER_SECONDS)
        attributes.attr_timeout = min(entry.attributes_valid_seconds, _FOREVER_SECONDS)
        return attributes

    def _read(self, entry: Entry) -> ForeignMetadata:
        found = read_foreign_metadata(entry.metadata, entry.size)
        if found.ill_formed:
            self.ill_formed.note(entry.inode, found.ill_formed)
        return found

    def _apply(
        self, found: ForeignMetadata, attributes: pyfuse3.EntryAttributes, *, is_directory: bool
    ) -> None:
        """Put what other tools have stored in the place of what holds for all files."""
        if found is NOTHING:
            return
        if found.mtime_ns is not None:
            attributes.st_mtime_ns = attributes.st_atime_ns = found.mtime_ns
        if found.atime_ns is not None:
            attributes.st_atime_ns = found.atime_ns
        if self.posix and found.uid is not None:
            attributes.st_uid = found.uid
        if self.posix and found.gid is not None:
            attributes.st_gid = found.gid
        if found.link is not None and not is_directory:
            attributes.st_mode = pyfuse3.ModeT(stat.S_IFLNK | _LINK_MODE)
            attributes.st_size = found.link.size
            attributes.st_blocks = 0
        elif self.posix and found.mode is not None:
            kind = stat.S_IFMT(attributes.st_mode)
            attributes.st_mode = pyfuse3.ModeT(kind | found.mode)


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
    A symbolic link has none: the kernel itself refuses to read such names of links, and what is
    listed must be possible to ask for.
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
    spelled = ((f"user.gcs.{name}".encode(), value.encode()) for name, value in values.items())
    return {name: value for name, value in spelled if value and len(name) <= _NAME_MAX_BYTES}
