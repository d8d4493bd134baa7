"""Names that wait to be written to disk; sans-IO.

1. The queue is bounded: the newest listing or answer is dropped if there is no room. A dropped
   answer costs a request after a restart.
2. An invalidation is never dropped, because without it an outdated answer could be used. If there
   is no room, one invalidation of the whole bucket replaces everything that waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.caching.name_answers import KeptAnswer, home_of
from gcsmux_fs.caching.name_marks import MAX_MARKS, Mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.caching.name_ages import Moment
    from gcsmux_fs.model.values import ListingPage

__all__ = ["MAX_WAITING_ENTRIES", "KeptListing", "NameBatch", "NameQueue"]

MAX_WAITING_ENTRIES = 300_000
"""Maximum number of entries that wait. The pages of a listing are shared with the memory cache, so
they take hardly any memory of their own, unless the memory cache has evicted them."""


class KeptListing(NamedTuple):
    """All pages of the directory `location`; the first request was sent at `asked`."""

    location: str
    asked: Moment
    pages: Sequence[ListingPage]


@dataclass(slots=True)
class NameBatch:
    """What is written in one turn: first the marks, then the answers, then the listings."""

    marks: list[Mark] = field(default_factory=list)
    #: For each directory, the newest answer about each name.
    answers: dict[str, dict[str, KeptAnswer]] = field(default_factory=dict)
    listings: dict[str, KeptListing] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.marks or self.answers or self.listings)

    def drop_answers(self) -> int:
        """Drop everything except for invalidations; return how much is dropped."""
        dropped = len(self.listings) + sum(map(len, self.answers.values()))
        self.listings.clear()
        for home, answers in self.answers.items():
            self.answers[home] = {
                target: replace(answer, resolution=None)
                for target, answer in answers.items()
                if answer.invalidated is not None
            }
        return dropped - sum(map(len, self.answers.values()))


class NameQueue:
    """Collects what is written next."""

    def __init__(self, max_entries: int = MAX_WAITING_ENTRIES) -> None:
        self._max_entries = max_entries
        self._batch = NameBatch()
        #: The number of entries that wait.
        self.entries = 0

    def __bool__(self) -> bool:
        return bool(self._batch)

    def add_listing(self, listing: KeptListing) -> bool:
        """Add a listing; return False if it is dropped."""
        entries = sum(len(page.objects) + len(page.prefixes) for page in listing.pages) + 1
        if self.entries + entries > self._max_entries:
            return False
        self.entries += entries
        self._batch.listings[listing.location] = listing
        return True

    def add_answer(self, answer: KeptAnswer) -> bool:
        """Add an answer about one name; return False if it is dropped."""
        if self.entries >= self._max_entries:
            if answer.invalidated is None:
                return False
            self._drop_everything(answer.invalidated)
            return True
        self.entries += 1
        answers = self._batch.answers.setdefault(home_of(answer.target), {})
        earlier = answers.get(answer.target)
        if earlier is not None and answer.invalidated is None:
            answer = replace(answer, invalidated=earlier.invalidated)
        answers[answer.target] = answer
        return True

    def add_mark(self, mark: Mark) -> None:
        """Add the invalidation of all names below a prefix."""
        self._batch.marks.append(mark)
        if len(self._batch.marks) > MAX_MARKS:
            self._drop_everything(mark.at)

    def put_back(self, batch: NameBatch) -> None:
        """Add a batch again that was not written; newer answers in the queue stay."""
        later = self.take()
        for each in (batch, later):
            for mark in each.marks:
                self.add_mark(mark)
            for listing in each.listings.values():
                self.add_listing(listing)
            for answers in each.answers.values():
                for answer in answers.values():
                    self.add_answer(answer)

    def _drop_everything(self, at: Moment) -> None:
        newest = max(
            [at, *(mark.at for mark in self._batch.marks)], key=lambda at: at.since_boot_ns
        )
        self._batch = NameBatch([Mark("", newest)])
        self.entries = 0

    def take(self) -> NameBatch:
        """Return everything that waits, and empty the queue."""
        batch, self._batch = self._batch, NameBatch()
        self.entries = 0
        return batch
