"""What an entry of a directory leads to, before it has an inode; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.model.object_table import Row

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["Child", "Directory"]


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; `placeholder` is the object with the name `location`, if one is known.

    `assumed`: no answer of the service shows the directory, because listings are refused.
    """

    location: str
    placeholder: ObjectInfo | None = None
    assumed: bool = False


Child: TypeAlias = Row | Directory
