"""Feeds the watchdog of systemd (WatchdogSec=) while both event loops run.

systemd kills a service that sends no `WATCHDOG=1` for WatchdogSec=, and starts it again. The task
that sends the message runs in trio's loop, so no message is sent while this loop is blocked. It
also sends none while the other loop is blocked, which the heartbeats show.

After a pause of the whole process, such as SIGSTOP or a suspended machine, the next message is sent
as soon as both loops run again. So a pause that systemd survives does not cause a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.process.heartbeats import BEAT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.process.heartbeats import Heartbeats

__all__ = ["feed_watchdog", "watchdog_seconds"]

# sd_watchdog_enabled(3) recommends a message every half of the time. A shorter period leaves time
# for a message that is late.
_MESSAGES_PER_PERIOD = 4


def watchdog_seconds(environment: Mapping[str, str], process: int) -> float | None:
    """Return the time after which systemd's watchdog kills `process`; None without a watchdog."""
    text = environment.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(process)) != str(process):
        return None
    return int(text) / 1e6


async def feed_watchdog(
    seconds: float, heartbeats: Heartbeats, alive: Callable[[], object]
) -> None:
    """Call `alive` several times within each period of `seconds`, while both loops run."""
    oldest = max(seconds / 2, 2 * BEAT_SECONDS)
    while True:
        if heartbeats.oldest_age_seconds() < oldest:
            alive()
        await trio.sleep(seconds / _MESSAGES_PER_PERIOD)
