"""Reads and writes the kept names of one view; its methods block, so they run in threads.

1. Whatever a file contains, the result is a right answer or none. A file that is torn or foreign
   counts as absent (see `name_records`).
2. Invalidations are written before answers and listings of the same batch. An invalidation
   outdates what was asked for earlier, also if another mount writes it later.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.caching.name_ages import Moment, age_seconds
from gcsmux_fs.caching.name_answers import (
    KeptAnswer,
    home_of,
    join_answers,
    pack_answers,
    unpack_answers,
)
from gcsmux_fs.caching.name_marks import MAX_MARKS, Mark, is_marked, pack_mark, unpack_marks
from gcsmux_fs.caching.name_records import (
    HEADER_BYTES,
    FileId,
    RecordKind,
    asked_in,
    body_of,
    marks_name,
    pack_listing,
    record,
    unpack_listing,
    view_prefix,
)
from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.namespace.kept_names import KeptNames
from gcsmux_fs.namespace.listing_cache import CachedListing
from gcsmux_fs.namespace.names import places_of, places_of_changed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gcsmux_fs.caching.name_counters import KeptNameCounters
    from gcsmux_fs.caching.name_files import NameFiles
    from gcsmux_fs.caching.name_queue import KeptListing, NameBatch
    from gcsmux_fs.namespace.resolution import Resolution

__all__ = ["NameShelf"]


class NameShelf:
    """The kept names of the view `view` in `files`."""

    def __init__(self, files: NameFiles, view: bytes, counters: KeptNameCounters) -> None:
        self._counters = counters
        self._files = files
        self._view = view

    def read(self, location: str, max_age_seconds: float, now: Moment, clock: float) -> KeptNames:
        """Return what is kept about a directory (see `NameKeeper.read`).

        `now` and `clock` are the moment now and the time now on the mount's clock.

        Raises:
            OSError: the disk failed.
        """
        marks = self._marks()
        listing = self._read_listing(location, max_age_seconds, marks, now, clock)
        resolutions: list[tuple[str, Resolution]] = []
        for answer in self._read_answers(home_of(location)):
            if answer.resolution is None or is_marked(answer.target, answer.asked, marks, now):
                continue
            asked_at = clock - age_seconds(answer.asked, now)
            resolutions.append((answer.target, replace(answer.resolution, asked_at=asked_at)))
        return KeptNames(listing, resolutions)

    def write(self, batch: NameBatch, now: Moment) -> None:
        """Write a batch.

        Raises:
            OSError: the disk failed.
        """
        for mark in batch.marks:
            self._add_mark(mark)
        for home, answers in batch.answers.items():
            self._write_answers(home, answers.values(), now)
        for listing in batch.listings.values():
            self._write_listing(listing, now)

    # -- invalidations

    def _marks(self) -> list[Mark]:
        data = self._files.read(marks_name(self._view), HEADER_BYTES, lambda _: True)
        return [] if data is None else unpack_marks(bytes(data))[0]

    def _add_mark(self, mark: Mark) -> None:
        name = marks_name(self._view)
        if len(self._marks()) >= MAX_MARKS:
            mark = mark._replace(name="")
        self._files.append(name, pack_mark(mark))
        if not mark.name:
            # This mark stands for all earlier ones, and outdates everything that is kept.
            self._files.remove_all(view_prefix(self._view))
            self._files.replace(name, [pack_mark(mark)])

    # -- listings

    def _read_listing(
        self,
        location: str,
        max_age_seconds: float,
        marks: Sequence[Mark],
        now: Moment,
        clock: float,
    ) -> CachedListing | None:
        file = FileId(self._view, RecordKind.LISTING, location)
        asked: Moment | None = None

        def is_wanted(head: memoryview) -> bool:
            nonlocal asked
            asked = asked_in(head, file)
            if asked is None:
                self._counters.kept_names_rejected += 1
                return False
            return age_seconds(asked, now) < max_age_seconds and not is_marked(
                location, asked, marks, now
            )

        data = self._files.read(file.name, HEADER_BYTES, is_wanted)
        if data is None or asked is None:
            return None
        listing = self._unpack(file, data, clock - age_seconds(asked, now))
        if listing is None:
            self._counters.kept_names_rejected += 1
            return None
        for mark in marks:
            if clock - age_seconds(mark.at, now) >= listing.begun_at:
                _distrust(listing, places_of_changed(mark.name))
        self._counters.kept_listings_read += 1
        return listing

    @staticmethod
    def _unpack(file: FileId, data: memoryview, begun_at: float) -> CachedListing | None:
        parts = body_of(data, file)
        if parts is None:
            return None
        body, appended = parts
        marks, is_intact = unpack_marks(bytes(appended))
        if not is_intact:
            # Nobody knows which entries were invalidated.
            return None
        listing = CachedListing(file.location, begun_at)
        try:
            listing.add_page(unpack_listing(file.location, body), begun_at)
        except (ValueError, StorageError):
            return None
        for mark in marks:
            _distrust(listing, places_of(mark.name))
        return listing

    def _write_listing(self, listing: KeptListing, now: Moment) -> None:
        file = FileId(self._view, RecordKind.LISTING, listing.location)
        if self._listed_seconds_ago(listing.location, now) < age_seconds(listing.asked, now):
            # Another mount has kept a newer listing.
            return
        body = pack_listing(listing.location, listing.pages)
        if body is None:
            return
        parts = record(file, listing.asked, body)
        age = age_seconds(listing.asked, now)
        for answer in self._read_answers(home_of(listing.location)):
            if answer.invalidated and age_seconds(answer.invalidated, now) <= age:
                parts.append(pack_mark(Mark(answer.target, answer.invalidated)))
        if self._files.replace(file.name, parts):
            self._counters.kept_listings_written += 1

    def _listed_seconds_ago(self, location: str, now: Moment) -> float:
        """Return the age of a kept listing; infinity if there is none."""
        file = FileId(self._view, RecordKind.LISTING, location)
        asked: Moment | None = None

        def look(head: memoryview) -> bool:
            nonlocal asked
            asked = asked_in(head, file)
            return False

        self._files.read(file.name, HEADER_BYTES, look)
        return math.inf if asked is None else age_seconds(asked, now)

    # -- answers about single names

    def _read_answers(self, home: str) -> list[KeptAnswer]:
        file = FileId(self._view, RecordKind.ANSWERS, home)
        data = self._files.read(file.name, HEADER_BYTES, lambda _: True)
        if data is None:
            return []
        parts = body_of(data, file)
        try:
            if parts is not None:
                return unpack_answers(parts[0])
        except ValueError:
            pass
        self._counters.kept_names_rejected += 1
        return []

    def _write_answers(self, home: str, answers: Collection[KeptAnswer], now: Moment) -> None:
        file = FileId(self._view, RecordKind.ANSWERS, home)
        ages: dict[str, float] = {}

        def listed_seconds_ago(target: str) -> float:
            location = places_of(target)[0][0]
            if location not in ages:
                ages[location] = self._listed_seconds_ago(location, now)
            return ages[location]

        joined, have_room = join_answers(
            self._read_answers(home), answers, now, listed_seconds_ago=listed_seconds_ago
        )
        if not have_room:
            self._add_mark(Mark(home, now))
            return
        for answer in answers:
            if answer.invalidated is None:
                continue
            if age_seconds(answer.invalidated, now) <= listed_seconds_ago(answer.target) < math.inf:
                listing = FileId(self._view, RecordKind.LISTING, places_of(answer.target)[0][0])
                line = pack_mark(Mark(answer.target, answer.invalidated))
                self._files.append(listing.name, line)
        self._files.replace(file.name, record(file, now, [pack_answers(joined)]))


def _distrust(listing: CachedListing, places: Iterable[tuple[str, bytes]]) -> None:
    for location, name in places:
        if location == listing.listing.location:
            listing.distrust(name)
