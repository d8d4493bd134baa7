"""Keeps the resident memory of the process below the memory budget plus a fixed allowance.

The budget limits the bytes of the blocks. In addition, the heap of the C library keeps free memory
between blocks. The amount of this free memory depends on the order in which blocks are allocated.
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
"""Maximum number of bytes by which the process may exceed the memory budget. The interpreter with
gRPC takes about 75 MiB, messages in flight and bookkeeping about 30 MiB, and the rest is a
margin."""

# Trimming starts when the process is this far below its limit, because more data may arrive before
# the next check.
_MARGIN_BYTES = 60 * _MIB
# The pause between two checks is 0.25 s while the process is more than 128 MiB below the size at
# which trimming starts, and otherwise 0.02 s. No reader fills 128 MiB within 0.25 s.
_FAR_SECONDS = 0.25
_FAR_BYTES = 128 * _MIB
_NEAR_SECONDS = 0.02
# Maximum pause between two checks of an idle mount. The memory of an idle mount does not grow, but
# some of the memory becomes free when the kernel forgets inodes.
_IDLE_SECONDS = 30.0
# Maximum number of times that a pause is doubled. After eleven doublings even the shortest pause,
# 20 ms, is longer than 30 s.
_MAX_DOUBLINGS = 11
# Minimum size of the memory that a trim must be able to free. Trimming for less is not worth the
# cost, because a trim walks through the whole heap and holds the lock of the heap.
_MIN_TRIM_BYTES = 8 * _MIB

# A message exists twice while gRPC hands it over, and once more in the buffers of the socket. An
# eighth of the budget is reserved for these copies, but at most 32 MiB, the size of 16 messages.
_RESERVE_DIVISOR = 8
_MAX_RESERVE_BYTES = 32 * _MIB


def block_budget(memory_bytes: int) -> int:
    """Return the part of the user's memory budget for blocks, cached or in flight, in bytes."""
    return memory_bytes - min(memory_bytes // _RESERVE_DIVISOR, _MAX_RESERVE_BYTES)


async def watch_memory(budget_bytes: int, arrival: Callable[[], Awaitable[object]]) -> None:
    """Trim the heap whenever the process comes near the budget plus the allowance.

    `arrival` waits for data from the service. The memory of the process grows only when data
    arrives. While no data arrives, each pause is twice as long as the pause before, up to 30 s. The
    checks continue, because the last data may become free long after its arrival.

    *Unused* memory is the resident memory minus the used blocks of the heap. A trim can free only
    a part of the unused memory. The rest is outside of the heap, or in pages that are partly in
    use. Only a trim shows how large the rest is. So the amount that remains after a trim is stored,
    and the next trim happens only when the unused memory is larger than this amount. If the C
    library cannot count used blocks, all resident memory counts as unused.
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
