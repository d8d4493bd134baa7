"""Drives the core of a change feed for tests. The test acts as the clock and the service."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from gcsmux_fs.changes.pull_actions import (
    FeedCounters,
    NoteGap,
    NoteQuiet,
    OpenPull,
    PullMoved,
    PullPolicy,
    SendOrder,
    StopPull,
)
from gcsmux_fs.changes.pull_core import PullCore
from gcsmux_fs.storage.ports import PulledMessage, PullOrder, PullResponse, StreamEnd

if TYPE_CHECKING:
    from gcsmux_fs.changes.pull_states import PullEvent, PullState
    from gcsmux_fs.model.errors import StatusCode

__all__ = ["DrivenPull", "end", "messages"]


def messages(*ack_ids: str, publish_time: float = 1000.0) -> tuple[PulledMessage, ...]:
    return tuple(PulledMessage(ack_id, b"", {}, publish_time) for ack_id in ack_ids)


def end(code: StatusCode, message: str = "", **more: object) -> StreamEnd:
    return StreamEnd(code, message, **more)  # type: ignore[arg-type]


class DrivenPull:
    """A core, and everything that it has decided.

    It asserts that the core sends one message at a time, and only while a call exists. Each message
    is confirmed at once, unless `confirms` is False.
    """

    def __init__(
        self, policy: PullPolicy | None = None, *, skip_before: float = -math.inf, seed: int = 0
    ) -> None:
        self.counters = FeedCounters()
        self.policy = policy or PullPolicy()
        self.core = PullCore(self.policy, Random(seed), self.counters, skip_before=skip_before)
        self.now = 100.0
        self.confirms = True
        self.orders: list[PullOrder] = []
        self.transitions: list[tuple[PullState, PullEvent]] = []
        self.details: list[str] = []
        self.opened_at: list[float] = []
        self.stopped = 0
        self.gaps = 0
        self.quiet = 0
        self._has_call = False
        #: Whether a message is being sent.
        self.unconfirmed = False

    @property
    def keep_alives(self) -> int:
        return sum(order.is_keep_alive for order in self.orders)

    @property
    def acked(self) -> list[str]:
        return [ack_id for order in self.orders for ack_id in order.ack_ids]

    @property
    def extended(self) -> list[str]:
        return [ack_id for order in self.orders for ack_id in order.extended_ack_ids]

    def start(self) -> None:
        self.core.start(self.now)
        self.act()

    def open(self) -> None:
        """Start the core, and answer its first keep-alive."""
        self.start()
        self.answer()

    def answer(self, *ack_ids: str, publish_time: float = 1000.0, stream: int = 0) -> None:
        response = PullResponse(messages(*ack_ids, publish_time=publish_time))
        self.core.on_message(stream or self.core.stream, response, self.now)
        self.act()

    def end(self, code: StatusCode, message: str = "", *, stream: int = 0, **more: object) -> None:
        if not stream:
            self._has_call = self.unconfirmed = False
        self.core.on_end(stream or self.core.stream, end(code, message, **more), self.now)
        self.act()

    def confirm(self, stream: int = 0) -> None:
        if not stream:
            assert self.unconfirmed
            self.unconfirmed = False
        self.core.on_sent(stream or self.core.stream, self.now)
        self.act()

    def take(self, most: int = 1000) -> list[str]:
        taken = [message.ack_id for message in self.core.take_messages(most, self.now)]
        self.act()
        return taken

    def close(self) -> None:
        self.core.close()
        self.act()

    def advance(self, seconds: float) -> None:
        """Let time pass, and call the core at each of its deadlines."""
        stop = self.now + seconds
        while self.core.deadline <= stop:
            self.now = max(self.now, self.core.deadline)
            before = self.core.deadline
            self.core.on_timer(self.now)
            self.act()
            assert self.core.deadline > before, "the core wants to be called again at once"
        self.now = stop

    def suspend(self, seconds: float) -> None:
        self.core.on_suspended(seconds, self.now)
        self.act()

    def act(self) -> None:
        """Record the actions of the core, and confirm what it sends."""
        while actions := self.core.take_actions():
            for action in actions:
                match action:
                    case OpenPull():
                        assert not self._has_call
                        self._has_call = self.unconfirmed = True
                        self.opened_at.append(self.now)
                    case SendOrder(order):
                        assert self._has_call
                        assert not self.unconfirmed
                        self.unconfirmed = True
                        self.orders.append(order)
                    case StopPull():
                        assert self._has_call
                        self._has_call = self.unconfirmed = False
                        self.stopped += 1
                    case PullMoved(before, _, _, event, detail):
                        self.transitions.append((before, event))
                        self.details.append(detail)
                    case NoteGap():
                        self.gaps += 1
                    case NoteQuiet():
                        self.quiet += 1
            if self.confirms and self.unconfirmed:
                self.confirm()
