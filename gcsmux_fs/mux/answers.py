"""What the server's answers mean for the ranges they name: taken, asked for again, or failed.

Invariants:
1. An answer changes the range it names and no other: a range that fails fails alone.
2. A chunk for an unknown or cancelled read id is dropped and counted.
3. Bad answers to one range in a row are bounded in number.
4. A reader that was told of one size learns that its stream tells of another: at the byte where the
   two part, and not before, since bytes that have arrived are right whatever was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import (
    DataCorruption,
    DeadlineExceeded,
    GenerationGone,
    StatusCode,
    StorageError,
)
from gcsmux_fs.mux.actions import Action, Deliver, Fail, StreamCounters
from gcsmux_fs.mux.assembly import Absorbed
from gcsmux_fs.mux.retry import final_error, range_is_final

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.mux.range_table import PendingRange, RangeTable
    from gcsmux_fs.mux.resume_state import ResumeState
    from gcsmux_fs.storage.ports import Chunk, StreamEnd

__all__ = ["Answers"]


class Answers:
    """Judges what came for the ranges of one object; verdicts go into `actions`, in order."""

    __slots__ = ("_actions", "_counters", "_key", "_max_strikes", "_ranges", "_route")

    def __init__(
        self,
        key: ObjectKey,
        ranges: RangeTable,
        route: ResumeState,
        max_strikes: int,
        counters: StreamCounters,
        actions: list[Action],
    ) -> None:
        self._key = key
        self._ranges = ranges
        self._route = route
        self._max_strikes = max_strikes
        self._counters = counters
        self._actions = actions

    def take(self, chunk: Chunk) -> bool:
        """Take a chunk; return whether it brought bytes that were missing."""
        self._counters.bytes_received += len(chunk.content)
        wanted = self._ranges.find(chunk.read_id)
        if wanted is None:
            # The end of a range may come by itself, after its last byte: nothing is lost with it.
            self._counters.chunks_dropped += len(chunk.content) > 0
            self._ranges.drop(chunk)
            return False
        outcome = wanted.absorb(chunk)
        progress = wanted.received > wanted.furthest
        if progress:
            wanted.furthest = wanted.received
            wanted.strikes = 0
            self._ranges.heard(wanted)
        if outcome is Absorbed.COMPLETE:
            if wanted.last and (self._route.final_size or 0) > wanted.offset + wanted.length:
                self._contradict(wanted)
                return True
            self._ranges.end(wanted)
            self._counters.ranges_delivered += 1
            self._actions.append(Deliver(wanted, wanted.result()))
        elif outcome is Absorbed.SHORT and wanted.next_offset == self._route.final_size:
            self._contradict(wanted)
        elif outcome in (Absorbed.CORRUPT, Absorbed.GAP, Absorbed.SHORT):
            self._ask_again(wanted, outcome, range_over=chunk.range_end)
        return progress

    def fail_listed(self, end: StreamEnd) -> bool:
        """Fail or strike the ranges that the server names as the cause of the end.

        Return whether at least one of them will not be asked for again: it failed for good here,
        or its reader had left.
        """
        culprits_gone = False
        for failure in end.failures:
            wanted = self._ranges.find(failure.read_id)
            if wanted is None:
                culprits_gone |= self._ranges.was_abandoned(failure.read_id)
                continue
            wanted.strikes += 1
            if range_is_final(failure.code) or wanted.strikes >= self._max_strikes:
                culprits_gone = True
                if failure.code is StatusCode.OUT_OF_RANGE and self._is_beyond(wanted):
                    self._contradict(wanted)
                else:
                    error = final_error(failure.code, failure.message, self._subject(wanted))
                    self._fail(wanted, error)
        return culprits_gone

    def ask_again_for_silent(self) -> None:
        """Ask again for what got no bytes since this was called last, while later ranges did."""
        for wanted in self._ranges.look_through():
            self._counters.ranges_silent += 1
            self._strike(
                wanted,
                DeadlineExceeded(
                    f"overtaken {wanted.strikes + 1} times at {wanted.next_offset}",
                    subject=self._subject(wanted),
                ),
                range_over=False,
            )

    def fail_all(self, error: StorageError) -> None:
        """Fail every range that has not ended."""
        for wanted in self._ranges.all():
            self._fail(wanted, error)

    def _is_beyond(self, wanted: PendingRange) -> bool:
        size = self._route.final_size
        return size is not None and size < wanted.offset + wanted.length

    def _contradict(self, wanted: PendingRange) -> None:
        """Fail a range whose reader was told of another size than its stream; believe neither."""
        why = f"its stream says that it has {self._route.final_size} bytes, as was not said before"
        self._fail(wanted, GenerationGone(why, subject=self._subject(wanted)))
        self._route.outdated = True

    def _ask_again(self, wanted: PendingRange, why: Absorbed, *, range_over: bool) -> None:
        if why is Absorbed.CORRUPT:
            self._counters.checksum_failures += 1
        elif why is Absorbed.GAP:
            self._counters.gaps += 1
        self._strike(
            wanted,
            DataCorruption(
                f"{why.name.lower()} answer {wanted.strikes + 1} times at {wanted.next_offset}",
                subject=self._subject(wanted),
            ),
            range_over=range_over,
        )

    def _strike(self, wanted: PendingRange, last: StorageError, *, range_over: bool) -> None:
        """Ask again for a range that was badly answered, or fail it with `last` if it was often."""
        if not range_over:
            self._ranges.abandon(wanted)
        wanted.strikes += 1
        if wanted.strikes >= self._max_strikes:
            self._fail(wanted, last)
            return
        self._ranges.requeue(wanted)
        self._counters.ranges_resumed += 1

    def _fail(self, wanted: PendingRange, error: StorageError) -> None:
        self._ranges.end(wanted)
        self._counters.ranges_failed += 1
        self._actions.append(Fail(wanted, error))

    def _subject(self, wanted: PendingRange) -> str:
        return f"{self._key} [{wanted.offset}, {wanted.offset + wanted.length})"
