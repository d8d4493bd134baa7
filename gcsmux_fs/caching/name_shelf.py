"""Reads and writes the kept names of one view; its methods block, so they run in threads.

1. Whatever a file contains, the result is a right answer or none. A file that is torn or foreign
   counts as absent (see `name_records`).
2. Invalidations are written before answers and listings of the same batch. An invalidation
   outdates what was asked for earlier, also if another mount writes it later.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.caching.fetched_names import FetchedFile, FetchedNames, answers_in
from gcsmux_fs.caching.name_ages import Moment, age_seconds, least_age_seconds
from gcsmux_fs.caching.name_answers import (
    home_of,
    join_answers,
    pack_answers,
)
from gcsmux_fs.caching.name_marks import MAX_MARKS, Mark, is_marked, pack_mark, unpack_marks
from gcsmux_fs.caching.name_records import (
    HEADER_BYTES,
    FileId,
    RecordKind,
    asked_in,
    marks_name,
    pack_listing,
    record,
    view_prefix,
)
from gcsmux_fs.namespace.names import places_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gcsmux_fs.caching.name_answers import KeptAnswer
    from gcsmux_fs.caching.name_counters import KeptNameCounters
    from gcsmux_fs.caching.name_files import NameFiles
    from gcsmux_fs.caching.name_queue import KeptListing, NameBatch

__all__ = ["NameShelf"]


class NameShelf:
    """The kept names of the view `view` in `files`."""

    def __init__(self, files: NameFiles, view: bytes, counters: KeptNameCounters) -> None:
        self._counters = counters
        self._files = files
        self._view = view

    def fetch(
        self, location: str, max_age_seconds: float, now: Moment, clock: float
    ) -> FetchedNames:
        """Return the files about a directory (see `NameKeeper.read`).

        `now` and `clock` are the moment now and the time now on the mount's clock.

        Raises:
            OSError: the disk failed.
        """
        marks = self._marks()
        listing = self._fetch_listing(location, max_age_seconds, marks, now)
        return FetchedNames(now, clock, marks, listing, self._fetch_answers(home_of(location)))

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

    def _fetch_listing(
        self, location: str, max_age_seconds: float, marks: Sequence[Mark], now: Moment
    ) -> tuple[FetchedFile, Moment] | None:
        file = FileId(self._view, RecordKind.LISTING, location)
        asked: Moment | None = None

        def is_wanted(head: memoryview) -> bool:
            nonlocal asked
            asked = asked_in(head, file)
            if asked is None:
                self._counters.kept_names_rejected += 1
                return False
            is_young = age_seconds(asked, now) < max_age_seconds
            return is_young and not is_marked(location, asked, marks, now)

        content = self._files.read(file.name, HEADER_BYTES, is_wanted)
        if content is None or asked is None:
            return None
        return FetchedFile(file, content), asked

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
            if answer.invalidated and least_age_seconds(answer.invalidated, now) <= age:
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

    def _fetch_answers(self, home: str) -> FetchedFile | None:
        file = FileId(self._view, RecordKind.ANSWERS, home)
        content = self._files.read(file.name, HEADER_BYTES, lambda _: True)
        return None if content is None else FetchedFile(file, content)

    def _read_answers(self, home: str) -> list[KeptAnswer]:
        fetched = self._fetch_answers(home)
        return [] if fetched is None else answers_in(fetched) or []

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
            if answer.invalidated is not None and (
                least_age_seconds(answer.invalidated, now)
                <= listed_seconds_ago(answer.target)
                < math.inf
            ):
                self._invalidate_in_listing(Mark(answer.target, answer.invalidated))
        if not self._files.replace(file.name, record(file, now, [pack_answers(joined)])):
            # Without room for the invalidations, earlier answers must not stay.
            self._files.remove(file.name)

    def _invalidate_in_listing(self, mark: Mark) -> None:
        listing = FileId(self._view, RecordKind.LISTING, places_of(mark.name)[0][0])
        try:
            self._files.append(listing.name, pack_mark(mark))
        except OSError:
            # The disk may be full.
            self._files.remove(listing.name)
