"""Applies the server's answers to the ranges that the answers name; sans-IO.

Invariants:
1. An answer changes only the range that it names.
2. A chunk for an unknown or cancelled read id is dropped and counted.
3. A range fails after a bounded number of bad answers in a row.
4. If the stream and the reader disagree about the object's size, only ranges that touch the
   difference between the two sizes fail. All other ranges get the right bytes.
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

_BAD_ANSWERS = {
    Absorbed.CORRUPT: "wrong checksum",
    Absorbed.GAP: "gap",
    Absorbed.SHORT: "early end",
}


class Answers:
    """Applies answers to the ranges of one object, and appends the core's actions to `actions`.

    `bytes_received` is the number of bytes of content that all streams of the object have received.
    """

    __slots__ = (
        *("_actions", "_counters", "_key", "_max_bad_answers", "_ranges", "_resume"),
        "bytes_received",
    )

    def __init__(
        self,
        key: ObjectKey,
        ranges: RangeTable,
        resume: ResumeState,
        max_bad_answers: int,
        counters: StreamCounters,
        actions: list[Action],
    ) -> None:
        self._key = key
        self._ranges = ranges
        self._resume = resume
        self._max_bad_answers = max_bad_answers
        self._counters = counters
        self._actions = actions
        self.bytes_received = 0

    def accept(self, chunk: Chunk) -> bool:
        """Apply a chunk; return whether the chunk brought bytes that the range never had before."""
        self._counters.bytes_received += len(chunk.content)
        self.bytes_received += len(chunk.content)
        pending = self._ranges.find(chunk.read_id)
        if pending is None:
            # An empty chunk is not counted, because it may be sent only to mark the end of its
            # range.
            self._counters.chunks_dropped += len(chunk.content) > 0
            self._ranges.drop(chunk)
            return False
        outcome = pending.absorb(chunk)
        progress = pending.received > pending.furthest
        if progress:
            pending.furthest = pending.received
            pending.bad_answers = 0
            self._ranges.note_bytes(pending)
        if outcome is Absorbed.COMPLETE:
            end = pending.offset + pending.length
            if pending.reaches_end and (self._resume.final_size or 0) > end:
                self._fail_for_size(pending)
                return True
            self._ranges.end(pending)
            self._counters.ranges_delivered += 1
            self._actions.append(Deliver(pending, pending.result()))
        elif outcome is Absorbed.SHORT and pending.next_offset == self._resume.final_size:
            self._fail_for_size(pending)
        elif outcome in _BAD_ANSWERS:
            self._retry_bad_answer(pending, outcome, range_over=chunk.range_end)
        return progress

    def fail_listed(self, end: StreamEnd) -> bool:
        """Count a bad answer for each range that the server names as a cause of the stream's end.

        A named range fails if its error is final, or after too many bad answers in a row. Return
        whether at least one named range is not requested again, because the range failed here or
        because its reader had cancelled the range.
        """
        cause_removed = False
        for failure in end.failures:
            pending = self._ranges.find(failure.read_id)
            if pending is None:
                cause_removed |= self._ranges.is_abandoned(failure.read_id)
                continue
            pending.bad_answers += 1
            if range_is_final(failure.code) or pending.bad_answers >= self._max_bad_answers:
                cause_removed = True
                if failure.code is StatusCode.OUT_OF_RANGE and self._is_beyond_end(pending):
                    self._fail_for_size(pending)
                else:
                    error = final_error(failure.code, failure.message, self._subject(pending))
                    self._fail(pending, error)
        return cause_removed

    def request_silent_again(self) -> None:
        """Requeue each silent range.

        A range is silent if it received nothing since the last call of this method, although a
        range that was requested later received bytes.
        """
        for pending in self._ranges.scan_for_silent():
            self._counters.ranges_silent += 1
            self._retry(
                pending,
                DeadlineExceeded(
                    f"no answer at offset {pending.next_offset} while later ranges received bytes,"
                    f" {pending.bad_answers + 1} times in a row",
                    subject=self._subject(pending),
                ),
                range_over=False,
            )

    def fail_all(self, error: StorageError) -> None:
        """Fail all ranges that have not ended."""
        for pending in self._ranges.all():
            self._fail(pending, error)

    def _is_beyond_end(self, pending: PendingRange) -> bool:
        size = self._resume.final_size
        return size is not None and size < pending.offset + pending.length

    def _fail_for_size(self, pending: PendingRange) -> None:
        """Fail a range whose reader and stream disagree about the object's size.

        The size of the reader or the size of the stream may be wrong, so the next stream is opened
        without the read handle.
        """
        why = f"the object has {self._resume.final_size} bytes now, but another size was expected"
        self._fail(pending, GenerationGone(why, subject=self._subject(pending)))
        self._resume.outdated = True

    def _retry_bad_answer(self, pending: PendingRange, kind: Absorbed, *, range_over: bool) -> None:
        if kind is Absorbed.CORRUPT:
            self._counters.checksum_failures += 1
        elif kind is Absorbed.GAP:
            self._counters.gaps += 1
        self._retry(
            pending,
            DataCorruption(
                f"{_BAD_ANSWERS[kind]} in the answer at offset {pending.next_offset},"
                f" {pending.bad_answers + 1} times in a row",
                subject=self._subject(pending),
            ),
            range_over=range_over,
        )

    def _retry(self, pending: PendingRange, last_error: StorageError, *, range_over: bool) -> None:
        """Requeue a range after a bad answer; fail a range with too many bad answers in a row."""
        if not range_over:
            self._ranges.abandon(pending)
        pending.bad_answers += 1
        if pending.bad_answers >= self._max_bad_answers:
            self._fail(pending, last_error)
            return
        self._ranges.requeue(pending)
        self._counters.ranges_resumed += 1

    def _fail(self, pending: PendingRange, error: StorageError) -> None:
        self._ranges.end(pending)
        self._counters.ranges_failed += 1
        self._actions.append(Fail(pending, error))

    def _subject(self, pending: PendingRange) -> str:
        return f"{self._key} [{pending.offset}, {pending.offset + pending.length})"
