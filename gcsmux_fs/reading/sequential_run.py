"""READs of one open file that follow each other in ascending order, and their readahead window.

Theory of operation: the window is the number of bytes to have ahead of the run. It begins at 8
times the bytes read, at most 1 MiB, and doubles when a READ has to wait. A wait for bytes that were
requested before the last doubling does not count, because such a wait says nothing about the
current window. So a burst of waiting READs doubles the window once.

Each plan adds about a quarter of the window. The ranges of a plan are aligned, and each is about a
quarter of the window long, at most 2 MiB. With a large window, one message requests several ranges.
With a small window, the first range is short and arrives early.
"""

from __future__ import annotations

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_pattern import AccessPattern
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES

__all__ = ["FIRST_WINDOW_BYTES", "KERNEL_READ_BYTES", "TOLERANCE_BYTES", "SequentialRun"]

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

TOLERANCE_BYTES = 1024 * 1024
"""A READ belongs to a run if it starts at most this many bytes before or after the run's position.
The tolerance is needed because the kernel has up to 12 READs of 128 KiB in flight, and sends these
READs in any order."""

_SPARSE_FACTOR = 1.5
"""A run that has passed this many times the bytes that it has read is not sequential: its readahead
would ask for more than the promised 1.5 times the bytes read."""


