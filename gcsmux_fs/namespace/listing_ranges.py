"""Splits the listing of a large directory into ranges that are requested at the same time; sans-IO.

Theory of operation

The pages of a listing form a chain: the request for a page contains the token of the page before.
So a chain delivers at most one page per round trip. Several chains are faster, each for a range of
names (`lexicographic_start` and `lexicographic_end`). The names of the last page show how far apart
the names are. From this distance the ends of the next ranges are estimated, so that each range has
a little less than one page of names.

The estimate treats names as numbers. The digits are the characters in which the names of the page
differ, for example 0 to 9. A wrong estimate costs time or a request, and nothing else: a range may
have no names, or names for several pages.

1. The ranges follow each other without a gap, and together they contain all names after the pages
   that were taken.
2. Only the last range has no end. It is requested only when it comes first, so it can be split
   until then.
3. At most `WIDTH` pages are requested ahead, and only after `MIN_PAGES` pages were taken.
4. If more than `_MAX_WASTE` of the pages are nearly empty, no more ranges are split.
"""

from __future__ import annotations

import string
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.model.object_table import ObjectTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.values import ListingPage

__all__ = ["MIN_PAGES", "WIDTH", "ListingRanges", "PageRequest"]

WIDTH = 4
"""Number of pages in flight. Measured at 20 ms, more pages do not make `ls` faster."""

MIN_PAGES = 10
"""Number of pages before the first split. At the end of a directory, up to `WIDTH` + 1 requests for
ranges without names are wasted, which is much in a small directory."""

# Names in a range, as a part of a full page. Random names vary by 3 % (one divided by the square
# root of 1,000), so nearly all ranges fit in one page.
_SHARE = 0.9
# Maximum part of the pages that may be nearly empty. Dates, for example, leave many ranges empty.
_MAX_WASTE = 0.2
# Number of keys whose characters are compared, and maximum number of digits after the first
# difference.
_SAMPLE = 32
_MAX_DIGITS = 8
# The usual sets of digits. If the sample has only characters of one of them, all its characters are
# digits.
_DIGITS = (string.digits, string.digits + "abcdef", string.digits + "ABCDEF")


class PageRequest(NamedTuple):
    """The parameters of a request for a page (see `ObjectStore.list_objects`)."""

    start_at: str = ""
    end_before: str = ""
    page_token: str = ""


class ListingRanges:
    """The requests for the next pages of the directory `location`."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._requests = deque([PageRequest()])
        self._pages = 0
        # Number of names of the largest page so far, and number of pages with less than half of it.
        self._full = 0
        self._wasted = 0
        self._splits = True

    @property
    def head(self) -> PageRequest:
        """The request for the next page."""
        return self._requests[0]

    def upcoming(self) -> list[PageRequest]:
        """Return the requests for the next pages, at most `WIDTH`, that may be sent now."""
        requests = list(self._requests)[:WIDTH]
        is_split = len(requests) > 1 and not requests[-1].end_before
        return requests[:-1] if is_split else requests

    def take(self, page: ListingPage, *, wide: bool) -> ListingPage:
        """Record the page that `head` has requested, and return it as a page of one chain.

        If `wide`, the rest of the names may be split into ranges. The returned page has no token if
        and only if it is the last page of the directory. Its token equals that of an earlier page
        only if the server repeats a token.
        """
        request = self._requests.popleft()
        self._pages += 1
        token = page.next_page_token
        keys = sorted([*ObjectTable.of(page.objects).names, *page.prefixes])
        self._full = max(self._full, len(keys))
        if request.end_before and len(keys) < self._full / 2:
            self._wasted += 1
        if token:
            self._requests.appendleft(request._replace(page_token=token))
        if not keys:
            # There may be no names in the next ranges either. The range without an end shows it.
            self._splits = False
        elif not request.end_before:
            self._splits = True
        pays = self._pages >= MIN_PAGES and self._wasted <= self._pages * _MAX_WASTE
        if wide and pays and self._splits and keys and self._requests:
            self._split(keys)
        if not self._requests:
            return page
        # Two ranges may have the same token if the second lists the last key of the first again.
        unique = f"{self.head.start_at}\0{self.head.page_token}"
        return replace(page, next_page_token=unique)

    def _split(self, keys: Sequence[str]) -> None:
        last = self._requests.pop()
        # A range that was begun without an end is continued from its last key. The key is listed
        # again, because its folder may be on the next page.
        start = keys[-1] if last.page_token else last.start_at
        bounds: list[str] = []
        while len(self._requests) + len(bounds) < WIDTH:
            origin = bounds[-1] if bounds else start
            bound = _bound_after(self._location, keys, origin, self._full / len(keys))
            if bound is None:
                break
            bounds.append(bound)
        if not bounds:
            self._requests.append(last)
            return
        for bound in bounds:
            self._requests.append(PageRequest(start, bound))
            start = bound
        self._requests.append(PageRequest(start))


def _bound_after(location: str, keys: Sequence[str], start: str, full_pages: float) -> str | None:
    """Return a name as far after `start` as `_SHARE` of a full page reaches.

    The distance is estimated from `keys`, the names of a page. A full page has `full_pages` times
    as many names. Return None if the names of the page are not like numbers.
    """
    cut = len(location)
    step = max(1, len(keys) // _SAMPLE)
    sample = [key[cut:].removesuffix("/") for key in [*keys[::step], keys[-1]]]
    first, last, origin = sample[0], sample[-1], start[cut:].removesuffix("/")
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    if same is None:
        return None
    digits = _digits({char for key in sample for char in key[same : same + 2]})
    begin = end = same
    while begin and last[begin - 1] in digits:
        begin -= 1
    while end < min(len(last), same + _MAX_DIGITS) and last[end] in digits:
        end += 1
    width = end - begin
    distance = _value(last[begin:end], width, digits) - _value(first[begin:end], width, digits)
    value = _value(origin[begin:end], width, digits) + int(distance * full_pages * _SHARE)
    if origin[:begin] != last[:begin] or value >= len(digits) ** width:
        return None
    bound = location + last[:begin] + _text(value, width, digits)
    return bound if bound > start else None


def _digits(characters: set[str]) -> str:
    for digits in _DIGITS:
        if characters <= set(digits):
            return digits
    return "".join(sorted(characters - {"/"}))


def _value(text: str, width: int, digits: str) -> int:
    value = 0
    for char in text.ljust(width, digits[0]):
        value = value * len(digits) + max(0, digits.find(char))
    return value


def _text(value: int, width: int, digits: str) -> str:
    text = ""
    for _ in range(width):
        value, digit = divmod(value, len(digits))
        text = digits[digit] + text
    return text
