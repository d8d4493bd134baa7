"""READs of one open file that follow each other in descending order, and their readahead.

Theory of operation: a descending run is a sequential run of the mirrored object. Offset `x` of the
object is offset `mirror - x` of the mirrored object, where `mirror` is the size of the object,
rounded up to 2 MiB. So aligned ranges stay aligned.

Programs read downwards with pread, and the kernel sends descending READs when a program touches a
mapping downwards: each fault loads the half window before its page that is not cached yet.
"""

from __future__ import annotations

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_pattern import AccessPattern
from gcsmux_fs.reading.block_sizes import PAGE_BYTES
from gcsmux_fs.reading.sequential_run import SequentialRun

__all__ = ["DescendingRun"]


class DescendingRun(AccessPattern):
    """A run of READs downwards, which continues the READs of `[start, end)` of an object.

    `size` is the size of the object, and `expected_bytes` the expected length of the run; 0 if the
    length is unknown.
    """

    __slots__ = ("_mirror", "_run", "is_confirmed")

    def __init__(self, start: int, end: int, size: int, expected_bytes: int = 0) -> None:
        self._mirror = -(-size // PAGE_BYTES) * PAGE_BYTES
        self._run = SequentialRun(
            self._mirror - end, self._mirror - start, self._mirror, expected_bytes
        )
        #: True if a READ has continued the run.
        self.is_confirmed = False
        self.bytes_read = end - start
        self.may_have_ended = False
        self._set_replan_offset()

    def __repr__(self) -> str:
        return f"<DescendingRun at {self.position}, window {self.window}>"

    @property
    def position(self) -> int:
        """The offset of the READ that is nearest to the start of the object."""
        return self._mirror - self._run.position

    @property
    def ahead_bytes(self) -> int:
        """The number of planned bytes before the position."""
        return self._run.ahead_bytes

    @property
    def confident_bytes(self) -> int:
        """Half of the bytes read, and at least the bytes up to the expected length."""
        return self._run.confident_bytes

    @property
    def is_over(self) -> bool:
        """Whether the run has reached the start of the object, or the READs skipped too much."""
        return self._run.is_over

    def distance(self, offset: int, end: int) -> int | None:
        """Return the distance of the end of a READ from the position."""
        return self._run.distance(self._mirror - end, self._mirror - offset)

    def take(self, offset: int, end: int) -> None:
        """Record a READ of `[offset, end)`."""
        self.is_confirmed = True
        self.bytes_read += end - offset
        self._run.take(self._mirror - end, self._mirror - offset)
        self._set_replan_offset()

    def note_wait(self, offset: int) -> None:
        """Double the window, unless the READ at `offset` lies in bytes planned before."""
        # The mirrored READ ends at `mirror - offset`. Its first byte is not known, so the last one
        # stands for it.
        self._run.note_wait(self._mirror - offset - 1)
        self._set_replan_offset()

    def note_refusal(self, refused: ByteRange) -> None:
        """End the plan above `refused`, and halve the window."""
        self._run.note_refusal(*self._turn([refused]))
        self._set_replan_offset()

    def plan(self, share: int, room: int) -> list[ByteRange]:
        """Return the next ranges, the highest first."""
        fetch = self._turn(self._run.plan(share, room))
        self._set_replan_offset()
        return fetch

    def pop_passed(self) -> list[ByteRange]:
        """Return the range that the run has passed by more than the tolerance of a run."""
        return self._turn(self._run.pop_passed())

    def finish(self) -> list[ByteRange]:
        """Return the range between the planned and the released bytes."""
        return self._turn(self._run.finish())

    def _turn(self, ranges: list[ByteRange]) -> list[ByteRange]:
        return [ByteRange(self._mirror - each.end, each.length) for each in ranges]

    def _set_replan_offset(self) -> None:
        self.window = self._run.window
        is_due = self._run.position >= self._run.replan_offset
        self.replan_offset = 0 if is_due else self._mirror + 1
