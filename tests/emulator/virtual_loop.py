"""An asyncio event loop with virtual time. While all tasks wait, it jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_ResultT = TypeVar("_ResultT")


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that does not wait: `select` adds the timeout to the virtual time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "deadlock: all tasks wait, and no timer is set"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtually(scenario: Coroutine[None, None, _ResultT]) -> _ResultT:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario)
