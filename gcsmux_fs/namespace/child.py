"""What a directory entry leads to, before it has an inode: a row or a directory; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.model.object_table import Row

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["Child", "Directory"]


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; `placeholder` is the object named `location`, if one is known.

    If `assumed` is true, the service has not shown the directory, because it refuses listings.
    """

    location: str
    placeholder: ObjectInfo | None = None
    assumed: bool = False


Child: TypeAlias = Row | Directory
