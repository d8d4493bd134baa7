"""Unpacks what the files about one directory contain; sans-IO.

Unpacking a listing of 100,000 entries takes 0.3 s, and much longer on a busy machine. So it is
separate from the work with the disk, whose time is limited.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcsmux_fs.caching.name_ages import Moment, age_seconds, least_age_seconds
from gcsmux_fs.caching.name_answers import unpack_answers
from gcsmux_fs.caching.name_marks import Mark, is_marked, unpack_marks
from gcsmux_fs.caching.name_records import FileId, body_of, unpack_listing
from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.namespace.kept_names import KeptNames
from gcsmux_fs.namespace.listing_cache import CachedListing
from gcsmux_fs.namespace.names import places_of, places_of_changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gcsmux_fs.caching.name_answers import KeptAnswer
    from gcsmux_fs.namespace.resolution import Resolution

__all__ = ["FetchedFile", "FetchedNames", "answers_in"]


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """The content of one file."""

    file: FileId
    content: memoryview


@dataclass(slots=True)
class FetchedNames:
    """The files about one directory.

    Attributes:
        now: the moment at which the files were read.
        clock: the same time on the mount's clock.
        marks: the prefixes that were invalidated.
        listing: the listing, and the moment of its first request; None if it is absent or too old.
        answers: the answers about single names; None if there are none.
        rejected: the number of files that were torn or foreign.
    """

    now: Moment
    clock: float
    marks: Sequence[Mark]
    listing: tuple[FetchedFile, Moment] | None
    answers: FetchedFile | None
    rejected: int = 0

    @property
    def bytes(self) -> int:
        """The size of all files."""
        listing = 0 if self.listing is None else len(self.listing[0].content)
        return listing + (0 if self.answers is None else len(self.answers.content))

    def unpack(self) -> KeptNames:
        """Return what the files contain, without what was invalidated later."""
        listing = None
        if self.listing is not None:
            listing = self._unpack_listing(*self.listing)
            self.rejected += listing is None
        return KeptNames(listing, self._resolutions())

    def _at(self, moment: Moment) -> float:
        return self.clock - age_seconds(moment, self.now)

    def _unpack_listing(self, fetched: FetchedFile, asked: Moment) -> CachedListing | None:
        parts = body_of(fetched.content, fetched.file)
        if parts is None:
            return None
        body, appended = parts
        invalidated, is_intact = unpack_marks(bytes(appended))
        if not is_intact:
            # Nobody knows which entries were invalidated.
            return None
        listing = CachedListing(fetched.file.location, self._at(asked))
        try:
            page = unpack_listing(fetched.file.location, body)
            listing.add_page(page, listing.begun_at)
        except (ValueError, StorageError):
            return None
        for mark in invalidated:
            _distrust(listing, places_of(mark.name))
        for mark in self.marks:
            if self.clock - least_age_seconds(mark.at, self.now) >= listing.begun_at:
                _distrust(listing, places_of_changed(mark.name))
        return listing

    def _resolutions(self) -> list[tuple[str, Resolution]]:
        if self.answers is None:
            return []
        answers = answers_in(self.answers)
        self.rejected += answers is None
        return [
            (answer.target, replace(answer.resolution, asked_at=self._at(answer.asked)))
            for answer in answers or ()
            if answer.resolution is not None
            and not is_marked(answer.target, answer.asked, self.marks, self.now)
        ]


def answers_in(fetched: FetchedFile) -> list[KeptAnswer] | None:
    """Return the answers in a file; None if the file is torn or foreign."""
    parts = body_of(fetched.content, fetched.file)
    if parts is None:
        return None
    try:
        return unpack_answers(parts[0])
    except ValueError:
        return None


def _distrust(listing: CachedListing, places: Iterable[tuple[str, bytes]]) -> None:
    for location, name in places:
        if location == listing.listing.location:
            listing.distrust(name)