class SequentialRun(AccessPattern):
    """A run of READs. A single READ that has no successor yet is a run without a plan.

    A run is equal only to itself.
    """

    __slots__ = (
        "_size",
        "descents",
        "expected_bytes",
        "expected_end",
        "first_bytes",
        "follows_forecast",
        "growth_offset",
        "likely_end",
        "noted_end",
        "planned_end",
        "position",
        "release_offset",
        "skip_end",
        "start",
    )

    def __init__(self, start: int, position: int, size: int, expected_bytes: int = 0) -> None:
        self._size = size
        self.start = start
        self.bytes_read = position - start
        #: The length of the first READ.
        self.first_bytes = position - start
        #: True if runs that began with such a READ were longer than the READ.
        self.follows_forecast = False
        #: The number of READs that ended where the run began, and so extended the run downwards.
        self.descents = 0
        #: The least length that the run is expected to reach, in bytes; 0 if unknown.
        self.expected_bytes = expected_bytes
        #: The offset where this run ends if it is as long as the earlier runs; 0 if the lengths of
        #: the earlier runs differ. No range beyond this offset is planned before a READ of this run
        #: has passed the offset.
        self.expected_end = 0
        #: The offset where this run ends if it is as long as the longest of the last runs; 0 if
        #: unknown. The first window ends here.
        self.likely_end = 0
        #: The end offset of the furthest READ.
        self.position = position
        #: The end of the last READ far ahead of the position; 0 if there was none.
        self.skip_end = 0
        #: The coverage of the object holds the READs of this run before this offset.
        self.noted_end = position
        self.window = 0
        self.restart()

    def restart(self) -> None:
        """Discard the plan, and plan from the current position on."""
        #: READs or readahead have requested all bytes of the run before this offset.
        self.planned_end = self.position
        self.may_have_ended = False
        #: The window grows only if a READ at or after this offset has to wait.
        self.growth_offset = self.position
        self.replan_offset = self.position
        #: The planned ranges before this offset have been released: the cache may evict them.
        self.release_offset = self.position

    def __repr__(self) -> str:
        return (
            f"<SequentialRun at {self.position}, window {self.window},"
            f" planned to {self.planned_end}>"
        )

    @property
    def ahead_bytes(self) -> int:
        """The number of planned bytes ahead of the position; 0 if the run has passed its plan."""
        return max(0, self.planned_end - self.position)

    @property
    def confident_bytes(self) -> int:
        """Half of the bytes read, and at least the bytes up to the expected length."""
        return max(self.bytes_read // 2, self.start + self.expected_bytes - self.position)

    @property
    def is_over(self) -> bool:
        """Whether the run has reached the end of the object, or the READs skipped too much."""
        passed_bytes = self.position - self.start
        return self.position >= self._size or (
            passed_bytes > TOLERANCE_BYTES
            and self.bytes_read * _SPARSE_FACTOR < passed_bytes - TOLERANCE_BYTES
        )

    def distance(self, offset: int, end: int) -> int | None:
        """Return the distance from the position; READs that overtake each other are near."""
        distance = offset - self.position
        if not distance:
            return 0
        reach = max(self.planned_end - self.position, TOLERANCE_BYTES)
        return abs(distance) if -TOLERANCE_BYTES <= distance <= reach else None

    def take(self, offset: int, end: int) -> None:
        """Record a READ of `[offset, end)`.

        A program that copies a tensor out of a mapping touches the last page of the tensor first.
        So a READ far ahead moves the position only if a second READ continues there.
        """
        self.bytes_read += end - offset
        if end <= self.position:
            return
        if offset - self.position > TOLERANCE_BYTES and offset != self.skip_end:
            self.skip_end = end
        else:
            self.position = end

    def skips_most(self, offset: int) -> bool:
        """Return whether a READ at `offset` is ahead of the position of a run full of gaps."""
        return offset > self.position and self.bytes_read * _SPARSE_FACTOR < offset - self.start

    def extend_down(self, offset: int) -> None:
        """Record a READ of `[offset, start)`."""
        self.bytes_read += self.start - offset
        self.start = offset
        self.descents += 1

    def note_wait(self, offset: int) -> None:
        """Double the window, unless the READ at `offset` lies before `growth_offset`."""
        if offset >= self.growth_offset:
            self.window *= 2
            self.growth_offset = max(self.planned_end, self.position)
            self.replan_offset = self.position

    def note_refusal(self, refused: ByteRange) -> None:
        """End the plan before `refused`, and halve the window."""
        self.planned_end = refused.offset
        self.window = max(self.window // 2, KERNEL_READ_BYTES)
        self._set_replan_offset(self.window)

    def plan(self, share: int, room: int) -> list[ByteRange]:
        """Return the next ranges; no byte lies more than `share` bytes ahead of the position."""
        evidence = min(FIRST_WINDOW_BYTES, self.bytes_read * _EVIDENCE_FACTOR)
        if self.position < self.likely_end:
            likely_rest = self.likely_end - self.position
            evidence = min(evidence, -(-likely_rest // KERNEL_READ_BYTES) * KERNEL_READ_BYTES)
        expected_rest = self.start + self.expected_bytes - self.position
        expected_rest = -(-expected_rest // KERNEL_READ_BYTES) * KERNEL_READ_BYTES
        window = min(max(self.window, evidence, expected_rest), share)
        self.window = window - window % KERNEL_READ_BYTES
        # The READ itself has requested all bytes up to its end, rounded up to 16 KiB.
        position = -(-self.position // GRANULE_BYTES) * GRANULE_BYTES
        start = max(self.planned_end, position)
        # A lack of room does not change `self.window`, because the room grows with each READ.
        window = min(self.window, start - position + room)
        window -= window % KERNEL_READ_BYTES
        piece = _piece_bytes(window)
        target = min(position + window, self._size)
        if position <= self.expected_end < target:
            target = self.expected_end
        elif target < self._size:
            target -= target % piece
        fetch: list[ByteRange] = []
        while start < target:
            length = min(piece - start % piece, target - start)
            fetch.append(ByteRange(start, length))
            start += length
        self.planned_end = start
        self._set_replan_offset(window)
        return fetch

    def pop_passed(self) -> list[ByteRange]:
        """Return the range that the run has passed by more than `TOLERANCE_BYTES`."""
        return self._release(self.position - TOLERANCE_BYTES)

    def finish(self) -> list[ByteRange]:
        """Return the range between the released and the planned bytes."""
        return self._release(self.planned_end)

    def _release(self, end: int) -> list[ByteRange]:
        if end <= self.release_offset:
            return []
        passed = ByteRange(self.release_offset, end - self.release_offset)
        self.release_offset = end
        return [passed]

    def _set_replan_offset(self, window: int) -> None:
        if self.planned_end >= self._size:
            self.replan_offset = self._size
        elif self.planned_end == self.expected_end:
            self.replan_offset = self.expected_end + 1
        else:
            step = max(_piece_bytes(window), window // 4)
            self.replan_offset = self.planned_end - window + step


def _piece_bytes(window: int) -> int:
    """Return the length of ranges for a window: a power of two, about a quarter of the window."""
    if window < 4 * KERNEL_READ_BYTES:
        return KERNEL_READ_BYTES
    return min(1 << ((window // 4).bit_length() - 1), PAGE_BYTES)
