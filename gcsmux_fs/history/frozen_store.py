"""An object store that gives each first answer of another store for ever."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.history.key_ranges import END, KeyRange, after_prefix, directory_of, next_key
from gcsmux_fs.metrics.registry import counter
from gcsmux_fs.model.errors import GenerationGone, NotFound, StorageError, Unsupported
from gcsmux_fs.model.object_table import ObjectTable
from gcsmux_fs.model.values import ListingPage

if TYPE_CHECKING:
    from gcsmux_fs.history.frozen_names import FrozenNames
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.values import BucketInfo, ObjectInfo
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["FrozenStore", "NotFrozen"]

_DELIMITER = "/"


@dataclass(slots=True)
class FreezeCounters:
    """Counters of the answers of a frozen mount."""

    frozen_answers: int = counter("answers", "Answers that needed no request, because of --freeze.")
    frozen_refusals: int = counter(
        "answers", "Lookups and listings that failed, because the name is not frozen."
    )


class NotFrozen(StorageError):
    """The frozen names do not show whether a name exists."""

    errno = errno.ESTALE


class _Position(NamedTuple):
    """Where a listing continues: at `key`, and how the service continues exactly there."""

    key: str
    start_at: str = ""
    page_token: str = ""


class FrozenStore:
    """Shows each name of `store` as the first answer about it has shown it.

    With `is_closed`, the names are complete: `store` is never asked, and a question that the names
    do not answer fails with `NotFrozen`. So a program gets ESTALE, not a wrong absence.
    """

    def __init__(self, store: ObjectStore, names: FrozenNames, *, is_closed: bool = False) -> None:
        self._store = store
        self._names = names
        self._is_closed = is_closed
        self.counters = FreezeCounters()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of frozen names."""
        names = self._names
        registry.gauge(
            "frozen_names", "names", "Objects whose generation is frozen.", lambda: names.objects
        )
        registry.gauge(
            "frozen_directories",
            "directories",
            "Directories of which a name is frozen.",
            lambda: len(names),
        )
        registry.fields(self.counters)

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return the layout of the bucket (see `ObjectStore.get_bucket`)."""
        return await self._store.get_bucket(prefix)

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return one object (see `ObjectStore.get_object`)."""
        is_known, row = self._names.find(name)
        if is_known:
            self.counters.frozen_answers += 1
        else:
            objects: tuple[ObjectInfo, ...] = ()
            try:
                self._check_open(name)
                objects = (await self._store.get_object(name),)
            except NotFound:
                pass
            answer = ListingPage(objects, (), "")
            self._names.pin(directory_of(name), KeyRange(name, next_key(name)), answer)
            _, row = self._names.find(name)
        if row is None:
            raise NotFound("no such object when the name was frozen", subject=repr(name))
        info = row.info
        if generation not in (0, info.generation):
            raise GenerationGone("another generation is frozen", subject=repr(name))
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
        """Return one page of a listing (see `ObjectStore.list_objects`).

        Raises:
            Unsupported: the delimiter is not `/`.
        """
        if delimiter != _DELIMITER:
            raise Unsupported("frozen names are listed by directory", subject=repr(prefix))
        location = directory_of(prefix)
        high = min(end_before or END, after_prefix(prefix))
        position = _parse(page_token) if page_token else _Position(max(prefix, start_at))
        start, asked = position.key, False
        while True:
            frozen = self._names.read(location, KeyRange(start, high), page_size)
            if frozen.next_key not in (None, position.key):
                position = _Position(frozen.next_key)
            if frozen.has_entries or not frozen.is_gap:
                break
            self._check_open(prefix)
            start, asked = position.key, True
            position = await self._ask(prefix, location, position, page_size, end_before, high)
        if not asked:
            self.counters.frozen_answers += 1
        token = "" if frozen.next_key is None else json.dumps(position)
        return ListingPage(frozen.objects, frozen.prefixes, token)

    async def _ask(
        self,
        prefix: str,
        location: str,
        position: _Position,
        page_size: int,
        end_before: str,
        high: str,
    ) -> _Position:
        """Ask the service for a page at `position`, and return where its next page begins."""
        low = position.key
        start_at = position.start_at
        if not position.page_token:
            start_at = "" if low == prefix else low.rstrip("\0")
        page = await self._store.list_objects(
            prefix,
            delimiter=_DELIMITER,
            page_token=position.page_token,
            page_size=page_size,
            start_at=start_at,
            end_before=end_before,
        )
        if page.next_page_token and page.next_page_token == position.page_token:
            raise StorageError("the server repeats a page token", subject=repr(prefix))
        following = _following(page, location, low, high, start_at)
        self._names.pin(location, KeyRange(low, following.key), page)
        return following

    def _check_open(self, subject: str) -> None:
        if self._is_closed:
            self.counters.frozen_refusals += 1
            raise NotFrozen("the file of --freeze-file has no answer", subject=repr(subject))


def _following(page: ListingPage, location: str, low: str, high: str, start_at: str) -> _Position:
    """Return where the page after `page` begins, whose request began at the key `low`.

    A page may end between a folder and its placeholder object. So the last key of a page is asked
    for again if it is a folder, unless the page has no other key.
    """
    token = page.next_page_token
    if not token:
        return _Position(high)
    names = ObjectTable.of(page.objects).names
    keys = {*names, *page.prefixes}
    if not keys:
        return _Position(low, start_at, token)
    last = max(keys)
    if not last.endswith(_DELIMITER) or last == location:
        return _Position(next_key(last), start_at, token)
    if len(keys) > 1 and last > low:
        return _Position(last)
    return _Position(after_prefix(last) if last in page.prefixes else last, start_at, token)


def _parse(page_token: str) -> _Position:
    return _Position(*json.loads(page_token))
