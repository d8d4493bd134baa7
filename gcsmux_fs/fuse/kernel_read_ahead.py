"""Sets the kernel's readahead window of a mount: `read_ahead_kb` in sysfs, which only root writes.

The kernel cuts buffered reads into READs of at most the size of the window, and of at most 1 MiB
with libfuse. The window belongs to an open file: the kernel copies `read_ahead_kb` into a file when
the OPEN of the file has been answered. So writing the value just before the answer chooses a window
for this file alone. If two OPENs are answered within microseconds, the first file may get the
window of the second. This costs time or bytes but no correctness, and is counted.

The code here writes to sysfs and never accesses the mount.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.filesystem.window_policy import MODERATE_WINDOW_BYTES
from gcsmux_fs.metrics.registry import counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.metrics.registry import Registry

__all__ = ["KernelReadAhead"]

log = logging.getLogger(__name__)

# A file has copied its window when the program's thread has run after the answer to its OPEN. On an
# idle machine this takes some microseconds, on a busy machine up to a time slice of the scheduler.
_COPY_SECONDS = 0.001


@dataclass(slots=True)
class _WindowCounters:
    kernel_window_writes: int = counter("writes", "Changes of the kernel's readahead window.")
    kernel_windows_contested: int = counter(
        "opens", "OPENs whose file may have got the readahead window of the next opened file."
    )


class KernelReadAhead:
    """The kernel's readahead window of one mount.

    Args:
        fixed_bytes: The window of all files; 0 keeps the kernel's default. With None, each OPEN
            chooses the window of its file.
        write: Is called like `os.pwrite`.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        fixed_bytes: int | None,
        *,
        write: Callable[[int, bytes, int], int] = os.pwrite,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._is_automatic = fixed_bytes is None
        self._first_bytes = MODERATE_WINDOW_BYTES if fixed_bytes is None else fixed_bytes
        self._write = write
        self._clock = clock
        self._descriptor: int | None = None
        self._current = 0
        self._answered = 0.0
        self._counters = _WindowCounters()
        #: Why the window cannot be changed; empty if it can, or if no change was tried.
        self.refusal = ""

    def declare_metrics(self, registry: Registry) -> None:
        """Declare how often the window was changed."""
        registry.fields(self._counters)

    def attach(self, device: tuple[int, int]) -> None:
        """Set the first window of the mount with the device number `device`, (major, minor).

        A failure is logged and not raised.
        """
        if not self._first_bytes:
            return
        path = _path(device)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            self.refusal = f"writing {path} failed: {error.strerror}"
            log.info(
                "the kernel reads ahead 128 KiB, because writing %s failed (%s): %s the command"
                " under 'The kernel's readahead window' in docs/OPERATIONS.md",
                path,
                error.strerror,
                "outside of the container, run"
                if error.errno == errno.EROFS
                else "mount as root, or as root run",
            )
            return
        self._descriptor = descriptor
        self._set(self._first_bytes)
        if not self._is_automatic:
            self.close()

    def close(self) -> None:
        """Write no more windows."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def choose(self, window_bytes: int | None) -> None:
        """Give the file whose OPEN is answered next this window; with None, any window.

        The caller must answer the OPEN without an await in between.
        """
        if self._descriptor is None:
            return
        now = self._clock()
        if window_bytes is not None and window_bytes != self._current:
            if now - self._answered < _COPY_SECONDS:
                self._counters.kernel_windows_contested += 1
            self._set(window_bytes)
        if window_bytes is not None:
            self._answered = now

    def _set(self, window_bytes: int) -> None:
        assert self._descriptor is not None
        try:
            self._write(self._descriptor, b"%d\n" % (window_bytes // 1024), 0)
        except OSError as error:
            # The mount is ending, and the kernel has removed the file.
            log.debug("the kernel refused a readahead window: %s", error)
            self.close()
            return
        self._current = window_bytes
        self._counters.kernel_window_writes += 1


def _path(device: tuple[int, int]) -> str:
    major, minor = device
    return f"/sys/class/bdi/{major}:{minor}/read_ahead_kb"
