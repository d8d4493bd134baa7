"""Connects the protocol core of one object with its gRPC call and with its readers.

Theory of operation. The core decides. This module opens and cancels the call, passes the events of
the call to the core, and calls the callbacks of the readers. A callback may request and cancel
ranges, and the core then decides on further actions. The loop that called the callback carries out
the further actions after the earlier actions.

The core alone discards the events of earlier calls (invariant 4 of `core`). This module passes on
every event with the stream number of its call.

Invariant: an exception from one reader's callback, or from the transport, does not affect other
readers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StatusCode, StorageError, Unavailable
from gcsmux_fs.mux.actions import Action, Cancel, Deliver, Fail, Moved, Open, Send
from gcsmux_fs.storage.call_driver import ActionLoop, NumberedListener
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.mux.core import StreamCore
    from gcsmux_fs.mux.range_table import PendingRange
    from gcsmux_fs.storage.ports import BidiCall, BidiTransport

__all__ = ["SharedStream", "Ticket"]

log = logging.getLogger(__name__)


class Ticket:
    """Represents a requested range for its reader, who can cancel the range."""

    __slots__ = ("_pending", "_stream")

    def __init__(self, stream: SharedStream, pending: PendingRange) -> None:
        self._stream = stream
        self._pending = pending

    @property
    def last_error(self) -> str:
        """The last failure of a stream, in words; empty if bytes have arrived since then."""
        return self._stream.core.last_error

    def cancel(self) -> None:
        """Cancel the range: `done` is not called afterwards. A second call does nothing."""
        self._stream.cancel(self._pending)


class SharedStream:
    """The core of one object, and its call if there is one.

    `settle` is called whenever the core may have a new deadline or a new state.
    """

    __slots__ = ("_call", "_loop", "_settle", "_transport", "core")

    def __init__(
        self,
        core: StreamCore,
        transport: BidiTransport,
        settle: Callable[[SharedStream], None],
    ) -> None:
        self.core = core
        self._transport = transport
        self._settle = settle
        self._call: BidiCall | None = None
        self._loop = ActionLoop()

    def cancel(self, pending: PendingRange) -> None:
        """Cancel a range: its callback is not called afterwards. A second call does nothing."""
        # The callback is replaced even if the range has ended, because `act` may be about to
        # deliver the range.
        pending.done = _ignore_outcome
        if pending.live:
            self.core.cancel(pending, trio.current_time())
            self.act()

    def close(self, why: str) -> None:
        """Fail all waiting ranges with Unavailable and end the call."""
        self.core.close(Unavailable(why, subject=str(self.core.key)))
        self.act()

    def act(self) -> None:
        """Carry out the core's actions, in order."""
        if self._loop.run(self.core.take_actions, self._carry_out):
            if not self.core.has_call:
                self._call = None
            self._settle(self)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Deliver(pending, outcome) | Fail(pending, outcome):
                self._call_back(pending, outcome)
            case Send() | Open():
                self._transmit(action)
            case Cancel():
                self._cancel_call()
            case Moved(before, after, stream, event, detail):
                log.debug(
                    "%s: stream %d: %s -> %s: %s%s",
                    self.core.key,
                    stream,
                    before.name,
                    after.name,
                    event.value,
                    f" ({detail})" if detail else "",
                )

    def _call_back(self, pending: PendingRange, outcome: memoryview | StorageError) -> None:
        try:
            pending.done(outcome)
        except Exception:
            log.exception("%s: a reader's callback failed", self.core.key)

    def _transmit(self, action: Open | Send) -> None:
        try:
            if isinstance(action, Open):
                self._call = None
                listener = NumberedListener(self.core, action.stream, trio.current_time, self.act)
                self._call = self._transport.open(action.spec, action.ranges, listener)
            else:
                assert self._call is not None  # a core sends only on an open stream
                self._call.send(action.ranges)
        except Exception as error:
            log.exception("%s: the transport failed", self.core.key)
            self._cancel_call()
            end = StreamEnd(StatusCode.INTERNAL, f"the transport failed: {error}")
            self.core.on_end(self.core.stream, end, trio.current_time())

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


def _ignore_outcome(_outcome: memoryview | StorageError) -> None:
    """Do nothing; this function replaces the callback of a cancelled range."""
