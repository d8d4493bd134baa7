"""What the drivers of sans-IO cores share: the loop of actions, and the events of numbered calls.

A core decides, and returns its decisions as actions. Its driver carries them out. A core opens one
call after another, and numbers them, so that it can discard the late events of earlier calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.storage.ports import StreamEnd

__all__ = ["ActionLoop", "NumberedListener"]

Action = TypeVar("Action")
Message_contra = TypeVar("Message_contra", contravariant=True)


class ActionLoop:
    """Carries out the actions of a core, in order. It refers to nothing, so it makes no cycle."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running = False

    def run(self, take: Callable[[], list[Action]], carry_out: Callable[[Action], None]) -> bool:
        """Carry out all actions; return whether it is done.

        An action may lead to a nested call of `run`. The nested call returns False at once, because
        the outer call carries out the new actions too.

        Args:
            take: returns the actions that the core has decided on since the last call.
            carry_out: carries out one action.
        """
        if self._running:
            return False
        self._running = True
        try:
            while actions := take():
                for action in actions:
                    carry_out(action)
        finally:
            self._running = False
        return True


class _EventsOfCalls(Protocol[Message_contra]):
    """The part of a core that handles the events of calls."""

    def on_sent(self, stream: int, now: float) -> None: ...

    def on_message(self, stream: int, message: Message_contra, now: float) -> None: ...

    def on_end(self, stream: int, end: StreamEnd, now: float) -> None: ...


class NumberedListener(Generic[Message_contra]):
    """Passes the events of one call to a core, with the number of the call.

    Args:
        core: handles the events.
        number: the number of the call.
        clock: returns the time.
        act: carries out the actions of the core, after each event.
    """

    __slots__ = ("_act", "_clock", "_core", "_number")

    def __init__(
        self,
        core: _EventsOfCalls[Message_contra],
        number: int,
        clock: Callable[[], float],
        act: Callable[[], None],
    ) -> None:
        self._core = core
        self._number = number
        self._clock = clock
        self._act = act

    def on_sent(self) -> None:
        """The latest message has been sent."""
        self._core.on_sent(self._number, self._clock())
        self._act()

    def on_message(self, message: Message_contra) -> None:
        """A response has arrived."""
        self._core.on_message(self._number, message, self._clock())
        self._act()

    def on_end(self, end: StreamEnd) -> None:
        """The call has ended."""
        self._core.on_end(self._number, end, self._clock())
        self._act()
