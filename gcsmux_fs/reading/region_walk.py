"""READs in any order within a region of an object, and the readahead of the rest of the region.

Theory of operation: a program that touches the rows of a mapped matrix in random order, or several
programs that share one file, read a region densely, but no READ follows another. A *walk* counts
the READs of each page that belong to no other pattern. When a region has been touched often enough,
or READs in any order have covered enough of the object, the walk plans all bytes of the region that
were neither read nor planned. When half of a planned region has been read, it plans the next one.

A walk may ask for 1.5 times the bytes read. It may ask for 3 times the bytes read after it has
proved itself: many long READs that belong to short runs, which cover a tenth of the object and need
planned bytes as often as READs at random. The length of a region is the largest that fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_pattern import AccessPattern
from gcsmux_fs.reading.block_sizes import PAGE_BYTES
from gcsmux_fs.reading.read_coverage import ALLOWANCE_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.reading.read_coverage import ReadCoverage

__all__ = ["RegionWalk"]

_REGION_BYTES = (16 * 1024 * 1024, 8 * 1024 * 1024, 4 * 1024 * 1024, PAGE_BYTES)
"""The lengths of regions. At 20 ms and 0.6 GB/s, one round trip is as long as a transfer of 12 MB,
so a longer region saves little time."""

_TOUCHED_REGION_BYTES = 8 * 1024 * 1024
"""The length of the region in which READs are counted."""

_LEAST_TOUCHES = 4
"""The number of READs without a pattern after which a region counts as touched often. With 200
random pages of a file of 4 GiB, a third of such files has one region with so many READs."""

_REGION_DIVISOR = 4
"""A region counts as touched often only if READs have touched its length divided by this number.
Random READs of 4 KiB touch 16 KiB each, so they need 128 READs in a region."""

_LONG_READ_BYTES = 64 * 1024
"""Mean length of READs that are long. Short READs at random are look-ups, which seldom come back to
a region."""

_FACTOR = 1.5
"""All bytes asked, divided by the bytes read, up to which a walk plans regions."""

_PROVED_FACTOR = 3.0
"""The same for a walk that has proved itself. A random order of the rows of a matrix comes back to
a region late, so most of the bytes have to be fetched before they prove useful."""

_PROVED_READS = 32
"""The number of READs without a pattern after which a walk may have proved itself."""

_PROVED_DIVISOR = 10
"""A walk has proved itself if READs have covered the size of the object divided by this number."""

_RUN_FACTOR = 1.25
"""A walk of short runs reads at least this many times the bytes of their first READs. Single READs
of at most 512 KiB are look-ups of pages, for which a walk does not prove itself."""

_LARGE_READ_BYTES = 512 * 1024
"""Mean length of single READs that need not be look-ups."""

_HIT_WEIGHT = 1 / 16
"""The weight of the last READ in the hit rate. Some 20 READs outside of the planned bytes show
that the program does not read at random in the whole object."""

_HIT_DIVISOR = 4
"""If READs are at random, the hit rate is the planned part of the object. A walk has not proved
itself if the hit rate is less than this part divided by this number."""


class RegionWalk(AccessPattern):
    """READs of one open file that belong to no other pattern. `coverage` holds all its READs."""

    __slots__ = (
        "_coverage",
        "_held",
        "_hit_rate",
        "_last_plan",
        "_released",
        "_size",
        "_target",
        "isolated_reads",
    )

    def __init__(self, size: int, coverage: ReadCoverage) -> None:
        self._size = size
        self._coverage = coverage
        #: The planned ranges that were not released, the oldest first.
        self._held: list[ByteRange] = []
        self._last_plan: list[ByteRange] = []
        self._released: list[ByteRange] = []
        self._target = (0, 0)
        #: The moving average of the part of the READs that needed a planned byte.
        self._hit_rate = 1.0
        self.isolated_reads = 0
        self.bytes_read = 0
        self.window = 0
        self.may_have_ended = False
        self.replan_offset = size + 1

    def __repr__(self) -> str:
        return f"<RegionWalk of {self.isolated_reads} READs, {len(self._held)} ranges>"

    @property
    def ahead_bytes(self) -> int:
        """The number of bytes of the planned ranges that were not released."""
        return sum([each.length for each in self._held])

    @property
    def confident_bytes(self) -> int:
        """No byte of a walk is expected with confidence."""
        return 0

    @property
    def is_over(self) -> bool:
        """Whether the walk holds no range and has nothing to plan."""
        return not self._held and not self._target[1]

    def distance(self, offset: int, end: int) -> int | None:
        """Return None: a READ belongs to a walk only if it belongs to no other pattern."""
        return None

    def take(self, offset: int, end: int) -> None:
        """Record a READ of `[offset, end)`, which `coverage` holds already; choose a region."""
        self.bytes_read += end - offset
        self.isolated_reads += 1
        self._target = self._region_for(offset)
        self.replan_offset = 0 if self._target[1] else self._size + 1

    def note_hit(self, *, is_hit: bool) -> None:
        """Record whether a READ without a pattern was the first to need a planned byte."""
        self._hit_rate += (is_hit - self._hit_rate) * _HIT_WEIGHT

    def note_wait(self, offset: int) -> None:
        """Do nothing: the length of a region does not depend on waits."""

    def note_refusal(self, refused: ByteRange) -> None:
        """Forget the ranges of the last plan from `refused` on."""
        first = self._last_plan.index(refused)
        del self._held[len(self._held) - len(self._last_plan) + first :]

    def plan(self, share: int, room: int) -> list[ByteRange]:
        """Return the ranges of the chosen region that were neither read nor planned."""
        self.replan_offset = self._size + 1
        start, end = self._target
        self._target = (0, 0)
        fetch: list[ByteRange] = []
        length = 0
        for first, last in self._coverage.missing(start, end):
            length += last - first
            if length > share:
                length -= last - first
                break
            fetch.append(ByteRange(first, last - first))
        for each in self._held:
            if self._coverage.is_read(each.offset, each.end):
                self._released.append(each)
        self._held = [each for each in self._held if each not in self._released]
        excess = self.ahead_bytes + length - share
        while excess > 0 and self._held:
            oldest = self._held.pop(0)
            self._released.append(oldest)
            excess -= oldest.length
        self._held += fetch
        self._last_plan = fetch
        return fetch

    def pop_passed(self) -> list[ByteRange]:
        """Return the ranges that were released to make room for others."""
        released, self._released = self._released, []
        return released

    def finish(self) -> list[ByteRange]:
        """Return all planned ranges that were not released."""
        released, self._held = self.pop_passed() + self._held, []
        return released

    def _region_for(self, offset: int) -> tuple[int, int]:
        """Return the region to plan after a READ at `offset`; `(0, 0)` if there is none."""
        coverage = self._coverage
        has_proved_itself = self._has_proved_itself()
        if has_proved_itself:
            room = coverage.room_for_walk(_PROVED_FACTOR, ALLOWANCE_BYTES)
        else:
            room = coverage.room_for_walk(_FACTOR, 0)
        if room < PAGE_BYTES or not (has_proved_itself or self._is_dense(offset)):
            return 0, 0
        for length in _REGION_BYTES:
            start = offset - offset % length
            end = min(start + length, self._size)
            missing = sum([b - a for a, b in coverage.missing(start, end)])
            if not missing:
                if 2 * coverage.bytes_touched(start, end) < end - start:
                    return 0, 0
                start, end = end, min(end + length, self._size)
                missing = sum([b - a for a, b in coverage.missing(start, end)])
            if 0 < missing <= room:
                return start, end
        return 0, 0

    def _has_proved_itself(self) -> bool:
        """Return whether the READs without a pattern are long, many, and a part of the object.

        They must also need planned bytes as often as READs at random do.
        """
        coverage = self._coverage
        planned_part = min(coverage.planned_bytes / self._size, 1)
        return (
            self._hit_rate * _HIT_DIVISOR >= planned_part
            and self.isolated_reads >= _PROVED_READS
            and self.bytes_read >= self.isolated_reads * _LONG_READ_BYTES
            and coverage.read_bytes * _PROVED_DIVISOR >= self._size
            and (
                coverage.read_bytes >= self.bytes_read * _RUN_FACTOR
                or self.bytes_read >= self.isolated_reads * _LARGE_READ_BYTES
            )
        )

    def _is_dense(self, offset: int) -> bool:
        coverage = self._coverage
        start = offset - offset % _TOUCHED_REGION_BYTES
        end = min(start + _TOUCHED_REGION_BYTES, self._size)
        return (
            coverage.touches(start, end) >= _LEAST_TOUCHES
            and coverage.bytes_touched(start, end) * _REGION_DIVISOR >= end - start
        )
