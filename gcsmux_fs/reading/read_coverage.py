"""Records which bytes of one object were read, and which were fetched ahead and not read.

Theory of operation: the object is divided into pages of 2 MiB, and each page into granules of
16 KiB. For each page, one bit mask holds the granules that a READ has touched, and another the
granules that readahead has planned. So the number of bytes planned and not read is exact, whatever
the order of the READs, and whichever pattern planned the bytes.

All patterns of all open files share one limit of the bytes planned and not read: `ALLOWANCE_BYTES`
plus half of the bytes read. The limit bounds what the object costs if the program stops reading at
any time. Only a walk has another limit (`room_for_walk`).

Invariant: `unread_bytes` is the number of bytes of the granules that are planned and not read. A
page that is forgotten because there are too many pages counts as it was.
"""

from __future__ import annotations

from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES

__all__ = ["ALLOWANCE_BYTES", "ReadCoverage"]

ALLOWANCE_BYTES = 8 * 1024 * 1024
"""The bytes that readahead may plan for one object in addition to half of the bytes read."""

_FIRST_ALLOWANCE_BYTES = 1024 * 1024
_EARNED_ALLOWANCE_BYTES = 3 * 1024 * 1024
"""If patterns have ended with more than `_FIRST_ALLOWANCE_BYTES` planned and not read, the
allowance is this number and half of the bytes read, at most `_EARNED_ALLOWANCE_BYTES`. So many
short runs cost less. The rest of the allowance is for bytes expected with confidence."""

_UNREAD_DIVISOR = 2
"""The bytes planned and not read may be the bytes read divided by this number, and
`ALLOWANCE_BYTES`. So an object costs at most 1.5 times the bytes read, and the allowance."""

_MAX_PAGES = 4096
"""The number of pages of which one object remembers the masks: 8 GiB, in about 1 MiB of memory. The
page that was touched first is forgotten first."""

_GRANULE_SHIFT = GRANULE_BYTES.bit_length() - 1
_PAGE_GRANULES = PAGE_BYTES // GRANULE_BYTES


class _PageMasks:
    """The granules of one page that were read, and those that were planned. Bit 0 is the first."""

    __slots__ = ("planned", "read", "touches")

    def __init__(self) -> None:
        self.read = 0
        self.planned = 0
        #: The number of READs in this page that belonged to no pattern.
        self.touches = 0


