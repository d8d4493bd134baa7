"""What the service says of single names, asked once and remembered.

One name takes two requests, asked at the same time: whether there is such an object, and whether
there is anything below it. The second is a listing between `name/` and its end, which shows a
folder whether it has objects, a placeholder object, or (in a hierarchical bucket) nothing in it.

Permissions may be limited to some names, and then one request is refused where the other is
answered. A refusal is no verdict: it never takes anything from what another request shows.

1. An object is what GetObject shows or, if that is refused, what a listing of just its name shows:
   programs then see the same attributes as after a listing of its directory.
2. A directory is what a listing with the prefix `name` shows or, if that is refused, one with the
   prefix `name/`: a permission to list may begin there.
3. Where no listing is allowed, nothing tells what is a directory. A name is taken for one if there
   is no object of that name; and, with `assume_directories`, if GetObject is refused as well,
   because the service refuses to tell callers who may not list that an object is absent. It counts
   no longer than the answer that a name is absent, which it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.model.errors import (
    GenerationGone,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StorageError,
    Unauthenticated,
)
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.deadline import bounded, pause_after
from gcsmux_fs.namespace.listing import Child, Directory
from gcsmux_fs.namespace.names import MAX_OBJECT_NAME_BYTES, Form, Step, encoded_length
from gcsmux_fs.namespace.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from gcsmux_fs.model.values import ListingPage, ObjectInfo
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["Resolution", "Resolver"]

# 1 KB each for names that exist, a third of it for others: 16 MB at most.
MAX_RESOLUTIONS = 16_384
# The character after the slash: what begins with "foo/" sorts before "foo0".
_AFTER_SLASH = chr(ord("/") + 1)
# Of the names that begin with "foo" only "foo" itself and such with control characters or a space
# after it sort before "foo!".
_AFTER_NAME = "!"
# The folder and, where the service lists it, its placeholder object.
_FOLDER_PAGE_SIZE = 2


@dataclass(frozen=True, slots=True)
class Resolution:
    """What there was of a name at the time `asked`: the object, the directory, both or none.

    Without `info` and with `info_refused` it is unknown whether there is an object. `assumed` is
    the directory that there may be, where no listing is allowed.
    """

    asked: float
    info: ObjectInfo | None
    directory: Directory | None
    info_refused: PermissionDenied | None = None
    assumed: Directory | None = None

    def child(self, found: Step) -> Child | None:
        """Return what the spelling that led to this name stands for.

        Raises:
            PermissionDenied: it depends on what was refused.
        """
        file = Row.of(self.info) if self.info is not None else None
        if found.form is Form.CONTENT:
            return self._known(file if self.info is not None and self.info.size else None)
        if found.form is Form.FILE:
            return None if self.directory is None else self._known(file)
        if self.directory is not None:
            return self.directory
        # The empty component leads to a name that ends with a slash, which is never a file's.
        if file is not None and not found.target.endswith("/"):
            return file
        return self.assumed or self._known(None)

    def _known(self, file: Row | None) -> Row | None:
        if file is None and self.info_refused is not None:
            # The traceback would grow with each lookup that raises it.
            raise self.info_refused.with_traceback(None)
        return file


class Resolver:
    """Asks for names; without `join` no question is answered by one that was asked before.

    `assume_directories`: the caller may not list (see above).
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        *,
        join: bool,
        clock: Callable[[], float],
        deadline_seconds: float,
        assume_directories: bool = False,
    ) -> None:
        self._store = store
        self._assume = assume_directories
        self._deadline = deadline_seconds
        self._join = join
        self._clock = clock
        self._resolutions: cachetools.LRUCache[str, Resolution] = cachetools.LRUCache(
            MAX_RESOLUTIONS
        )
        self._names: SingleFlight[str, Resolution] = SingleFlight(nursery)
        self._objects: SingleFlight[str, ObjectInfo | None] = SingleFlight(nursery)
        self._folders: SingleFlight[str, Directory | PermissionDenied | None] = SingleFlight(
            nursery
        )

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

    async def confirm(self, location: str) -> None:
        """Ask for a directory again if it was assumed to be there.

        Raises:
            PermissionDenied: no listing is allowed, so it may as well be an absent object.
            GenerationGone: there is none, or an object by now: the kernel looks its name up again.
        """
        target = location.removesuffix("/")
        resolution = self._resolutions.get(target)
        if resolution is None or resolution.assumed is None:
            return
        found = await self._folders.ask(target, lambda: self._find_folder(target), join=self._join)
        is_object = isinstance(found, PermissionDenied) and await self._is_object(target)
        if isinstance(found, PermissionDenied) and not is_object:
            raise found.with_traceback(None)
        self.distrust(target)
        if found is None or is_object:
            raise GenerationGone("it was taken for a directory, and is none", subject=repr(target))

    async def _is_object(self, name: str) -> bool:
        try:
            return await self.newest(name) is not None
        except PermissionDenied:
            return False

    async def resolve(self, target: str) -> Resolution:
        """Ask for the object `target` and the directory `target` + `/`.

        Raises:
            PermissionDenied: nothing can be told of either.
        """
        return await self._names.ask(target, lambda: self._resolve(target), join=self._join)

    async def newest(self, name: str) -> ObjectInfo | None:
        """Ask for the newest generation of an object.

        Raises:
            PermissionDenied: neither GetObject nor a listing is allowed.
        """
        return await self._objects.ask(name, lambda: self._get(name), join=self._join)

    async def _resolve(self, target: str) -> Resolution:
        asked = self._clock()
        folder = self._folders.start(target, lambda: self._find_folder(target), join=self._join)
        info, info_refused = None, None
        try:
            info = await self.newest(target)
        except Unauthenticated:
            raise
        except PermissionDenied as error:
            info_refused = error
        directory = await folder.wait()
        resolution = self._combine(target, asked, info, info_refused, directory)
        self._resolutions[target] = resolution
        return resolution

    def _combine(
        self,
        target: str,
        asked: float,
        info: ObjectInfo | None,
        info_refused: PermissionDenied | None,
        directory: Directory | PermissionDenied | None,
    ) -> Resolution:
        if not isinstance(directory, PermissionDenied):
            if directory is None and info_refused is not None:
                raise info_refused
            return Resolution(asked, info, directory, info_refused)
        if info_refused is not None and not self._assume:
            raise info_refused
        assumed = Directory(target + "/", assumed=True) if info is None else None
        return Resolution(asked, info, None, info_refused, assumed)

    async def _get(self, name: str) -> ObjectInfo | None:
        if not 0 < encoded_length(name) <= MAX_OBJECT_NAME_BYTES:
            return None
        try:
            return await self._store.get_object(name)
        except (NotFound, InvalidRequest):
            # A name that the service refuses is one that no object has.
            return None
        except Unauthenticated:
            raise
        except PermissionDenied:
            return await bounded(self._deadline, name, lambda: self._show_object(name))

    async def _show_object(self, name: str) -> ObjectInfo | None:
        """Find an object that may not be read in a listing."""
        found = await self._first_page(name, start_at=name, end_before=name + _AFTER_NAME)
        return next((info for info in found.objects if info.name == name), None)

    async def _find_folder(self, target: str) -> Directory | PermissionDenied | None:
        """Find out whether there is anything below a name, or that this may not be known."""
        location = target + "/"
        if encoded_length(location) > MAX_OBJECT_NAME_BYTES:
            return None
        # Asked in a task of its own, which nobody's deadline ends.
        return await bounded(self._deadline, location, lambda: self._show_folder(location))

    async def _show_folder(self, location: str) -> Directory | PermissionDenied | None:
        # Only the prefix without the slash shows an empty folder.
        prefixes = (location[:-1], location)
        refused: PermissionDenied | None = None
        for prefix in prefixes:
            try:
                page = await self._first_page(
                    prefix, start_at=location, end_before=location[:-1] + _AFTER_SLASH
                )
            except Unauthenticated:
                raise
            except PermissionDenied as error:
                refused = error
                continue
            if not page.objects and not page.prefixes:
                return None
            placeholders = [info for info in page.objects if info.name == location]
            return Directory(location, placeholders[0] if placeholders else None)
        return refused

    async def _first_page(self, prefix: str, *, start_at: str, end_before: str) -> ListingPage:
        """Return the first page that shows anything, or the last one."""
        token = ""
        empty_pages = 0
        while True:
            page = await self._store.list_objects(
                prefix,
                delimiter="/",
                page_token=token,
                page_size=_FOLDER_PAGE_SIZE,
                start_at=start_at,
                end_before=end_before,
            )
            if page.objects or page.prefixes or not page.next_page_token:
                return page
            if page.next_page_token == token:
                # Taken for the end, it would make a name absent that may be there.
                raise StorageError("the server repeats a page token", subject=repr(start_at))
            token = page.next_page_token
            empty_pages += 1
            await pause_after(empty_pages)
