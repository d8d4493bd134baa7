"""Reads the clocks of this machine, for answers whose age must survive a restart."""

from __future__ import annotations

import ctypes
import time
import uuid
from pathlib import Path

from gcsmux_fs.caching.name_ages import Moment

__all__ = ["MachineMoments", "boot_id"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# The result of adjtimex(2) if the clock is not synchronised.
_TIME_ERROR = 5
# The size of `struct timex` is 208 bytes on 64-bit Linux. The kernel writes the whole structure.
_TIMEX_BYTES = 512
# How often the kernel is asked whether the clock is synchronised. A service such as chrony takes
# seconds to minutes for a change.
_CHECK_SECONDS = 10.0


class MachineMoments:
    """Returns the moment now. All methods return at once."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._library = ctypes.CDLL(None)
        self._is_synchronised = False
        self._check_at = 0.0

    def now(self) -> Moment:
        """Return the moment now."""
        since_boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if since_boot_ns / 1e9 >= self._check_at:
            self._check_at = since_boot_ns / 1e9 + _CHECK_SECONDS
            self._is_synchronised = self._ask_kernel()
        return Moment(self._boot, since_boot_ns, time.time_ns(), self._is_synchronised)

    def _ask_kernel(self) -> bool:
        # All modes are 0, so the call only reads.
        state = int(self._library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
        return 0 <= state < _TIME_ERROR


def boot_id() -> bytes:
    """Return 16 bytes that change when the machine is started."""
    try:
        return uuid.UUID(_BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        # Without an id, each process counts as a new boot, so that only the time of day is used.
        return uuid.uuid4().bytes
