"""Keeps the promise about the process's memory: the budget, and a fixed allowance on top of it.

The budget counts the bytes of blocks exactly, but between blocks of different sizes the C
library's heap keeps free memory, and how much depends on the order in which they came and went.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.process.malloc import allocated_bytes, give_back, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
# An idle mount grows no further, but the kernel may make it forget inodes.
_IDLE_SECONDS = 30.0
# From 20 ms to more than 30 s.
_MAX_DOUBLINGS = 11
# Less than this is not worth a walk through the whole heap under its lock.
_WORTHWHILE_BYTES = 8 * _MIB

# A message exists twice while gRPC hands it over, and once more in the socket's buffers: an eighth
# of the budget, up to what 16 messages of 2 MiB take, is set aside for those in passage.
_PASSAGE_DIVISOR = 8
_MAX_PASSAGE_BYTES = 32 * _MIB


def block_budget(memory_bytes: int) -> int:
    """Return what is left of the user's budget for blocks, cached or on their way."""
    return memory_bytes - min(memory_bytes // _PASSAGE_DIVISOR, _MAX_PASSAGE_BYTES)


async def watch_memory(budget_bytes: int, arrival: Callable[[], Awaitable[object]]) -> None:
    """Give free memory back whenever the process nears `budget_bytes` and the allowance.

    `arrival` waits until something arrives from the service: what makes the process grow. While
    nothing does, each pause is twice as long as the one before, up to 30 s: the last of what has
    arrived may have come to be free only after the last look.

    Of what is resident and not in use, what was left the last time cannot be given back: it is
    beside the heap, or in pages of which a part is in use. What has come since may be free, or
    beside the heap as well: one try tells. Where the C library does not say what is in use, only
    growth is seen, and what becomes free without any stays.
    """
    limit = budget_bytes + ALLOWANCE_BYTES - _MARGIN_BYTES
    left = 0
    quiet_looks = 0
    while True:
        before = resident_bytes()
        unused = before - allocated_bytes()
        left = min(left, unused)
        if before > limit and unused - left >= _WORTHWHILE_BYTES:
            give_back()
            after = resident_bytes()
            left = after - allocated_bytes()
            log.debug("gave back %d MiB of %d", (before - after) // _MIB, before // _MIB)
        pause = _NEAR_SECONDS if before > limit - _FAR_BYTES else _FAR_SECONDS
        with trio.move_on_after(min(pause * 2**quiet_looks, _IDLE_SECONDS)) as quiet:
            await arrival()
        if quiet.cancelled_caught:
            quiet_looks = min(quiet_looks + 1, _MAX_DOUBLINGS)
        else:
            quiet_looks = 0
            await trio.sleep(pause)
