"""An object store in memory with listings, delays in trio's virtual time, and a log of requests.

An answer shows the objects at the time of its request, and arrives after the delay.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import (
    GenerationGone,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
)
from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN_MARK = "from "


def object_info(name: str, generation: int = 1, size: int = 3) -> ObjectInfo:
    """Return an object whose mtime is as many seconds as the number of its generation."""
    return ObjectInfo(
        name=name,
        generation=generation,
        size=size,
        mtime_ns=generation * 1_000_000_000,
    )


def refusal(subject: str) -> PermissionDenied:
    """Return the error of a call without permission."""
    return PermissionDenied("not allowed", subject=subject, code=StatusCode.PERMISSION_DENIED)


@dataclass
class FakeStore:
    """The `ObjectStore` port with its objects in a dictionary.

    If `placeholders_listed` is true, a listing has the object `foo/` beside the prefix `foo/`, as
    the service does with `include_trailing_delimiter`. `folders` are the folders of a hierarchical
    bucket; each ends with `/`. Each element of `failures` is a text and an error: the first request
    that begins with the text raises the error. `may_get` returns whether the caller may get an
    object, `may_list` whether the caller may list a prefix. If `get_takes_list` is true, getting an
    absent object is refused to a caller who may not list its name, as the service does.
    """

    delay_seconds: float = 0.0
    placeholders_listed: bool = False
    folders: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    failures: list[tuple[str, StorageError]] = field(default_factory=list)
    may_get: Callable[[str], bool] = lambda name: True
    may_list: Callable[[str], bool] = lambda prefix: True
    get_takes_list: bool = False
    _objects: dict[str, ObjectInfo] = field(default_factory=dict)
    _sorted: list[str] | None = None
    _generation: int = 0

    def put(self, *names: str, size: int = 3) -> None:
        """Write objects, each as a new generation."""
        for name in names:
            self._generation += 1
            self._objects[name] = object_info(name, self._generation, size)
        self._sorted = None

    def replace_info(self, info: ObjectInfo) -> None:
        """Write an object with exactly the values of `info`."""
        self._objects[info.name] = info
        self._sorted = None

    def delete(self, *names: str) -> None:
        """Delete objects."""
        for name in names:
            del self._objects[name]
        self._sorted = None

    def __getitem__(self, name: str) -> ObjectInfo:
        return self._objects[name]

    def take_requests(self) -> list[str]:
        """Return the requests since the previous call of this method."""
        taken, self.requests = self.requests, []
        return taken

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return a bucket that is hierarchical if it has folders."""
        await self._answer("bucket")
        return BucketInfo("bucket", hierarchical=bool(self.folders))

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return one object (see `ObjectStore.get_object`)."""
        info = self._objects.get(name)
        await self._answer(f"get {name}")
        hidden = info is None and self.get_takes_list and not self.may_list(name)
        if hidden or not self.may_get(name):
            raise refusal(f"get {name}")
        if info is None:
            raise NotFound("no such object", subject=name)
        if generation not in (0, info.generation):
            raise GenerationGone("no such generation", subject=name)
        return info

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> ListingPage:
        """Return one page of a listing (see `ObjectStore.list_objects`)."""
        if page_token and not page_token.startswith(_TOKEN_MARK):
            raise InvalidRequest("no such page token")
        begin = max(prefix, start_at, page_token.removeprefix(_TOKEN_MARK))
        page = self._page(prefix, delimiter, page_size, begin, end_before)
        bounds = f" [{start_at}, {end_before})" if start_at or end_before else ""
        await self._answer(f"list {prefix}{bounds}{' again' if page_token else ''}")
        if not self.may_list(prefix):
            raise refusal(f"list {prefix}")
        return page

    def _page(
        self, prefix: str, delimiter: str, page_size: int, begin: str, end_before: str
    ) -> ListingPage:
        names = self._names()
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        index = bisect.bisect_left(names, begin)
        while index < len(names):
            name = names[index]
            if not name.startswith(prefix) or (end_before and name >= end_before):
                break
            if len(objects) + len(prefixes) >= page_size:
                return ListingPage(tuple(objects), tuple(prefixes), _TOKEN_MARK + name)
            cut = name.find(delimiter, len(prefix)) + 1 if delimiter else 0
            if not cut:
                if name in self._objects:
                    objects.append(self._objects[name])
                index += 1
                continue
            folder = name[:cut]
            if name == folder and name in self._objects and self.placeholders_listed:
                objects.append(self._objects[name])
            prefixes.append(folder)
            index = bisect.bisect_left(names, folder[:-1] + chr(ord(delimiter) + 1))
        return ListingPage(tuple(objects), tuple(prefixes), "")

    def _names(self) -> list[str]:
        if self._sorted is None:
            self._sorted = sorted({*self._objects, *self.folders})
        return self._sorted

    async def _answer(self, request: str) -> None:
        self.requests.append(request)
        if self.delay_seconds:
            await trio.sleep(self.delay_seconds)
        else:
            await trio.lowlevel.checkpoint()
        for failure in self.failures:
            if request.startswith(failure[0]):
                self.failures.remove(failure)
                raise failure[1]
