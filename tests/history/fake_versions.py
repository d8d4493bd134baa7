"""A store of generations in memory, and what a bucket had at one time."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from gcsmux_fs.model.errors import InvalidRequest
from gcsmux_fs.model.object_versions import BucketRetention, ObjectVersion, VersionPage
from gcsmux_fs.model.values import BucketInfo, ObjectInfo

__all__ = ["FakeVersions", "keys_at", "version"]

_MARK = "at "


def version(
    name: str, created: int, ended: int | None = None, *, soft_deleted: bool = False
) -> ObjectVersion:
    """Return a generation that was created at the second `created`."""
    info = ObjectInfo(name, created + 1, 3, (ended or created) * 1_000_000_000)
    end = None if ended is None else ended * 1_000_000_000
    return ObjectVersion(info, created * 1_000_000_000, end, soft_deleted)


def keys_at(
    versions: list[ObjectVersion], at_ns: int, prefix: str, delimiter: str, low: str, high: str
) -> tuple[dict[str, int], set[str]]:
    """Return the generations by name, and the prefixes, of the objects that existed at a time."""
    objects: dict[str, int] = {}
    prefixes: set[str] = set()
    for each in versions:
        name = each.info.name
        exists = each.created_ns <= at_ns and (each.ended_ns is None or each.ended_ns > at_ns)
        if not exists or not name.startswith(prefix):
            continue
        cut = name.find(delimiter, len(prefix)) + 1 if delimiter else 0
        key = name[:cut] if cut else name
        if not low <= name or (high and name >= high):
            continue
        if cut:
            prefixes.add(key)
        if not cut or key == name:
            objects[name] = max(objects.get(name, 0), each.info.generation)
    return objects, prefixes


@dataclass
class FakeVersions:
    """The `VersionStore` port. A page has at most `page_size` entries, and at most `max_entries`.

    A page may end between two generations of a name. With `folders_first`, a page may also end
    between a folder and its placeholder object, which then comes later.
    """

    versions: list[ObjectVersion]
    max_entries: int = 1000
    folders_first: bool = False
    keeps_soft_deleted: bool = True
    requests: list[str] = field(default_factory=list)

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        return BucketInfo("bucket")

    async def get_retention(self) -> BucketRetention:
        return BucketRetention(versioning=True, soft_delete_seconds=0)

    async def list_versions(
        self,
        prefix: str,
        *,
        soft_deleted: bool = False,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> VersionPage:
        self.requests.append(f"{'soft ' if soft_deleted else ''}{prefix} [{start_at},{end_before})")
        await trio.lowlevel.checkpoint()
        if soft_deleted and not self.keeps_soft_deleted:
            raise InvalidRequest("soft delete policy is required")
        entries: list[tuple[str, int, ObjectVersion | None]] = []
        folders: set[str] = set()
        for each in self.versions:
            name = each.info.name
            if each.soft_deleted != soft_deleted or not name.startswith(prefix):
                continue
            if name < start_at or (end_before and name >= end_before):
                continue
            cut = name.find(delimiter, len(prefix)) + 1 if delimiter else 0
            order = each.info.generation
            if cut and name[:cut] not in folders:
                folders.add(name[:cut])
                entries.append((name[:cut], -1 if self.folders_first else 1 << 62, None))
            if not cut or name == name[:cut]:
                entries.append((name, order, each))
        ordered = sorted(entries, key=lambda entry: entry[:2])
        begin = int(page_token.removeprefix(_MARK)) if page_token else 0
        end = begin + min(page_size, self.max_entries)
        page = ordered[begin:end]
        return VersionPage(
            tuple(each for _, _, each in page if each is not None),
            tuple(key for key, _, each in page if each is None),
            f"{_MARK}{end}" if end < len(ordered) else "",
        )
