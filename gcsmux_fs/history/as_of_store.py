"""An object store that shows a bucket as it was at one time.

Listings with versions show prefixes that only later objects have. So a prefix is shown only after
an object below it was found that was alive. What was found out is kept, for a limited number of
prefixes: it changes only if the service removes old generations.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import cachetools
import trio

from gcsmux_fs.history.lifetimes import VersionReader, is_alive, merge
from gcsmux_fs.metrics.registry import counter
from gcsmux_fs.model.errors import NotFound, StorageError
from gcsmux_fs.model.values import ListingPage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gcsmux_fs.history.version_store import VersionStore
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.object_versions import VersionPage
    from gcsmux_fs.model.values import BucketInfo, ObjectInfo

__all__ = ["AsOfStore"]

_T = TypeVar("_T")

_TOKEN_MARK = "from "
_MAX_PAGE_SIZE = 1000
# A name has more generations than one, so more generations than wanted names are requested.
_GENERATIONS_PER_NAME = 4
# As in `namespace.resolver`: of the names that begin with "foo", only "foo" itself and names that
# continue with a control character or a space sort before "foo!".
_AFTER_NAME = "!"
_MAX_NAME_BYTES = 1024
# Number of requests about prefixes at the same time. One page may have a thousand prefixes.
_MAX_PROBES = 32
# Number of prefixes that are remembered: at most 20 MB.
_MAX_PREFIXES = 131_072
# A prefix that has only later objects needs many pages, which are then large. Usually the first
# object was alive, so the first page is small.
_FIRST_PROBE_SIZE = 32


@dataclass(slots=True)
class AsOfCounters:
    """Counters of the requests about earlier states."""

    as_of_prefix_probes: int = counter(
        "requests", "Requests that checked whether a folder had an object at the time of --as-of."
    )
    as_of_soft_deleted: int = counter(
        "names", "Names shown whose content cannot be read, because it is soft-deleted."
    )


class _ListVersions(Protocol):
    async def __call__(
        self, *, soft_deleted: bool, start_at: str, page_token: str
    ) -> VersionPage: ...


class AsOfStore:
    """The objects that were alive at the time `at_ns`, in nanoseconds since 1970.

    Args:
        store: the service.
        at_ns: the time.
        lists_soft_deleted: whether the service lists soft-deleted generations to this caller.
    """

    def __init__(self, store: VersionStore, at_ns: int, *, lists_soft_deleted: bool) -> None:
        self._store = store
        self._at_ns = at_ns
        self._kinds = (False, True) if lists_soft_deleted else (False,)
        self._probes = trio.CapacityLimiter(_MAX_PROBES)
        self._had_objects: cachetools.LRUCache[str, bool] = cachetools.LRUCache(_MAX_PREFIXES)
        self.counters = AsOfCounters()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of earlier states."""
        registry.fields(self.counters)

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return the layout of the bucket (see `ObjectStore.get_bucket`)."""
        return await self._store.get_bucket(prefix)

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return one object (see `ObjectStore.get_object`).

        With a `generation`, only this generation is returned.
        """
        end = name + _AFTER_NAME
        page = await self.list_objects(
            name,
            page_size=1,
            start_at=name,
            end_before=end if len(end.encode()) <= _MAX_NAME_BYTES else "",
        )
        for info in page.objects:
            if info.name == name and generation in (0, info.generation):
                return info
        raise NotFound("no such object at the time of --as-of", subject=repr(name))

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
        """Return one page of a listing (see `ObjectStore.list_objects`).

        A page without entries is returned only at the end.
        """
        start = max(start_at, page_token.removeprefix(_TOKEN_MARK))
        list_versions = functools.partial(
            self._store.list_versions,
            prefix,
            delimiter=delimiter,
            page_size=min(_MAX_PAGE_SIZE, page_size * _GENERATIONS_PER_NAME),
            end_before=end_before,
        )
        while True:
            readers = await _all_of(
                [
                    functools.partial(_read, list_versions, soft_deleted=kind, start_at=start)
                    for kind in self._kinds
                ]
            )
            page = merge(readers, self._at_ns, page_size)
            prefixes = await self._existing(page.prefixes)
            if page.objects or prefixes or page.next_key is None:
                break
            start = page.next_key
        self.counters.as_of_soft_deleted += page.hidden
        token = "" if page.next_key is None else _TOKEN_MARK + page.next_key
        return ListingPage(tuple(page.objects), tuple(prefixes), token)

    async def _existing(self, prefixes: Sequence[str]) -> list[str]:
        """Return the prefixes below which an object was alive."""
        unknown = [prefix for prefix in prefixes if prefix not in self._had_objects]
        found = await _all_of([functools.partial(self._probe, prefix) for prefix in unknown])
        answers = dict(zip(unknown, found, strict=True))
        self._had_objects.update(answers)
        return [
            prefix for prefix in prefixes if answers.get(prefix) or self._had_objects.get(prefix)
        ]

    async def _probe(self, prefix: str) -> bool:
        """Return whether an object whose name begins with `prefix` was alive."""
        async with self._probes:
            for kind in self._kinds:
                if await self._has_alive(prefix, soft_deleted=kind):
                    return True
            return False

    async def _has_alive(self, prefix: str, *, soft_deleted: bool) -> bool:
        start, token, page_size = "", "", _FIRST_PROBE_SIZE
        while True:
            self.counters.as_of_prefix_probes += 1
            page = await self._store.list_versions(
                prefix,
                soft_deleted=soft_deleted,
                page_token=token,
                page_size=page_size,
                start_at=start,
            )
            if any(is_alive(version, self._at_ns) for version in page.versions):
                return True
            if not page.next_page_token:
                return False
            if page_size == _FIRST_PROBE_SIZE and page.versions:
                # A page token belongs to one page size.
                start, token, page_size = page.versions[-1].info.name, "", _MAX_PAGE_SIZE
            else:
                token = _new_token(page, token, prefix)


async def _read(
    list_versions: _ListVersions, *, soft_deleted: bool, start_at: str
) -> VersionReader:
    """Read pages until the listing has a certain key."""
    reader = VersionReader()
    while True:
        page = await list_versions(
            soft_deleted=soft_deleted, start_at=start_at, page_token=reader.page_token
        )
        _new_token(page, reader.page_token, start_at)
        reader.add(page)
        if reader.has_certain_key:
            return reader


def _new_token(page: VersionPage, token: str, subject: str) -> str:
    """Return the token of the next page; raise StorageError if it is the token of this page."""
    if token and page.next_page_token == token:
        raise StorageError("the server repeats a page token", subject=repr(subject))
    return page.next_page_token


async def _all_of(functions: Sequence[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """Return the results of functions that run at the same time; raise the first StorageError."""
    results: dict[int, _T] = {}
    errors: list[StorageError] = []

    async def run(index: int, function: Callable[[], Awaitable[_T]]) -> None:
        try:
            results[index] = await function()
        except StorageError as error:
            errors.append(error)
            tasks.cancel_scope.cancel()

    async with trio.open_nursery() as tasks:
        for index, function in enumerate(functions):
            tasks.start_soon(run, index, function)
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(functions))]
