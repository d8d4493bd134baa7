"""The interface of the patterns that a readahead planner recognises in the READs of one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ByteRange

__all__ = ["AccessPattern"]


class AccessPattern(ABC):
    """READs of one open file that follow each other by a rule, and the readahead planned for them.

    Offsets are offsets in the object, and each range ends behind its last byte.
    """

    __slots__ = ("bytes_read", "may_have_ended", "replan_offset", "window")

    #: The bytes of the READs that belong to the pattern.
    bytes_read: int
    #: True if another pattern has got a plan since the last READ of this pattern.
    may_have_ended: bool
    #: The next plan is made when a READ ends at or after this offset.
    replan_offset: int
    #: The number of bytes that should be ready or loading ahead of the reader.
    window: int

    @property
    @abstractmethod
    def ahead_bytes(self) -> int:
        """The number of planned bytes that the pattern still expects READs of."""

    @property
    @abstractmethod
    def confident_bytes(self) -> int:
        """The number of bytes ahead of the reader that the pattern expects with confidence."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the pattern can have no further READ, or has turned out to be no pattern."""

    @abstractmethod
    def distance(self, offset: int, end: int) -> int | None:
        """Return how far a READ is from the expected place: 0 if it is there, None if too far."""

    @abstractmethod
    def take(self, offset: int, end: int) -> None:
        """Record a READ that belongs to the pattern."""

    @abstractmethod
    def note_wait(self, offset: int) -> None:
        """Double the window, because the READ at `offset` had to wait for bytes."""

    @abstractmethod
    def note_refusal(self, refused: ByteRange) -> None:
        """Forget the ranges of the last plan from `refused` on, and halve the window."""

    @abstractmethod
    def plan(self, share: int, room: int) -> list[ByteRange]:
        """Return the next ranges to fetch, nearest first.

        The pattern may have `share` bytes ahead, and plan `room` new bytes.
        """

    @abstractmethod
    def pop_passed(self) -> list[ByteRange]:
        """Return the planned ranges that the pattern has passed since the last call."""

    @abstractmethod
    def finish(self) -> list[ByteRange]:
        """Return all planned ranges that `pop_passed` has not returned."""
