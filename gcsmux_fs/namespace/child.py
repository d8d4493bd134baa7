"""The target of a directory entry that has no inode yet: a `Row` or a `Directory`; sans-IO."""

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

    If `assumed` is true, the directory may not exist, because the service refuses listings.
    """

    location: str
    placeholder: ObjectInfo | None = None
    assumed: bool = False


Child: TypeAlias = Row | Directory