class ReadCoverage:
    """The granules of one object that were read or planned."""

    __slots__ = ("_pages", "ahead_bytes", "planned_bytes", "read_bytes", "unread_bytes")

    def __init__(self) -> None:
        self._pages: dict[int, _PageMasks] = {}
        #: The number of bytes of all READs. A byte that was read twice counts twice.
        self.read_bytes = 0
        #: The number of bytes that were planned and not read.
        self.unread_bytes = 0
        #: The number of bytes of all planned ranges. A byte that was planned twice counts twice.
        self.planned_bytes = 0
        #: The number of planned bytes of which patterns still expect READs.
        self.ahead_bytes = 0

    def room_for(self, confident_bytes: int) -> int:
        """Return the number of bytes that a pattern may plan now.

        `confident_bytes` is the number of bytes that the pattern expects with confidence. For these
        bytes the whole limit may be used.
        """
        limit = ALLOWANCE_BYTES + self.read_bytes // _UNREAD_DIVISOR
        rest = limit - self.unread_bytes
        room = rest
        if self.unread_bytes - self.ahead_bytes > _FIRST_ALLOWANCE_BYTES:
            earned_bytes = min(self.read_bytes // _UNREAD_DIVISOR, _EARNED_ALLOWANCE_BYTES)
            room -= ALLOWANCE_BYTES - _FIRST_ALLOWANCE_BYTES - earned_bytes
        return max(0, room, min(rest, confident_bytes))

    def room_for_walk(self, factor: float, allowance: int) -> int:
        """Return how many bytes a walk may plan.

        The walk may ask for `factor` times the bytes read, and `allowance` bytes.
        """
        return max(0, int(self.read_bytes * (factor - 1)) + allowance - self.unread_bytes)

    def note_read(self, offset: int, end: int) -> int:
        """Record a READ of `[offset, end)`. Return how many planned bytes it is the first to read.

        The range must not be empty.
        """
        self.read_bytes += end - offset
        useful = 0
        for masks, mask in self._masks(offset, end):
            new = mask & ~masks.read
            if new:
                masks.read |= new
                if new & masks.planned:
                    useful += (new & masks.planned).bit_count()
        useful <<= _GRANULE_SHIFT
        self.unread_bytes -= useful
        return useful

    def note_touch(self, offset: int) -> None:
        """Record that the READ at `offset`, which was recorded before, belongs to no pattern."""
        masks = self._pages.get(offset // PAGE_BYTES)
        if masks is not None:
            masks.touches += 1

    def note_planned(self, offset: int, end: int) -> None:
        """Record that the range `[offset, end)` is planned."""
        new_granules = 0
        for masks, mask in self._masks(offset, end):
            new = mask & ~masks.planned
            masks.planned |= new
            new_granules += (new & ~masks.read).bit_count()
        self.unread_bytes += new_granules << _GRANULE_SHIFT
        self.planned_bytes += end - offset

    def note_refused(self, offset: int, end: int) -> None:
        """Record that the planned range `[offset, end)` was not requested."""
        granules = 0
        for masks, mask in self._masks(offset, end):
            refused = mask & masks.planned
            masks.planned &= ~refused
            granules += (refused & ~masks.read).bit_count()
        self.unread_bytes -= granules << _GRANULE_SHIFT
        self.planned_bytes -= end - offset

    def is_read(self, offset: int, end: int) -> bool:
        """Return whether READs have touched every granule of `[offset, end)`."""
        return all(not mask & ~masks.read for masks, mask in self._masks(offset, end))

    def touches(self, offset: int, end: int) -> int:
        """Return how many READs of the pages of `[offset, end)` belonged to no pattern."""
        pages = range(offset // PAGE_BYTES, -(-end // PAGE_BYTES))
        return sum([self._pages[page].touches for page in pages if page in self._pages])

    def bytes_touched(self, offset: int, end: int) -> int:
        """Return the number of bytes of the granules in `[offset, end)` that READs have touched."""
        granules = 0
        for page, mask in _page_masks(offset, end):
            masks = self._pages.get(page)
            if masks is not None:
                granules += (masks.read & mask).bit_count()
        return granules << _GRANULE_SHIFT

    def missing(self, offset: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of `[offset, end)` that are neither read nor planned, within pages.

        Both offsets must be multiples of 16 KiB, or the end of the object.
        """
        parts: list[tuple[int, int]] = []
        for page, mask in _page_masks(offset, end):
            masks = self._pages.get(page)
            if masks is not None:
                mask &= ~(masks.read | masks.planned)
            first = page * PAGE_BYTES
            while mask:
                skipped = (mask & -mask).bit_length() - 1
                mask >>= skipped
                length = (~mask & (mask + 1)).bit_length() - 1
                start = first + (skipped << _GRANULE_SHIFT)
                first = start + (length << _GRANULE_SHIFT)
                mask >>= length
                parts.append((start, min(first, end)))
        return parts

    def _masks(self, offset: int, end: int) -> list[tuple[_PageMasks, int]]:
        """Return for each page of `[offset, end)` its masks, and the mask of the range."""
        found: list[tuple[_PageMasks, int]] = []
        for page, mask in _page_masks(offset, end):
            masks = self._pages.get(page)
            if masks is None:
                masks = self._pages[page] = _PageMasks()
                if len(self._pages) > _MAX_PAGES:
                    del self._pages[next(iter(self._pages))]
            found.append((masks, mask))
        return found


def _page_masks(offset: int, end: int) -> list[tuple[int, int]]:
    """Return the number of each page of `[offset, end)`, and the mask of its granules."""
    first = offset >> _GRANULE_SHIFT
    last = ((end - 1) >> _GRANULE_SHIFT) + 1
    found: list[tuple[int, int]] = []
    while first < last:
        page = first // _PAGE_GRANULES
        page_first = page * _PAGE_GRANULES
        upper = min(last - page_first, _PAGE_GRANULES)
        found.append((page, (1 << upper) - (1 << (first - page_first))))
        first = page_first + upper
    return found
