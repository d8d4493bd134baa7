"""What the tree tells of a file or a directory, or of a name that leads to none."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.model.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Entry", "NoSuchEntry"]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class Entry(NamedTuple):
    """A file or directory.

    The name that was asked for may be taken to lead here for `name_valid_seconds`, the attributes
    be believed for `attributes_valid_seconds`; both are 0 or more and may be infinite.
    `metadata` is the object's custom metadata; of a directory its placeholder's. `grows` says that
    the object may still be appended to, so that the name may lead to another inode any time.
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
    """There is no such name, and it need not be asked for again for `valid_seconds`."""

    def __init__(self, subject: str, valid_seconds: float) -> None:
        super().__init__("no such file or directory", subject=subject)
        self.valid_seconds = valid_seconds
