"""Asks the service what a name is: an object, a directory, both, or neither.

Usually one request is enough: a listing of the names from `name` to `name/`. It shows the object
`name`. It also shows a folder that has objects, a folder that has a placeholder object, and, in a
hierarchical bucket, an empty folder.

If this listing does not show what the name is (see `read_name_page`), two requests are sent at the
same time: GetObject for the object, and a listing of the names that begin with `name/`. `combine`
decides what the two answers mean. Names are asked for by two requests from the beginning

- if the caller may not list;
- if the latest answer showed an object that is still being appended to, because only GetObject is
  sure to show its newest size. In a zonal bucket this is often so for all objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import (
    GenerationGone,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StorageError,
    Unauthenticated,
)
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.deadline import bounded, pause_after
from gcsmux_fs.namespace.names import MAX_OBJECT_NAME_BYTES, encoded_length
from gcsmux_fs.namespace.resolution import Resolution, combine, read_name_page
from gcsmux_fs.namespace.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from gcsmux_fs.model.values import ListingPage, ObjectInfo
    from gcsmux_fs.namespace.name_cache import NameCache
    from gcsmux_fs.namespace.single_flight import Flight
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["Resolver"]

# The character "0", which follows the slash in ASCII. Every name that begins with "foo/" sorts
# before "foo0".
_AFTER_SLASH = chr(ord("/") + 1)
# Of the names that begin with "foo", only "foo" itself and names that continue with a control
# character or a space sort before "foo!".
_AFTER_NAME = "!"
# Two entries: a folder and, where the service lists it, its placeholder object.
_FOLDER_PAGE_SIZE = 2
# The object `foo`, then objects such as `foo-1` and `foo.txt`, then the folder `foo/`. Few names
# have more than 14 such neighbours. Each neighbour adds about 300 bytes to the answer.
_NAME_PAGE_SIZE = 16


class Resolver:
    """Asks the service for names, and stores the answers in `cache`.

    Args:
        store: the service.
        nursery: runs the requests.
        cache: stores the resolutions.
        clock: returns the time in seconds.
        deadline_seconds: how long the listings for one name may take.
        assume_directories: true if the caller may not list (see `resolution`, rule 3).
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        cache: NameCache,
        *,
        clock: Callable[[], float],
        deadline_seconds: float,
        assume_directories: bool = False,
    ) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock
        self._deadline = deadline_seconds
        self._assume_directories = assume_directories
        #: True if the latest object that was found is still being appended to.
        self.objects_grow = False
        self._names: SingleFlight[str, Resolution] = SingleFlight(nursery, clock)
        self._objects: SingleFlight[str, ObjectInfo | None] = SingleFlight(nursery, clock)
        self._folders: SingleFlight[str, Directory | PermissionDenied | None] = SingleFlight(
            nursery, clock
        )

    @property
    def in_flight(self) -> int:
        """The number of names that are being looked up, plus the number of their requests."""
        return self._names.in_flight + self._objects.in_flight + self._folders.in_flight

    async def resolve(self, target: str) -> Resolution:
        """Ask for the object `target` and the directory `target` + `/`.

        The answer may come from a request that is already in flight. Such a request was sent within
        the TTL, and after the last invalidation of the name before this call. If the name is
        invalidated during the call, the answer may be outdated.

        Raises:
            PermissionDenied: the answers do not show what the name is.
        """
        after = self._joinable_after(target)
        return await self._names.ask(
            target, lambda: self._resolve(target, after), joinable_after=after
        )

    async def newest_object(self, name: str) -> tuple[ObjectInfo | None, float]:
        """Ask for the object `name` only, and not for a directory of this name.

        Returns the object, or None if it does not exist, and when the request was sent. The answer
        may come from a request in flight (see `resolve`).

        Raises:
            PermissionDenied: GetObject and listings are both refused.
        """
        flight = self._start_object(name, self._joinable_after(name))
        return await flight.wait(), flight.asked_at

    async def confirm(self, location: str) -> None:
        """Ask the service again about a directory if it was assumed to exist.

        Raises:
            PermissionDenied: listings are still refused, so it is unknown whether the directory
                exists.
            GenerationGone: there is no such directory, or an object with this name exists by now.
                After this error the kernel looks the name up again.
        """
        target = location.removesuffix("/")
        resolution = self._cache.resolution(target)
        if resolution is None or resolution.assumed is None:
            return
        after = self._joinable_after(target)
        folder = await self._start_folder(target, after).wait()
        is_object = isinstance(folder, PermissionDenied) and await self._is_object(target, after)
        if isinstance(folder, PermissionDenied) and not is_object:
            raise folder.with_traceback(None)
        self._cache.drop_resolution(target)
        if folder is None or is_object:
            raise GenerationGone(
                "the name was assumed to be a directory, but it is none", subject=repr(target)
            )

    def _joinable_after(self, target: str) -> float:
        return self._cache.joinable_after(target, self._clock())

    async def _is_object(self, name: str, after: float) -> bool:
        try:
            return await self._start_object(name, after).wait() is not None
        except PermissionDenied:
            return False

    def _start_object(self, name: str, after: float) -> Flight[ObjectInfo | None]:
        return self._objects.start(name, lambda: self._get(name), joinable_after=after)

    def _start_folder(
        self, target: str, after: float
    ) -> Flight[Directory | PermissionDenied | None]:
        return self._folders.start(target, lambda: self._find_folder(target), joinable_after=after)

    async def _resolve(self, target: str, after: float) -> Resolution:
        resolution = None
        # The names that the listing begins and ends with must not be too long.
        is_listable = 0 < encoded_length(target) < MAX_OBJECT_NAME_BYTES
        if is_listable and not self._assume_directories and not self.objects_grow:
            resolution = await self._resolve_by_one_request(target)
        if resolution is None:
            resolution = await self._resolve_by_two_requests(target, after)
        if resolution.info is not None:
            self.objects_grow = not resolution.info.finalized
        return self._cache.store(target, resolution, self._clock())

    async def _resolve_by_one_request(self, target: str) -> Resolution | None:
        """List a name and its directory; return None if the page does not show what the name is."""
        asked_at = self._clock()
        try:
            page = await self._store.list_objects(
                target,
                delimiter="/",
                page_size=_NAME_PAGE_SIZE,
                start_at=target,
                end_before=target + _AFTER_SLASH,
            )
        except Unauthenticated:
            raise
        except (PermissionDenied, InvalidRequest):
            return None
        return read_name_page(target, asked_at, page)

    async def _resolve_by_two_requests(self, target: str, after: float) -> Resolution:
        folder = self._start_folder(target, after)
        newest = self._start_object(target, after)
        info, object_refused = None, None
        try:
            info = await newest.wait()
        except Unauthenticated:
            raise
        except PermissionDenied as error:
            object_refused = error
        directory = await folder.wait()
        return combine(
            target,
            min(folder.asked_at, newest.asked_at),
            info,
            object_refused,
            directory,
            assume_directories=self._assume_directories,
        )

    async def _get(self, name: str) -> ObjectInfo | None:
        """Return the newest generation of an object; None if there is none.

        Raises:
            PermissionDenied: GetObject and listings are both refused.
        """
        if not 0 < encoded_length(name) <= MAX_OBJECT_NAME_BYTES:
            return None
        try:
            return await self._store.get_object(name)
        except (NotFound, InvalidRequest):
            # There is no such object, or the service rejects the name, so that no object can have
            # it.
            return None
        except Unauthenticated:
            raise
        except PermissionDenied:
            return await bounded(self._deadline, name, lambda: self._find_listed_object(name))

    async def _find_listed_object(self, name: str) -> ObjectInfo | None:
        page = await self._first_page(name, start_at=name, end_before=name + _AFTER_NAME)
        return next((info for info in page.objects if info.name == name), None)

    async def _find_folder(self, target: str) -> Directory | PermissionDenied | None:
        """Return the directory `target` + `/`; None if nothing is below it.

        If both listings are refused, the error is returned, not raised, because `combine` needs it.
        """
        location = target + "/"
        if encoded_length(location) > MAX_OBJECT_NAME_BYTES:
            return None
        # This code needs a deadline because it runs in its own task, which the deadline of a
        # waiting lookup does not end.
        return await bounded(self._deadline, location, lambda: self._list_folder(location))

    async def _list_folder(self, location: str) -> Directory | PermissionDenied | None:
        # The prefix without the slash comes first, because only this prefix shows an empty folder.
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
        """Return the first page that has entries; if no page has entries, the last page."""
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
                # Without this error the page would count as the last page, and an existing name
                # might seem absent.
                raise StorageError("the server repeats a page token", subject=repr(start_at))
            token = page.next_page_token
            empty_pages += 1
            await pause_after(empty_pages)
