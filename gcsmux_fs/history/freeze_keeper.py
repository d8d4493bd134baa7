"""Keeps the digest of the frozen names up to date, and writes them to their file.

Both are computed in a thread, from a copy of the names that shares their memory. A copy of a
million names takes a millisecond, and their digest takes a second of processor time. So the digest
is computed only after the names have changed, and less often if it takes long.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import trio

from gcsmux_fs.history.freeze_files import write_freeze_file
from gcsmux_fs.history.freeze_format import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.history.freeze_files import WriterLock
    from gcsmux_fs.history.freeze_format import FreezeHeader
    from gcsmux_fs.history.frozen_names import FrozenNames

__all__ = ["FreezeKeeper"]

log = logging.getLogger(__name__)

# Pauses after a change until the digest is computed, and until the file is written. The second is
# what a crash of the machine may cost.
_DIGEST_SECONDS = 1.0
_FILE_SECONDS = 60.0
# A computation of a second is repeated after 20 s at the earliest, so it takes 5 % of a processor.
_PAUSE_FACTOR = 20


class FreezeKeeper:
    """The digest and the file of the frozen names of one mount.

    Args:
        names: the names, which grow while the mount runs.
        header: what the mount shows.
        path: the file; None to write none.
        lock: the lock on the file.
        is_closed: whether the names come from a complete file, so that they never change.
        digest: the digest of the names; None if it is not known.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        names: FrozenNames,
        header: FreezeHeader,
        path: Path | None,
        *,
        lock: WriterLock | None = None,
        is_closed: bool,
        digest: str | None = None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._names = names
        self._header = header
        self._path = path
        self._lock = lock
        self._is_closed = is_closed
        self._clock = clock
        self._digest = digest
        self._digest_version = names.version if digest is not None else -1
        self._digest_names = names.objects if digest is not None else 0
        self._file_version = -1
        self._write_at = clock() + _FILE_SECONDS
        self._problem = ""
        # Only one thread works at a time, so an older file never replaces the last one.
        self._turn = trio.Lock()
        self._has_ended = is_closed

    def facts(self) -> dict[str, Any]:
        """Return what `gcsmux stats` shows about the frozen names; any thread may call this."""
        return {
            "names": self._digest_names,
            "digest": self._digest,
            "is_current": self._digest_version == self._names.version,
            "file": None if self._path is None else str(self._path),
            "is_closed": self._is_closed,
            "problem": self._problem,
        }

    def write_soon(self) -> None:
        """Write the file at the next opportunity, within about a second."""
        self._write_at = self._clock()

    async def run(self) -> None:
        """Compute the digest after changes, and write the file, until the task is cancelled."""
        while not self._has_ended:
            began = self._clock()
            await self._compute()
            if self._clock() >= self._write_at and not self._has_ended:
                await self._write(is_complete=False)
                self._write_at = self._clock() + max(
                    _FILE_SECONDS, _PAUSE_FACTOR * (self._clock() - began)
                )
            await trio.sleep(max(_DIGEST_SECONDS, _PAUSE_FACTOR * (self._clock() - began)))

    async def close(self) -> None:
        """Compute the last digest, write the complete file, and log the digest."""
        self._has_ended = True
        await self._compute()
        if not self._is_closed:
            await self._write(is_complete=True)
        log.info("%d frozen names with the digest %s", self._digest_names, self._digest)

    async def _compute(self) -> None:
        """Compute the digest, unless it is current."""
        async with self._turn:
            names, version = self._names, self._names.version
            if self._digest_version == version:
                return
            copied = names.copy()
            digest = await trio.to_thread.run_sync(digest_of, copied, abandon_on_cancel=True)
        self._digest, self._digest_names, self._digest_version = digest, copied.objects, version

    async def _write(self, *, is_complete: bool) -> None:
        """Write the file, unless it has these names already. A failure is logged."""
        path, header = self._path, self._header
        if path is None or (self._file_version == self._names.version and not is_complete):
            return
        async with self._turn:
            names, version = self._names.copy(), self._names.version

            def write() -> None:
                write_freeze_file(
                    path,
                    header,
                    names,
                    written_ns=time.time_ns(),
                    is_complete=is_complete,
                    lock=self._lock,
                )

            try:
                await trio.to_thread.run_sync(write, abandon_on_cancel=True)
            except OSError as error:
                problem = f"--freeze-file {path} cannot be written: {error.strerror or error}"
                if problem != self._problem:
                    log.error("%s", problem)
                self._problem = problem
            else:
                self._problem, self._file_version = "", version
