"""The signals that a mounted process receives, and what each of them does.

SIGTERM and SIGINT end the mount. SIGUSR1 logs the metrics. SIGHUP has two meanings on Linux. A
terminal that closes sends it to the programs that run there; so SIGHUP ends a mount in the
foreground of a terminal. An administrator sends it to a service, to make the service reload; so
SIGHUP reloads a mount that has no terminal, because it is detached or a service of systemd. A mount
that was started by nohup(1) in a terminal ignores SIGHUP.
"""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["MountSignals", "receive_signals"]


@dataclass(frozen=True, slots=True)
class MountSignals:
    """The received signals: those that end the mount, and SIGHUP as the request to reload."""

    ending: AsyncIterator[int]
    reloading: AsyncIterator[int]


@contextlib.contextmanager
def receive_signals(*, with_terminal: bool) -> Iterator[MountSignals]:
    """Receive signals until the block ends. `with_terminal`: a terminal may send SIGHUP."""
    ending = {signal.SIGTERM, signal.SIGINT}
    reloading = set()
    if not with_terminal:
        reloading.add(signal.SIGHUP)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.add(signal.SIGHUP)
    with contextlib.ExitStack() as receivers:
        open_receiver = trio.open_signal_receiver
        yield MountSignals(
            receivers.enter_context(open_receiver(*ending)),
            receivers.enter_context(open_receiver(*reloading)) if reloading else _none(),
        )


async def _none() -> AsyncIterator[int]:
    await trio.sleep_forever()
    yield 0
