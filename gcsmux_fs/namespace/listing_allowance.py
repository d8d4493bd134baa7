"""Decides how many pages of a directory are listed because names in it are looked up; sans-IO.

Theory of operation

A name without a cached answer costs a request to the service. A page of a listing costs a request
too, and answers the lookups of up to 1,000 names. So a directory in which a program looks up many
names is listed. But the directory may be large, and the program may look up few of its names. So
each page must be paid for by lookups. A directory has an account of *points*:

- a name that the service was asked for gives 1 point, and a lookup that the listing answered gives
  `POINTS_OF_ANSWER` points, because it shows that the program looks up names of the listed part;
- the first page is allowed after `MIN_NAMES` different names, and each further page takes
  `POINTS_OF_PAGE` points.

Google charges the same for a page as for the listing that looks up one name. A page takes as much
processor time as about six lookups (3 ms and 0.5 ms). So pages that turn out to be useless add a
sixteenth to the price of the lookups, and a third to their processor time. If a program opens 2,000
random files of a directory, one after the other, the service is asked for 8 names if the directory
has 2,000 files, for 70 names if it has 10,000, and for 620 names if it has 100,000.

1. No page is allowed before `MIN_NAMES` different names were asked for within one TTL.
2. Within one TTL, at most 1 + points / `POINTS_OF_PAGE` pages of a directory are allowed.
3. After a page has failed, no page of the directory is allowed for `FAILURE_SECONDS`.
"""

from __future__ import annotations

import math

import cachetools

__all__ = [
    "FAILURE_SECONDS",
    "MIN_NAMES",
    "POINTS_OF_ANSWER",
    "POINTS_OF_PAGE",
    "ListingAllowance",
]

MIN_NAMES = 4
"""Number of names before the first page: most programs open fewer files of one directory."""

POINTS_OF_ANSWER = 2
"""Points of a lookup that the listing answered: more than 1, because it shows a use of pages."""

POINTS_OF_PAGE = 16
"""Points of a page. With 32 points, twice as many names of a directory of 10,000 are asked for."""

FAILURE_SECONDS = 60.0
"""A refused caller rarely gets a permission within a minute: IAM changes take two minutes."""

# Maximum number of directories with an account. Each takes up to 2 KB.
_MAX_DIRECTORIES = 1024


class _Account:
    """The lookups and the pages of one directory since the time `since`."""

    __slots__ = ("asked", "barred_until", "names", "pages", "since")

    def __init__(self, since: float, barred_until: float = -math.inf) -> None:
        self.since = since
        self.barred_until = barred_until
        # The first different names; at most MIN_NAMES.
        self.names: set[bytes] = set()
        self.asked = 0
        self.pages = 0


class ListingAllowance:
    """The accounts of the directories in which names are looked up.

    `ttl_seconds` is how long an answer of the service is valid. An account lasts for one TTL. With
    a TTL of 0 no page is allowed, because no account ever has more than one name.
    """

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl = ttl_seconds
        self._accounts: cachetools.LRUCache[str, _Account] = cachetools.LRUCache(_MAX_DIRECTORIES)

    def note_asked(self, location: str, name: bytes, now: float) -> None:
        """Record that the service is asked for an entry of the directory `location`."""
        account = self._accounts.get(location)
        if account is None:
            account = self._accounts[location] = _Account(now)
        elif now >= account.since + self._ttl:
            account = self._accounts[location] = _Account(now, account.barred_until)
        if len(account.names) < MIN_NAMES:
            account.names.add(name)
        else:
            account.asked += 1

    def allows(self, location: str, answered: int, pages: int, now: float) -> bool:
        """Return whether a number of further pages of a directory may be requested.

        `answered` is the number of lookups that the listing has answered so far.
        """
        account = self._accounts.get(location)
        if account is None or len(account.names) < MIN_NAMES or now < account.barred_until:
            return False
        points = account.asked + answered * POINTS_OF_ANSWER
        return account.pages + pages <= 1 + points // POINTS_OF_PAGE

    def note_page(self, location: str) -> None:
        """Record that a page of a directory was requested."""
        account = self._accounts.get(location)
        if account is not None:
            account.pages += 1

    def note_complete(self, location: str) -> None:
        """Record that a listing is complete. Another listing must be paid for by other lookups."""
        account = self._accounts.get(location)
        if account is not None:
            self._accounts[location] = _Account(account.since)

    def note_failed(self, location: str, now: float) -> None:
        """Record that the service refused a page, or failed."""
        self._accounts[location] = _Account(now, now + FAILURE_SECONDS)
