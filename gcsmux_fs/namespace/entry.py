"""The answer to a lookup: an entry, or the error that the name does not exist."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.model.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Entry", "NoSuchEntry"]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class Entry(NamedTuple):
    """The file or directory that a name leads to: its inode number and attributes.

    The kernel may cache the name for `name_valid_seconds` and the attributes for
    `attributes_valid_seconds`. Both are 0 or more, and may be infinite. `size` is in bytes.
    `metadata` is the custom metadata of the object, or of a directory's placeholder object.
    `grows` is true while the object may still be appended to, so the name may lead to another inode
    at any time.
    """

    inode: int
    is_directory: bool
    size: int
    mtime_ns: int
    name_valid_seconds: float
    attributes_valid_seconds: float
    metadata: Mapping[str, str] = _NO_METADATA
    grows: bool = False


class NoSuchEntry(NotFound):
    """The name does not exist; the kernel may cache its absence for `valid_seconds`."""

    def __init__(self, subject: str, valid_seconds: float) -> None:
        super().__init__("no such file or directory", subject=subject)
        self.valid_seconds = valid_seconds
