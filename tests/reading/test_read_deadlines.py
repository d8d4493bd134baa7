"""Tests of the deadlines of READs: the time in which the process is stopped does not count."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.read_deadlines import ReadDeadlines
from tests.support.sizes import KIB, MIB

from .fakes import (
    ManualSource,
    TimedSource,
    content_of,
    key_of,
)

KEY = key_of("object")
SIZE = 64 * MIB
TIMEOUT_SECONDS = 120.0
STOP_SECONDS = 500.0


def stop(seconds: float) -> None:
    """Let virtual time pass as if the process was stopped."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)


def do_nothing() -> None:
    """Replace the work that a mount does after each look at the deadlines."""


@pytest.mark.parametrize("size", [4 * KIB, 2 * MIB])
async def test_read_survives_a_stop_longer_than_its_timeout(size: int) -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=TIMEOUT_SECONDS)
    assert (size > context.resources.budget.largest_read) == (size > MIB)
    file = context.open(KEY, SIZE)
    answers: list[bytes] = []

    async def read() -> None:
        answers.append(bytes(await file.read(MIB, size)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for _ in range(3):
            await trio.sleep(1.5)
            stop(STOP_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        while source.pending:
            source.settle_all()
            await trio.testing.wait_all_tasks_blocked()
    assert answers == [content_of(KEY, MIB, size)]


@pytest.mark.parametrize("size", [4 * KIB, 2 * MIB])
@pytest.mark.parametrize(("stopped", "extension"), [(STOP_SECONDS, STOP_SECONDS), (0.9, 0.0)])
async def test_stopped_time_does_not_count_against_the_deadline(
    size: int, stopped: float, extension: float
) -> None:
    context = ReadContext(
        ManualSource(), budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=TIMEOUT_SECONDS
    )
    file = context.open(KEY, SIZE)
    ended = math.inf

    async def read() -> None:
        nonlocal ended
        with pytest.raises(DeadlineExceeded, match="within 120 s"):
            await file.read(MIB, size)
        ended = trio.current_time()

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(TIMEOUT_SECONDS / 2 + 0.25)
        stop(stopped)
    # The part of the stop before the time of the next look, at most a second, does count.
    assert TIMEOUT_SECONDS + extension - 1 <= ended - started <= TIMEOUT_SECONDS + extension


@pytest.mark.parametrize("timeout", [1.0, 3.0])
async def test_most_of_a_short_timeout_is_left_after_a_stop(timeout: float) -> None:
    expired: list[float] = []
    deadlines = ReadDeadlines(timeout, lambda _: expired.append(trio.current_time()), do_nothing)
    deadlines.add(trio.CancelScope())
    await trio.testing.wait_all_tasks_blocked()
    stop(STOP_SECONDS)
    woken = trio.current_time()
    await trio.sleep(timeout)
    assert woken + 0.8 * timeout <= expired[0] <= woken + timeout


async def test_deadlines_keep_their_order_and_none_is_further_away_than_the_timeout() -> None:
    expired: list[object] = []
    deadlines = ReadDeadlines(TIMEOUT_SECONDS, expired.append, do_nothing)
    early, late = trio.CancelScope(), trio.CancelScope()
    deadlines.add(early)
    await trio.testing.wait_all_tasks_blocked()
    stop(STOP_SECONDS)
    # The second READ begins when the process runs again, before the next look at the deadlines.
    woken = trio.current_time()
    deadlines.add(late)
    await trio.sleep_until(woken + TIMEOUT_SECONDS - 0.5)
    assert expired == [early]
    await trio.sleep_until(woken + TIMEOUT_SECONDS)
    await trio.testing.wait_all_tasks_blocked()
    assert expired == [early, late]


async def test_no_task_wakes_up_while_no_read_waits() -> None:
    async with trio.open_nursery() as nursery:
        context = ReadContext(TimedSource(nursery, 0.05), budget_bytes=MINIMUM_BUDGET_BYTES)
        file = context.open(KEY, SIZE)
        for offset in (0, 10 * MIB):
            await file.read(offset, 4 * KIB)
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline <= 1
            await trio.sleep(1)
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
