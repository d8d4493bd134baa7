"""What the service says of single names, asked once and remembered.

One name takes two requests, asked at the same time: whether there is such an object, and whether
there is anything below it. The second is a listing between `name/` and its end, which shows a
folder whether it has objects, a placeholder object, or (in a hierarchical bucket) nothing in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.columns import Row
from gcsmux_fs.errors import InvalidRequest, NotFound, StorageError
from gcsmux_fs.namespace.flights import Flights
from gcsmux_fs.namespace.listing import Child, Directory
from gcsmux_fs.namespace.names import MAX_OBJECT_NAME_BYTES, Form, Step, encoded_length
from gcsmux_fs.namespace.patience import bounded, pause_after

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from gcsmux_fs.model import ObjectInfo
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["Resolution", "Resolver"]

# 1 KB each for names that exist, a third of it for others: 16 MB at most.
MAX_RESOLUTIONS = 16_384
# The character after the slash: what begins with "foo/" sorts before "foo0".
_AFTER_SLASH = chr(ord("/") + 1)
# The folder and, where the service lists it, its placeholder object.
_FOLDER_PAGE_SIZE = 2


@dataclass(frozen=True, slots=True)
class Resolution:
    """What there was of a name at the time `asked`: the object, the directory, both or none."""

    asked: float
    info: ObjectInfo | None
    directory: Directory | None

    def child(self, found: Step) -> Child | None:
        """Return what the spelling that led to this name stands for."""
        file = Row.of(self.info) if self.info is not None else None
        if found.form is Form.CONTENT:
            return file if self.info is not None and self.info.size else None
        if found.form is Form.FILE:
            return file if self.directory is not None else None
        if self.directory is not None:
            return self.directory
        # The empty component leads to a name that ends with a slash, which is never a file's.
        return None if found.target.endswith("/") else file


class Resolver:
    """Asks for names; without `join` no question is answered by one that was asked before."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        *,
        join: bool,
        clock: Callable[[], float],
        deadline_seconds: float,
    ) -> None:
        self._store = store
        self._deadline = deadline_seconds
        self._join = join
        self._clock = clock
        self._resolutions: cachetools.LRUCache[str, Resolution] = cachetools.LRUCache(
            MAX_RESOLUTIONS
        )
        self._names: Flights[str, Resolution] = Flights(nursery)
        self._objects: Flights[str, ObjectInfo | None] = Flights(nursery)
        self._folders: Flights[str, Directory | None] = Flights(nursery)

    def __len__(self) -> int:
        return len(self._resolutions)

    @property
    def requests(self) -> int:
        """The number of questions under way."""
        return self._names.under_way + self._objects.under_way + self._folders.under_way

    def known(self, target: str) -> Resolution | None:
        """Return what is remembered of a name, however old."""
        return self._resolutions.get(target)

    def distrust(self, target: str) -> None:
        """Remember nothing of a name."""
        self._resolutions.pop(target, None)

    async def resolve(self, target: str) -> Resolution:
        """Ask for the object `target` and the directory `target` + `/`."""
        return await self._names.ask(target, lambda: self._resolve(target), join=self._join)

    async def newest(self, name: str) -> ObjectInfo | None:
        """Ask for the newest generation of an object."""
        return await self._objects.ask(name, lambda: self._get(name), join=self._join)

    async def _resolve(self, target: str) -> Resolution:
        asked = self._clock()
        folder = self._folders.start(target, lambda: self._find_folder(target), join=self._join)
        info = await self.newest(target)
        resolution = Resolution(asked, info, await folder.wait())
        self._resolutions[target] = resolution
        return resolution

    async def _get(self, name: str) -> ObjectInfo | None:
        if not 0 < encoded_length(name) <= MAX_OBJECT_NAME_BYTES:
            return None
        try:
            return await self._store.get_object(name)
        except (NotFound, InvalidRequest):
            # A name that the service refuses is one that no object has.
            return None

    async def _find_folder(self, target: str) -> Directory | None:
        location = target + "/"
        if encoded_length(location) > MAX_OBJECT_NAME_BYTES:
            return None
        # Asked in a task of its own, which nobody's deadline ends.
        return await bounded(self._deadline, location, lambda: self._show_folder(location))

    async def _show_folder(self, location: str) -> Directory | None:
        target = location[:-1]
        token = ""
        empty_pages = 0
        while True:
            page = await self._store.list_objects(
                target,
                delimiter="/",
                page_token=token,
                page_size=_FOLDER_PAGE_SIZE,
                start_at=location,
                end_before=target + _AFTER_SLASH,
            )
            if page.objects or page.prefixes:
                placeholders = [info for info in page.objects if info.name == location]
                return Directory(location, placeholders[0] if placeholders else None)
            if not page.next_page_token:
                return None
            if page.next_page_token == token:
                # Taken for the end, it would make a name absent that may be there.
                raise StorageError("the server repeats a page token", subject=repr(location))
            token = page.next_page_token
            empty_pages += 1
            await pause_after(empty_pages)
