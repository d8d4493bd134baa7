"""Keeps the resident memory of the process below the memory budget plus a fixed allowance.

The budget counts the bytes of blocks exactly. The C library's heap additionally keeps free memory
between blocks of different sizes. The amount depends on the order of allocations.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.process.malloc import allocated_bytes, resident_bytes, trim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ALLOWANCE_BYTES", "block_budget", "watch_memory"]

log = logging.getLogger(__name__)

_MIB = 1024 * 1024

ALLOWANCE_BYTES = 150 * _MIB
"""How far the process may exceed the memory budget. The interpreter with gRPC takes about 75 MiB,
messages in flight and bookkeeping about 30 MiB, and the rest is a margin."""

# Room for data that arrives between two checks, or before a delayed check.
_MARGIN_BYTES = 60 * _MIB
# Checks are 0.25 s apart while more than 128 MiB are free below the limit, which no reader fills
# within a second; otherwise 0.02 s.
_FAR_SECONDS = 0.25
_FAR_BYTES = 128 * _MIB
_NEAR_SECONDS = 0.02
# The longest pause. An idle mount does not grow, but frees memory when the kernel forgets inodes.
_IDLE_SECONDS = 30.0
# Eleven doublings take the shortest pause, 20 ms, beyond the longest, 30 s.
_MAX_DOUBLINGS = 11
# A trim walks through the whole heap and holds its lock. It must free at least this much.
_MIN_TRIM_BYTES = 8 * _MIB

# A message exists twice while gRPC hands it over, and once more in the buffers of the socket. An
# eighth of the budget is reserved for such messages, at most the size of 16 messages of 2 MiB.
_RESERVE_DIVISOR = 8
_MAX_RESERVE_BYTES = 32 * _MIB


def block_budget(memory_bytes: int) -> int:
    """Return the part of the user's memory budget for blocks, cached or in flight, in bytes."""
    return memory_bytes - min(memory_bytes // _RESERVE_DIVISOR, _MAX_RESERVE_BYTES)


async def watch_memory(budget_bytes: int, arrival: Callable[[], Awaitable[object]]) -> None:
    """Trim the heap whenever the process comes near the budget plus the allowance.

    `arrival` waits until data arrives from the service, which is what makes the process grow.
    Without arrivals each pause is twice as long as the last, up to 30 s, because the last data may
    become free long after it has arrived.

    Resident memory that the heap does not use is either free or beyond the reach of a trim: it is
    outside of the heap, or in a page that is partly in use. Only a trim shows which. Unused memory
    that remains after a trim counts as beyond reach, and only growth above it causes another trim.
    Where the C library cannot count memory in use, only growth of the process causes a trim.
    """
    limit = budget_bytes + ALLOWANCE_BYTES - _MARGIN_BYTES
    unreachable = 0
    quiet_checks = 0
    while True:
        resident = resident_bytes()
        unused = resident - allocated_bytes()
        unreachable = min(unreachable, unused)
        if resident > limit and unused - unreachable >= _MIN_TRIM_BYTES:
            trim()
            remaining = resident_bytes()
            unreachable = remaining - allocated_bytes()
            log.debug(
                "trimmed the heap: resident memory went from %d MiB to %d MiB",
                resident // _MIB,
                remaining // _MIB,
            )
        pause = _NEAR_SECONDS if resident > limit - _FAR_BYTES else _FAR_SECONDS
        with trio.move_on_after(min(pause * 2**quiet_checks, _IDLE_SECONDS)) as quiet:
            await arrival()
        if quiet.cancelled_caught:
            quiet_checks = min(quiet_checks + 1, _MAX_DOUBLINGS)
        else:
            quiet_checks = 0
            await trio.sleep(pause)
