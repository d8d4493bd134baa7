"""Evicts chunks and corrects the ledger, in small steps. One mount of a cache directory cleans.

The tier calls `run_once` in a thread, again and again. One call takes about 10 ms of processor
time, so that reads wait for the interpreter only shortly. Nothing is kept between two mounts but
files: any mount can continue where another one has stopped.

A step does the most urgent of these:

1. Every second: free what ended mounts have reserved.
2. Count the chunks, if the usage table is not right, or if the machine was started since the last
   count (`chunk_count`).
3. Evict, if the chunks take almost all of the limit (`_HIGH_SHARE`). All sections of the ledger are
   visited in turn; each gives the same share of its bytes (`eviction_policy`).
4. Sort the journal into the sections (`ledger_files`).
5. Count the chunks, a little at a time, if the last count is older than `_COUNT_SECONDS`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_count import ChunkCount
from gcsmux_fs.caching.cleaner_lock import CleanerLock, is_due
from gcsmux_fs.caching.ledger_files import LedgerFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.chunk_format import ChunkId
    from gcsmux_fs.caching.ledger_sections import Section
    from gcsmux_fs.caching.space_account import SpaceAccount, SpaceTarget

__all__ = ["BUSY_PAUSE_SECONDS", "IDLE_PAUSE_SECONDS", "Cleaner"]

BUSY_PAUSE_SECONDS = 0.02
"""Pause before the next step, if there is more to do. So cleaning takes at most a third of the
time of one processor, and evicts several GB per second."""

IDLE_PAUSE_SECONDS = 0.1
"""Pause before the next step otherwise. A step that finds nothing to do takes 0.1 ms."""

_STEP_SECONDS = 0.005
"""Processor time after which a step stops evicting or counting. To read and to write the section
takes about as long again."""

_HIGH_SHARE = 0.97
"""Eviction starts when the chunks take this part of the limit. The rest is for what mounts write
until the next step: at 1 GB/s, 3 % of 10 GB are 0.3 s."""

_ROOM_BYTES = 4 * 1024 * 1024
"""A small cache leaves this room instead (but at most an eighth), so that the largest write of
2 MiB is admitted. Otherwise no write would be admitted, and nothing would be evicted."""

_ROUND_SHARE = 0.02
_ROUND_BYTES = 64 * 1024 * 1024
"""Eviction ends when it has freed this share of the limit, but at least these bytes (and at most
a twentieth). Each section of the ledger is read and written once for this."""

_CHECK_SECONDS = 1
_JOURNAL_SECONDS = 10
_JOURNAL_BYTES = 64 * 1024
_COUNT_SECONDS = 3600
_COUNT_PAUSE_SECONDS = 0.25
_FAILED_ROUND_SECONDS = 10
# If something damages the usage table again and again, counting takes only a part of the time.
_URGENT_COUNT_PAUSE_SECONDS = 3


class _Then(enum.Enum):
    """When the next step follows."""

    AT_ONCE = enum.auto()
    SOON = enum.auto()
    IDLE = enum.auto()


class Cleaner:
    """The cleaning of one mount.

    Args:
        files: the cache directory.
        account: the account of the same mount.
        clock: returns the time in seconds since the Unix epoch.
        processor_time: returns the processor time of the calling thread in seconds.
        random: chooses the order in which chunks are counted.
        boot: 16 bytes that change when the machine is started.
        remove: removes the file of a chunk; returns False if it does not exist.
    """

    def __init__(
        self,
        files: CacheFiles,
        account: SpaceAccount,
        *,
        clock: Callable[[], float],
        processor_time: Callable[[], float],
        random: Random,
        boot: bytes,
        remove: Callable[[ChunkId], bool],
    ) -> None:
        self._files = files
        self._remove_file = remove
        self._account = account
        self._clock = clock
        self._processor_time = processor_time
        self._random = random
        self._lock = CleanerLock(files, clock, boot)
        self._ledger: LedgerFiles | None = None
        self._count: ChunkCount | None = None
        self._count_urgent = False
        self._round: _Round | None = None
        self._next_check = self._next_journal = self._next_round = 0.0
        self._next_count = self._next_urgent_count = 0.0

    @property
    def cleans(self) -> bool:
        """Whether this is the mount that cleans."""
        return self._lock.held

    def run_once(self) -> bool:
        """Do some steps; return whether there is more to do soon.

        Raises:
            OSError: the disk fails. The next call tries again.
        """
        # Without a slot, the usage table would not show what this mount frees, and it would never
        # stop evicting.
        if not self._account.has_slot() or not self._lock.hold():
            self._forget()
            return False
        if self._ledger is None:
            self._ledger = LedgerFiles(self._files)
            self._count_urgent |= not self._lock.counted_at
        in_time = self._in_time()
        try:
            while (then := self._step(self._ledger, self._clock())) is _Then.AT_ONCE and in_time():
                pass
        except OSError:
            # The files may not agree with what is in memory.
            self._forget()
            raise
        return then is not _Then.IDLE

    def close(self) -> None:
        """Let another mount clean."""
        try:
            if self._lock.held and self._ledger is not None:
                self._ledger.save()
        finally:
            self._lock.close()
            self._forget()

    def _forget(self) -> None:
        self._ledger = self._count = self._round = None

    def _step(self, ledger: LedgerFiles, now: float) -> _Then:
        if is_due(self._next_check, _CHECK_SECONDS, now):
            self._next_check = now + _CHECK_SECONDS
            self._count_urgent |= self._account.end_slots()
        target = self._account.target()
        urgent = self._count_urgent or not target.counted
        if urgent and (
            self._count is not None
            or is_due(self._next_urgent_count, _URGENT_COUNT_PAUSE_SECONDS, now)
        ):
            self._count_urgent = True
            self._continue_count(ledger, now)
            return _Then.AT_ONCE
        if not target.counted:
            return _Then.IDLE
        if self._round is not None:
            self._evict(ledger, self._round)
            return _Then.AT_ONCE
        if ledger.sort_journal():
            return _Then.AT_ONCE
        if target.used_bytes > _high_bytes(target.limit_bytes) and is_due(
            self._next_round, _FAILED_ROUND_SECONDS, now
        ):
            # First sort what the mounts have recorded, because a round changes each section.
            if self._begin_journal(ledger, now):
                return _Then.SOON
            self._round = _Round(ledger, target)
            return _Then.AT_ONCE
        if self._is_journal_due(ledger, now) and self._begin_journal(ledger, now):
            return _Then.SOON
        if ledger.compact():
            return _Then.AT_ONCE
        if self._count is not None or not 0 <= now - self._lock.counted_at <= _COUNT_SECONDS:
            if is_due(self._next_count, _COUNT_PAUSE_SECONDS, now):
                self._next_count = now + _COUNT_PAUSE_SECONDS
                self._continue_count(ledger, now)
        else:
            ledger.save()
        return _Then.IDLE

    def _is_journal_due(self, ledger: LedgerFiles, now: float) -> bool:
        return (
            is_due(self._next_journal, _JOURNAL_SECONDS, now)
            or ledger.journal_bytes > _JOURNAL_BYTES
        )

    def _begin_journal(self, ledger: LedgerFiles, now: float) -> bool:
        self._next_journal = now + _JOURNAL_SECONDS
        return ledger.begin_journal()

    def _continue_count(self, ledger: LedgerFiles, now: float) -> None:
        if self._count is None:
            self._count = ChunkCount(self._files, ledger, self._account.usage, self._random)
        self._count.step(self._in_time())
        if self._count.done:
            if not self._account.usage().counted or not self._count.is_chance:
                self._account.correct(self._count.error_bytes)
            self._lock.note_count(now)
            self._count = None
            self._count_urgent = False
            self._next_urgent_count = now + _URGENT_COUNT_PAUSE_SECONDS

    def _evict(self, ledger: LedgerFiles, round_: _Round) -> None:
        """Evict chunks of the next section of a round."""
        section = round_.sections[-1]
        queues = ledger.load(section)
        if round_.target_bytes is None:
            round_.target_bytes = int(queues.total_bytes * round_.kept_share)
        in_time = self._in_time()
        evicted = freed = 0
        complete = True
        for chunk in queues.evict(round_.target_bytes, int(self._clock())):
            size = self._remove(chunk)
            if self._count is not None:
                self._count.note_eviction(chunk)
            freed += size
            evicted += size > 0
            if not in_time():
                complete = False
                break
        ledger.note_change()
        self._account.evicted(evicted, freed)
        round_.missing_bytes -= freed
        if complete:
            round_.sections.pop()
            round_.target_bytes = None
        if not round_.sections:
            self._round = None
            if round_.missing_bytes > round_.wanted_bytes // 2:
                # The table says more than the files have, or the files cannot be removed, or the
                # rest is reserved.
                self._count_urgent = True
                self._next_round = self._clock() + _FAILED_ROUND_SECONDS

    def _remove(self, chunk: ChunkId) -> int:
        """Remove the file of a chunk; return the freed disk space."""
        status = self._files.path_status(chunk.path)
        try:
            if status is not None and status.is_regular and self._remove_file(chunk):
                return status.allocated_bytes
        except PermissionError:
            # The owner of a directory has changed it. The next chunk may be elsewhere.
            pass
        return 0

    def _in_time(self) -> Callable[[], bool]:
        end = self._processor_time() + _STEP_SECONDS
        return lambda: self._processor_time() < end


def _high_bytes(limit_bytes: int) -> float:
    """Return the disk space above which chunks are evicted."""
    return min(limit_bytes * _HIGH_SHARE, limit_bytes - min(_ROOM_BYTES, limit_bytes / 8))


class _Round:
    """One visit to all sections, to evict a share of the bytes of each.

    Attributes:
        sections: the sections that were not visited yet.
        kept_share: the share of its bytes that each section keeps.
        wanted_bytes: how much the round has to free.
        missing_bytes: how much of it is not freed yet.
        target_bytes: what remains of the current section; None before its first step.
    """

    __slots__ = ("kept_share", "missing_bytes", "sections", "target_bytes", "wanted_bytes")

    def __init__(self, ledger: LedgerFiles, target: SpaceTarget) -> None:
        limit = target.limit_bytes
        step = max(limit * _ROUND_SHARE, min(_ROUND_BYTES, limit / 20))
        low = _high_bytes(limit) - step
        self.sections: list[Section] = ledger.sections[::-1]
        self.kept_share = low / target.used_bytes
        self.wanted_bytes = self.missing_bytes = int(target.used_bytes - low)
        self.target_bytes: int | None = None
