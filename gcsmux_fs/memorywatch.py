"""Keeps the promise about the process's memory: the budget, and a fixed allowance on top of it.

The budget counts the bytes of blocks exactly, but between blocks of different sizes the C
library's heap keeps free memory, and how much depends on the order in which they came and went.
"""

from __future__ import annotations

import logging

import trio

from gcsmux_fs.allocator import give_back, resident_bytes

__all__ = ["ALLOWANCE_BYTES", "block_budget", "watch_memory"]

log = logging.getLogger(__name__)

_MIB = 1024 * 1024

# The interpreter with gRPC takes about 75 MiB, messages under way and bookkeeping some 30.
ALLOWANCE_BYTES = 150 * _MIB
# Room for what arrives between two looks, and for a look that comes late.
_MARGIN_BYTES = 60 * _MIB
# Looks are further apart as long as there is more room than a second's reading could fill.
_FAR_SECONDS = 0.25
_FAR_BYTES = 128 * _MIB
_NEAR_SECONDS = 0.02
# Where giving back does not help (a million names take their room), it is tried less often, unless
# more has been taken since.
_SLOWEST_SECONDS = 10.0
_WORTHWHILE_BYTES = 8 * _MIB

# A message exists twice while gRPC hands it over, and once more in the socket's buffers: an eighth
# of the budget, up to what 16 messages of 2 MiB take, is set aside for those in passage.
_PASSAGE_DIVISOR = 8
_MAX_PASSAGE_BYTES = 32 * _MIB


def block_budget(memory_bytes: int) -> int:
    """Return what is left of the user's budget for blocks, cached or on their way."""
    return memory_bytes - min(memory_bytes // _PASSAGE_DIVISOR, _MAX_PASSAGE_BYTES)


async def watch_memory(budget_bytes: int) -> None:
    """Give free memory back whenever the process nears `budget_bytes` and the allowance."""
    limit = budget_bytes + ALLOWANCE_BYTES - _MARGIN_BYTES
    left = 0
    pause, next_try = _NEAR_SECONDS, trio.current_time()
    before = resident_bytes()
    while True:
        await trio.sleep(_NEAR_SECONDS if before > limit - _FAR_BYTES else _FAR_SECONDS)
        before = resident_bytes()
        now = trio.current_time()
        has_grown = before >= left + _WORTHWHILE_BYTES
        if before <= limit or not (has_grown or now >= next_try):
            continue
        give_back()
        left = resident_bytes()
        log.debug("gave back %d MiB of %d", (before - left) // _MIB, before // _MIB)
        helped = before - left >= _WORTHWHILE_BYTES
        pause = _NEAR_SECONDS if helped else min(pause * 2, _SLOWEST_SECONDS)
        next_try = now + pause
