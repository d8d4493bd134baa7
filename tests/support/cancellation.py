"""Run a scenario many times and cancel each run at a different instant.

How it works. Trio can deliver a cancellation only at an await. An *instant* is the start or the end
of one step of trio's scheduler, no matter which task makes the step. If the cancellation comes just
before a step of the scenario's task, this task is already awake, and its next await raises
`Cancelled`. If the cancellation comes after a step, the await at the end of this step raises
`Cancelled`. Up to its cancellation, each run repeats the previous run exactly, with the tasks in
the same order.

A *stage* is a context manager. It creates what the scenario needs, yields the scenario, and asserts
afterwards that the scenario left nothing behind.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, TypeAlias
from unittest import mock

import trio
import trio.testing
from trio._core import _run as scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Scenario: TypeAlias = Callable[[], Awaitable[object]]
    Stage: TypeAlias = Callable[[], AbstractAsyncContextManager[Scenario]]

__all__ = ["Scenario", "Stage", "cancel_everywhere", "play"]

# Number of random seeds with which each scenario runs. Trio chooses a random order for tasks that
# are ready at the same time.
_ORDERS = 3
# Limit of a run's virtual time in seconds. A run that takes longer counts as a hang, because every
# scenario normally takes less time.
_HANGS_SECONDS = 100


def cancel_everywhere(stage: Stage) -> None:
    """Run the scenario in virtual time and cancel it, once for each instant.

    The last run ends before its instant comes, so this run is not cancelled.
    """
    with mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        for order in range(_ORDERS):
            for instant in itertools.count():
                scheduler._r.seed(order)
                clock = trio.testing.MockClock(autojump_threshold=0)
                if not trio.run(functools.partial(play, stage, instant), clock=clock):
                    # Check that the scenario contains an await. Without an await, trio could not
                    # cancel the scenario at any instant.
                    assert instant > 1
                    break


async def play(stage: Stage, instant: int) -> bool:
    """Run the scenario and cancel it at `instant`; return whether the run reached this instant."""
    try:
        with trio.fail_after(_HANGS_SECONDS):
            async with stage() as scenario:
                with trio.CancelScope() as scope:
                    canceller = _Canceller(scope, instant)
                    trio.lowlevel.add_instrument(canceller)
                    try:
                        await scenario()
                    finally:
                        trio.lowlevel.remove_instrument(canceller)
    except BaseException as error:
        error.add_note(f"cancelled at instant {instant}")
        raise
    return scope.cancel_called


class _Canceller(trio.abc.Instrument):
    """Cancels `scope` at the given instant. Instant 0 is when this object is created."""

    def __init__(self, scope: trio.CancelScope, instant: int) -> None:
        self._scope = scope
        self._instants_left = instant
        self._pass()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._pass()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._pass()

    def _pass(self) -> None:
        if not self._instants_left:
            self._scope.cancel()
        self._instants_left -= 1
