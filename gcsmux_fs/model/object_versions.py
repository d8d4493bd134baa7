"""The generations of objects with the time during which each was the newest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["BucketRetention", "ObjectVersion", "VersionPage"]


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One generation of an object. Times are nanoseconds since 1970.

    Attributes:
        info: its metadata; the metadata of earlier times is not kept.
        created_ns: when the generation was created.
        ended_ns: when it was overwritten or deleted; None if it is the live generation.
        soft_deleted: whether its content cannot be read before it is restored.
    """

    info: ObjectInfo
    created_ns: int
    ended_ns: int | None = None
    soft_deleted: bool = False


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of a listing of generations.

    `versions` is sorted by name. The generations of a name may have any order, and may continue on
    the next page. A prefix appears if any listed generation has it. The last page has an empty
    `next_page_token`.
    """

    versions: tuple[ObjectVersion, ...]
    prefixes: tuple[str, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class BucketRetention:
    """Which old generations a bucket keeps.

    Attributes:
        versioning: whether overwritten and deleted generations become noncurrent.
        soft_delete_seconds: how long deleted generations can be restored; 0 if not at all.
    """

    versioning: bool
    soft_delete_seconds: float
