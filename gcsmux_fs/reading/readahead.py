"""Decides which ranges to fetch ahead of the READs of one open file.

Theory of operation: a FUSE server cannot distinguish the READs of a program from the READs of the
kernel's own readahead, and the kernel sends several READs at once in any order. So the planner
groups READs into runs (`SequentialRun`), with a tolerance on either side of a run's position. A
run gets a plan when there is evidence that it is sequential: a READ of 128 KiB at offset 0, or a
READ that adjoins an earlier READ. The window is the number of bytes to have ahead of the run. It
begins at 8 times the bytes read, at most 1 MiB, and doubles when a READ has to wait. A wait for
bytes that were requested before the last doubling does not count, because such a wait says nothing
about the current window. So a burst of waiting READs doubles the window once.

The runs of one file often have equal lengths: a program that reads 1 MiB at one place often reads
1 MiB at the next place, although the kernel sends several READs for each. If the last runs were all
longer than one READ, a first READ of 128 KiB is enough evidence for a window as long as the
shortest of these runs. If the last runs were equally long, no range beyond this length is planned
before the run has passed this length.

Each plan adds about a quarter of the window. The ranges of a plan are aligned, and each is about a
quarter of the window long, at most 2 MiB. With a large window, one message requests several ranges.
With a small window, the first range is short and arrives early.

The planner has no clock and fetches nothing. A `ReadaheadPlan` holds the ranges to fetch, and the
ranges to release because the run has passed them or has ended.

Invariants:

1. The ranges of a plan do not overlap earlier ranges of the same run, unless the earlier ranges
   were refused or the run ended in between.
2. No range lies beyond the end of the object, or further ahead of a run than the run's share of
   the limit. Active runs share the limit equally. The bytes that inactive runs have ahead are
   subtracted from the limit first, but at most half of the limit is subtracted.
3. Each planned byte is released once: when its run has passed it by 1 MiB, or when the run ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_patterns import TOLERANCE_BYTES, RunHistory, SequentialRun
from gcsmux_fs.reading.block_index import GRANULE_BYTES, PAGE_BYTES

__all__ = [
    "FIRST_WINDOW_BYTES",
    "KERNEL_READ_BYTES",
    "MAX_RUNS",
    "ReadaheadPlan",
    "ReadaheadPlanner",
]

KERNEL_READ_BYTES = 128 * 1024
"""The kernel's default readahead window, and so the size of the kernel's READs in a sequential run.
A READ of this size at offset 0 means that the kernel expects a sequential run. No planned range is
shorter than this, except at the end of the object."""

FIRST_WINDOW_BYTES = 1024 * 1024
"""Maximum size in bytes of the first window of a run: 8 READs of 128 KiB. If the reader stops after
one READ, the bytes of the first window are wasted."""

_EVIDENCE_FACTOR = 8
"""The first window has this many bytes for each byte read, so a READ of 128 KiB gives 1 MiB, the
largest first window."""

MAX_RUNS = 4
"""Maximum number of runs with a plan in one open file. The limit is low, because each READ is
compared with all of these runs."""

_RECENT_RUNS = 8
"""Maximum number of runs without a plan that one open file remembers. A READ is recognised as the
continuation of a run without a plan if fewer than 8 other READs came in between."""


@dataclass(frozen=True, slots=True)
class ReadaheadPlan:
    """The ranges to fetch, nearest first, and the ranges to release."""

    fetch: tuple[ByteRange, ...]
    release: tuple[ByteRange, ...]
    #: True if the run has no ready or loading bytes ahead yet.
    first_window: bool


class ReadaheadPlanner:
    """Plans the readahead of one open file. All open files of the object share `history`."""

    __slots__ = (
        "_expected_head",
        "_history",
        "_newest",
        "_released",
        "_runs",
        "_size",
        "_unplanned",
        "current",
    )

    def __init__(self, size: int, history: RunHistory | None = None) -> None:
        self._size = size
        #: Runs with a plan, the least recently used first.
        self._runs: list[SequentialRun] = []
        #: Runs without a plan, by their position.
        self._unplanned: dict[int, SequentialRun] = {}
        self._history = history if history is not None else RunHistory()
        self._newest: SequentialRun | None = None
        self._released: list[ByteRange] = []
        #: The run of the last READ that belonged to a run with a plan.
        self.current: SequentialRun | None = None
        self._expected_head = 0, 0

    def __repr__(self) -> str:
        return f"<ReadaheadPlanner {self._runs}>"

    @property
    def is_active(self) -> bool:
        """Whether any run has a plan."""
        return bool(self._runs)

    def expect_head(self, least: int, end: int) -> None:
        """Use a forecast that comes from other files.

        A run is expected to have at least `least` bytes. If `end` is not 0, only the bytes before
        the offset `end` are expected to be read, and the forecast is about these bytes only.
        """
        self._expected_head = least, end
        if self._newest is not None and (not end or self._newest.start < end):
            self._newest.expected_bytes = max(self._newest.expected_bytes, least)

    def observe(self, offset: int, end: int) -> SequentialRun | None:
        """Assign a READ of `[offset, end)` to a run. Return the run if it has a plan, else None."""
        run = self._match(offset)
        if run is not None:
            run.bytes_read += end - offset
            run.position = max(run.position, end)
            run.may_have_ended = False
            if run is not self.current:
                self.current = run
                self._runs.remove(run)
                self._runs.append(run)
            return run
        length = end - offset
        run = self._unplanned.pop(offset, None)
        if run is not None:
            run.position = end
            run.bytes_read += length
            is_sequential = True
        else:
            run = self._new_run(offset, end)
            is_sequential = length >= KERNEL_READ_BYTES and (
                offset == 0 or run.expected_bytes > length
            )
        if is_sequential and end < self._size:
            return self._start_plan(run)
        self._remember(run)
        return None

    def note_wait(self, run: SequentialRun, offset: int) -> None:
        """Double the window of `run`, because its READ at `offset` had to wait for bytes.

        A READ before `run.growth_offset` does not double the window.
        """
        if offset >= run.growth_offset:
            run.window *= 2
            run.growth_offset = max(run.planned_end, run.position)
            run.replan_offset = run.position

    def note_refusal(self, run: SequentialRun, offset: int) -> None:
        """End the plan of `run` at `offset`, and halve the window.

        The full memory budget has refused the planned ranges from `offset` on.
        """
        run.planned_end = offset
        run.window = max(run.window // 2, KERNEL_READ_BYTES)
        self._set_replan_offset(run)

    def plan(self, run: SequentialRun, limit: int) -> ReadaheadPlan:
        """Plan the next ranges of a run; all runs of the file share `limit` bytes."""
        released, self._released = self._released, []
        if run.position >= self._size or run.is_sparse:
            self._end(run, released)
            return ReadaheadPlan((), tuple(released), first_window=False)
        passed_end = run.position - TOLERANCE_BYTES
        if passed_end > run.release_offset:
            released.append(ByteRange(run.release_offset, passed_end - run.release_offset))
            run.release_offset = passed_end

        evidence = min(FIRST_WINDOW_BYTES, run.bytes_read * _EVIDENCE_FACTOR)
        expected_rest = run.start + run.expected_bytes - run.position
        window = min(max(run.window, evidence, expected_rest), self._share(limit))
        run.window = window = window - window % KERNEL_READ_BYTES
        # The READ itself has requested all bytes up to its end, rounded up to 16 KiB.
        position = -(-run.position // GRANULE_BYTES) * GRANULE_BYTES
        start = max(run.planned_end, position)
        first_window = start == position and window <= FIRST_WINDOW_BYTES
        piece = _piece_bytes(window)
        target = min(position + window, self._size)
        if position <= run.expected_end < target:
            target = run.expected_end
        elif target < self._size:
            target -= target % piece
        fetch: list[ByteRange] = []
        while start < target:
            length = min(piece - start % piece, target - start)
            fetch.append(ByteRange(start, length))
            start += length
        run.planned_end = start
        self._set_replan_offset(run)
        return ReadaheadPlan(tuple(fetch), tuple(released), first_window)

    def stop(self) -> tuple[ByteRange, ...]:
        """End every plan, and return the ranges to release. A later READ can continue a run."""
        released, self._released = self._released, []
        while self._runs:
            run = self._runs[-1]
            self._end(run, released)
            self._remember(run)
        return tuple(released)

    def _match(self, offset: int) -> SequentialRun | None:
        """Return the run with a plan to which a READ at `offset` belongs; None if there is none.

        The READ belongs to the run with the nearest position, unless this position is too far away.
        """
        nearest: SequentialRun | None = None
        least = 0
        for run in self._runs:
            distance = offset - run.position
            if distance == 0:
                return run
            reach = max(run.planned_end - run.position, TOLERANCE_BYTES)
            if -TOLERANCE_BYTES <= distance <= reach and (nearest is None or abs(distance) < least):
                nearest, least = run, abs(distance)
        return nearest

    def _share(self, limit: int) -> int:
        """Return how many bytes each active run may have ahead (invariant 2 of this module)."""
        # A run whose window is 0 may have passed its planned end. Count 0 bytes ahead for this run,
        # not a negative number.
        inactive_bytes = sum(
            [max(0, each.planned_end - each.position) for each in self._runs if each.may_have_ended]
        )
        active_runs = sum([not each.may_have_ended for each in self._runs])
        return max(limit - inactive_bytes, limit // 2) // active_runs

    def _new_run(self, offset: int, end: int) -> SequentialRun:
        # Most programs finish one run before they start the next, so the previous run counts as
        # complete.
        if self._newest is not None and self._size > FIRST_WINDOW_BYTES:
            self._history.add(self._newest)
        shortest, longest = self._history.forecast()
        expected_end = 0
        if longest and shortest > end - offset:
            expected_end = min(-(-(offset + longest) // GRANULE_BYTES) * GRANULE_BYTES, self._size)
        run = SequentialRun(offset, end, shortest, expected_end)
        self._newest = run
        return run

    def _start_plan(self, run: SequentialRun) -> SequentialRun:
        if len(self._runs) >= MAX_RUNS:
            self._end(self._runs[0], self._released)
        for other in self._runs:
            other.may_have_ended = True
        run.restart()
        least, end_of_head = self._expected_head
        if least and (not end_of_head or run.start < end_of_head):
            run.expected_bytes = max(run.expected_bytes, least)
            run.expected_end = end_of_head or run.expected_end
        self._runs.append(run)
        self.current = run
        return run

    def _end(self, run: SequentialRun, released: list[ByteRange]) -> None:
        """End the plan of a run, and add its unreleased range to `released`."""
        self._runs.remove(run)
        if self.current is run:
            self.current = None
        if run.planned_end > run.release_offset:
            length = run.planned_end - run.release_offset
            released.append(ByteRange(run.release_offset, length))

    def _remember(self, run: SequentialRun) -> None:
        self._unplanned[run.position] = run
        if len(self._unplanned) > _RECENT_RUNS:
            del self._unplanned[next(iter(self._unplanned))]

    def _set_replan_offset(self, run: SequentialRun) -> None:
        if run.planned_end >= self._size:
            run.replan_offset = self._size
        elif run.planned_end == run.expected_end:
            run.replan_offset = run.expected_end + 1
        else:
            step = max(_piece_bytes(run.window), run.window // 4)
            run.replan_offset = run.planned_end - run.window + step


def _piece_bytes(window: int) -> int:
    """Return the length of ranges for a window: a power of two, about a quarter of the window."""
    if window < 4 * KERNEL_READ_BYTES:
        return KERNEL_READ_BYTES
    return min(1 << ((window // 4).bit_length() - 1), PAGE_BYTES)
