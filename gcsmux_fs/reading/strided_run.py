"""READs of one open file in groups at constant distances, and the readahead of the next groups.

Theory of operation: a *group* is a run of READs that adjoin each other. Groups repeat with a
*cycle*: the next cycle has the same groups, `cycle_bytes` further up or down in the object. A
column of a row-major matrix has one group per cycle, two columns of a Parquet file have two.
`find_cycle` compares the starts of the last groups. Three groups at equal distances are a pattern,
or `2 n + 1` groups if a cycle has `n` groups.

The place of a group in a later cycle is its *tile*. Tiles are numbered. The window is the number of
bytes in the tiles ahead of the reader, and doubles when a READ has to wait. Each tile becomes one
or more ranges, which contain no byte between the tiles, unless the bytes between two tiles are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_pattern import AccessPattern
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.reading.sequential_run import SequentialRun

__all__ = ["MAX_CYCLE_GROUPS", "StridedRun", "find_cycle"]

MAX_CYCLE_GROUPS = 4
"""Maximum number of groups in a cycle. Each further group costs two groups until the pattern is
recognised, and a little time for each READ."""

_FIRST_TILES = 4
"""The number of tiles in the first window. Three groups have been read by then."""

_FEW_TILES = 16
"""While a plan has so few tiles ahead, the next plan is made at the next READ. A plan takes time in
proportion to its tiles."""

_JITTER_DIVISOR = 8
"""Distances count as equal if they differ by at most the length of a group divided by this number,
or by `_LEAST_JITTER_BYTES`."""

_LEAST_JITTER_BYTES = 8 * 1024
"""Distances that differ by this many bytes or less are equal: READs begin at pages of 4 KiB, so two
rounded offsets differ by up to two pages from the exact distance."""

_LEAST_CYCLE_BYTES = 8 * 1024
"""Groups at shorter distances are no pattern: READs are cut at pages of 4 KiB."""

_MAX_GROUP_BYTES = 8 * 1024 * 1024
"""Groups with more bytes are no strided run. The readahead of a sequential run plans a part of such
a group at a time, and costs one or two round trips for each group. A strided run plans whole tiles,
so it could plan nothing if a tile were longer than the share of the limit."""

_GAP_DIVISOR = 4
"""The bytes between two tiles are fetched too if they are at most the length of a tile divided by
this number. One range is cheaper than two, and costs at most 1.25 times the bytes read."""


def find_cycle(groups: Sequence[SequentialRun]) -> int:
    """Return the number of groups in a cycle of the last groups; 0 if they form no pattern."""
    for count in range(1, min(MAX_CYCLE_GROUPS, (len(groups) - 1) // 2) + 1):
        # The last group has just begun, so its length is unknown.
        lengths = [group.bytes_read for group in groups[-1 - 2 * count : -1]]
        if max(lengths) > _MAX_GROUP_BYTES:
            return 0
        tolerance = max(_LEAST_JITTER_BYTES, min(lengths) // _JITTER_DIVISOR)
        distances = [groups[-i].start - groups[-i - count].start for i in range(1, count + 2)]
        least = max(_LEAST_CYCLE_BYTES, sum(lengths[-count:]) + 1)
        if max(distances) - min(distances) > tolerance or min(map(abs, distances)) < least:
            continue
        if all(
            abs(lengths[-i] - lengths[-i - count]) <= lengths[-i] // 4 + 2 * _LEAST_JITTER_BYTES
            for i in range(1, count + 1)
        ):
            return count
    return 0


class StridedRun(AccessPattern):
    """Groups of READs that repeat after a cycle.

    Args:
        groups: The last groups, the oldest first; the last group has just begun.
        count: The number of groups in a cycle (see `find_cycle`).
        size: The size of the object in bytes.
    """

    __slots__ = (
        "_count",
        "_cycle_bytes",
        "_end_cycle",
        "_first_cycle",
        "_growth_tile",
        "_held",
        "_is_too_long",
        "_last_plan",
        "_lengths",
        "_pad",
        "_planned_ahead",
        "_planned_tile",
        "_size",
        "_starts",
        "_tile",
    )

    def __init__(self, groups: Sequence[SequentialRun], count: int, size: int) -> None:
        self._size = size
        self._count = count
        first, last = groups[-1 - 2 * count], groups[-1]
        #: The distance of two cycles; negative if the groups descend.
        self._cycle_bytes = (last.start - first.start) / 2
        #: For each group of a cycle: its start in cycle 0, and the length of its tiles.
        self._starts = [group.start for group in groups[-count:]]
        steps = [
            int((other - start) / self._cycle_bytes)
            for start in self._starts
            for other in self._starts
        ]
        #: The cycle in which one group reaches the place where another group began. The run ends
        #: there, because tiles of two groups would overlap.
        self._end_cycle = min([step for step in steps if step >= 1], default=size)
        earlier = groups[-1 - 2 * count : -1]
        self._lengths = [
            max(earlier[i].bytes_read, earlier[i + count].bytes_read) for i in range(1, count)
        ]
        self._lengths.append(max(earlier[0].bytes_read, earlier[count].bytes_read))
        if count == 1 and self._gap_bytes <= max(self._lengths[0] // _GAP_DIVISOR, GRANULE_BYTES):
            self._lengths[0] = int(abs(self._cycle_bytes))
        #: The tile of the furthest READ. Tile `cycle * count + i` is group `i` of a cycle.
        self._tile = count - 1
        self._planned_tile = self._tile - 1
        self._growth_tile = self._tile + 1
        #: The number of tiles ahead of the reader after the last plan.
        self._planned_ahead = 0
        #: True if a tile was longer than the share, so that it could not be planned.
        self._is_too_long = False
        #: The start offset of the first cycle and its number, to measure `_cycle_bytes`.
        self._first_cycle = (first.start, -2)
        #: The number of bytes by which READs were off their tiles; tiles are widened by them.
        self._pad = 0
        #: The planned ranges that were not released, with their tiles.
        self._held: list[tuple[int, ByteRange]] = []
        self._last_plan = 0
        self.window = _FIRST_TILES * sum(self._lengths) // count
        self.bytes_read = sum([group.bytes_read for group in groups[-1 - 2 * count :]])
        self.may_have_ended = False
        self.replan_offset = 0

    def __repr__(self) -> str:
        return f"<StridedRun of {self._cycle_bytes:.0f} at tile {self._tile}, window {self.window}>"

    @property
    def _gap_bytes(self) -> int:
        return int(abs(self._cycle_bytes)) - sum(self._lengths)

    @property
    def ahead_bytes(self) -> int:
        """The number of bytes in the planned tiles that no READ has reached."""
        return sum([each.length for tile, each in self._held if tile > self._tile])

    @property
    def confident_bytes(self) -> int:
        """Half of the bytes read."""
        return self.bytes_read // 2

    @property
    def is_over(self) -> bool:
        """Whether the next tile lies outside of the object, or a tile is longer than the share.

        A sequential run is better then, because it plans a part of a group at a time.
        """
        return self._is_too_long or not self._is_inside(self._tile + 1)

    def distance(self, offset: int, end: int) -> int | None:
        """Return 0 if the READ lies in the tile of the last READ or in the next one."""
        found = self._find(offset)
        if found is None:
            return None
        tile, distance = found
        return distance + GRANULE_BYTES * max(0, tile - self._tile - 1)

    def take(self, offset: int, end: int) -> None:
        """Record a READ of `[offset, end)`, and correct the place of later tiles by it."""
        self.bytes_read += end - offset
        found = self._find(offset)
        if found is None or found[0] <= self._tile:
            return
        self._tile = tile = found[0]
        cycle, group = divmod(tile, self._count)
        error = offset - self._start_of(tile)
        if error and abs(error) <= self._slack(group):
            self._pad = max(self._pad, min(abs(error), self._lengths[group] // 4))
            if group == self._count - 1:
                first_start, first_cycle = self._first_cycle
                self._cycle_bytes = (offset - first_start) / (cycle - first_cycle)
            self._starts[group] = offset - round(cycle * self._cycle_bytes)
        self._set_replan_offset()

    def note_wait(self, offset: int) -> None:
        """Double the window, unless the tile at `offset` was planned before the last doubling."""
        if self._tile >= self._growth_tile:
            self.window *= 2
            self._growth_tile = max(self._planned_tile, self._tile) + 1
            self.replan_offset = 0

    def note_refusal(self, refused: ByteRange) -> None:
        """Forget the ranges of the last plan from `refused` on, and halve the window."""
        kept = len(self._held) - self._last_plan
        while kept < len(self._held) and self._held[kept][1] != refused:
            kept += 1
        if kept < len(self._held):
            self._planned_tile = self._held[kept][0] - 1
        del self._held[kept:]
        self.window = max(self.window // 2, max(self._lengths))
        self._set_replan_offset()

    def plan(self, share: int, room: int) -> list[ByteRange]:
        """Return the ranges of the next tiles, and the rest of the present tile at first."""
        # At least one tile: the window doubles again when the share grows.
        self.window = min(self.window, max(share, max(self._lengths)))
        fetch: list[ByteRange] = []
        held = len(self._held)
        tile = max(self._planned_tile + 1, self._tile)
        ahead = self.ahead_bytes
        window = min(self.window, share, ahead + room)
        while True:
            ranges = self._ranges_of(tile)
            length = sum([each.length for each in ranges])
            if not self._is_inside(tile) or ahead + length > window:
                break
            ahead += length
            fetch += ranges
            self._held += [(tile, each) for each in ranges]
            self._planned_tile = tile
            tile += 1
        self._is_too_long = tile == self._tile and length > share
        self._last_plan = len(self._held) - held
        self._planned_ahead = max(0, self._planned_tile - self._tile)
        self._set_replan_offset()
        return fetch

    def pop_passed(self) -> list[ByteRange]:
        """Return the ranges of the tiles two cycles behind the reader."""
        return self._release(self._tile - 2 * self._count)

    def finish(self) -> list[ByteRange]:
        """Return all planned ranges that were not released."""
        held, self._held = self._held, []
        return [each for _, each in held]

    def _release(self, last_tile: int) -> list[ByteRange]:
        passed = [each for tile, each in self._held if tile <= last_tile]
        if passed:
            self._held = [held for held in self._held if held[0] > last_tile]
        return passed

    def _start_of(self, tile: int) -> int:
        cycle, group = divmod(tile, self._count)
        return self._starts[group] + round(cycle * self._cycle_bytes)

    def _is_inside(self, tile: int) -> bool:
        return (
            tile // self._count < self._end_cycle
            and -GRANULE_BYTES < self._start_of(tile) < self._size
        )

    def _slack(self, group: int) -> int:
        """Return how far a READ of a group may lie outside of its tile."""
        wanted = max(2 * GRANULE_BYTES, self._lengths[group] // _JITTER_DIVISOR)
        return max(0, min(wanted, self._gap_bytes // 2))

    def _find(self, offset: int) -> tuple[int, int] | None:
        """Return the nearest tile that holds a READ at `offset`, and the distance from it."""
        found: tuple[int, int] | None = None
        for group, start in enumerate(self._starts):
            slack = self._slack(group)
            cycles = (offset + slack - start) // abs(self._cycle_bytes)
            cycle = int(cycles if self._cycle_bytes > 0 else -cycles)
            tile = cycle * self._count + group
            place = offset - self._start_of(tile)
            if place >= self._lengths[group] + slack:
                continue
            if self._tile - self._count <= tile <= max(self._planned_tile, self._tile) + 2:
                distance = max(0, -place - self._pad, place - self._lengths[group] + 1)
                if found is None or distance < found[1]:
                    found = tile, distance
        return found

    def _ranges_of(self, tile: int) -> list[ByteRange]:
        """Return the ranges of a tile, without the bytes that the tiles before it have planned."""
        start = self._start_of(tile)
        end = min(start + self._lengths[tile % self._count] + self._pad, self._size)
        start = max(start - self._pad, 0)
        start -= start % GRANULE_BYTES
        end = min(-(-end // GRANULE_BYTES) * GRANULE_BYTES, self._size)
        cycles = 1 + int(2 * GRANULE_BYTES // abs(self._cycle_bytes))
        for held_tile, each in reversed(self._held):
            if held_tile < tile - cycles * self._count:
                break
            if each.offset <= start < each.end:
                start = each.end
            elif each.offset < end <= each.end:
                end = each.offset
        ranges: list[ByteRange] = []
        while start < end:
            piece = min(PAGE_BYTES - start % PAGE_BYTES, end - start)
            ranges.append(ByteRange(start, piece))
            start += piece
        return ranges

    def _set_replan_offset(self) -> None:
        is_due = self._ahead_tiles_are_few()
        self.replan_offset = 0 if is_due else self._size + 1

    def _ahead_tiles_are_few(self) -> bool:
        """Whether a plan is due, and the object has more tiles.

        With many tiles ahead, a plan is due when the reader has passed a quarter of the last plan,
        which may have fewer tiles than the window.
        """
        if not self._is_inside(self._planned_tile + 1):
            return self.is_over
        planned_ahead = self._planned_ahead
        if planned_ahead <= _FEW_TILES:
            return True
        return self._planned_tile - self._tile <= planned_ahead - planned_ahead // 4
