"""The attributes that stat(2) shows, and how long the kernel may cache them; sans-IO."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.filesystem.ill_formed_metadata import IllFormedMetadata
from gcsmux_fs.namespace.foreign_metadata import NOTHING, read_foreign_metadata

if TYPE_CHECKING:
    from gcsmux_fs.namespace.entry import Entry
    from gcsmux_fs.namespace.foreign_metadata import ForeignMetadata
    from gcsmux_fs.settings.settings import Settings

__all__ = ["AbsentName", "AttributePolicy", "FileAttributes"]

# The mode of each symbolic link. lstat(2) shows all permissions for a link, as on other file
# systems. The kernel never checks these permissions.
_LINK_MODE = stat.S_IFLNK | 0o777


class FileAttributes(NamedTuple):
    """The attributes of one inode. Sizes are in bytes, times in nanoseconds since the epoch.

    `mode` holds the file type and the permissions. `name_valid_seconds` and
    `attributes_valid_seconds` say how long the kernel may cache the name and the attributes; both
    are 0 or more and may be infinite.
    """

    inode: int
    mode: int
    size: int
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    uid: int
    gid: int
    name_valid_seconds: float
    attributes_valid_seconds: float


class AbsentName(NamedTuple):
    """A name that does not exist; the kernel may cache its absence for `valid_seconds`."""

    valid_seconds: float


@dataclass(frozen=True, slots=True)
class AttributePolicy:
    """Decides which owner, mode, times and type each file shows.

    Other tools store metadata with objects. Times and links are always taken from this metadata, if
    an object has it. With `posix`, owners and modes are taken from this metadata too.
    """

    uid: int
    gid: int
    file_mode: int
    dir_mode: int
    posix: bool = False
    ill_formed: IllFormedMetadata = field(default_factory=IllFormedMetadata)

    @classmethod
    def of(cls, settings: Settings) -> AttributePolicy:
        """Return a policy with the owners and modes from the settings."""
        return cls(
            settings.uid, settings.gid, settings.file_mode, settings.dir_mode, settings.posix
        )

    def attributes_of(self, entry: Entry) -> FileAttributes:
        """Return the attributes of an entry of the namespace."""
        mtime_ns = entry.mtime_ns
        is_directory = entry.is_directory
        attributes = FileAttributes(
            entry.inode,
            stat.S_IFDIR | self.dir_mode if is_directory else stat.S_IFREG | self.file_mode,
            0 if is_directory else entry.size,
            mtime_ns,
            mtime_ns,
            mtime_ns,
            self.uid,
            self.gid,
            entry.name_valid_seconds,
            entry.attributes_valid_seconds,
        )
        return self._with_metadata(entry, attributes) if entry.metadata else attributes

    def _with_metadata(self, entry: Entry, attributes: FileAttributes) -> FileAttributes:
        metadata = read_foreign_metadata(entry.metadata, entry.size)
        if metadata.ill_formed:
            self.ill_formed.note(entry.inode, metadata.ill_formed)
        if metadata is NOTHING:
            return attributes
        if metadata.mtime_ns is not None:
            attributes = attributes._replace(mtime_ns=metadata.mtime_ns, atime_ns=metadata.mtime_ns)
        if metadata.atime_ns is not None:
            attributes = attributes._replace(atime_ns=metadata.atime_ns)
        if self.posix:
            attributes = self._with_owner(metadata, attributes)
        if metadata.link is not None and not entry.is_directory:
            return attributes._replace(mode=_LINK_MODE, size=metadata.link.size)
        return attributes

    def _with_owner(self, metadata: ForeignMetadata, attributes: FileAttributes) -> FileAttributes:
        mode = attributes.mode
        return attributes._replace(
            uid=attributes.uid if metadata.uid is None else metadata.uid,
            gid=attributes.gid if metadata.gid is None else metadata.gid,
            mode=mode if metadata.mode is None else stat.S_IFMT(mode) | metadata.mode,
        )
