"""What the tree tells of a file or a directory, or of a name that leads to none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.errors import NotFound

if TYPE_CHECKING:
    from gcsmux_fs.model import ObjectInfo

__all__ = ["Entry", "NoSuchEntry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory.

    `info` is the object or, for a directory, its placeholder object; None where there is none or
    none is known of. The name that was asked for may be taken to lead here for
    `name_valid_seconds`, the attributes be believed for `attributes_valid_seconds`; both are 0 or
    more and may be infinite.
    """

    inode: int
    is_directory: bool
    info: ObjectInfo | None
    mtime_ns: int
    name_valid_seconds: float
    attributes_valid_seconds: float


class NoSuchEntry(NotFound):
    """There is no such name, and it need not be asked for again for `valid_seconds`."""

    def __init__(self, subject: str, valid_seconds: float) -> None:
        super().__init__("no such file or directory", subject=subject)
        self.valid_seconds = valid_seconds
