"""Tests that a repeated READ fails at once, if the first READ failed after a long wait."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded, Unavailable
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.recent_failures import RecentFailures, repeat_seconds
from tests.support.sizes import KIB, MIB

from .fakes import (
    ManualSource,
    content_of,
    key_of,
)

LATE = DeadlineExceeded("too late")


@pytest.mark.parametrize(("timeout", "seconds"), [(120.0, 2.0), (4.0, 1.0)])
def test_repetition_window_is_a_quarter_of_the_timeout_up_to_two_seconds(
    timeout: float, seconds: float
) -> None:
    assert repeat_seconds(timeout) == seconds


async def test_repeated_read_fails_at_once_even_if_it_is_two_seconds_late() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=64 * MIB, read_timeout=10.0)
    file = context.open(key_of("object"), 16 * MIB)
    with pytest.raises(DeadlineExceeded):
        await file.read(0, 128 * KIB)
    await trio.sleep(1.9)
    with pytest.raises(DeadlineExceeded):
        await file.read(0, 4096)
    assert trio.current_time() == 11.9
    file.close()


def test_first_page_of_a_failed_read_fails_at_once_only_once() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    assert failures.pop_repeated(4096, 8192, now=10.05) is None
    assert failures.pop_repeated(0, 4096, now=10.05) is LATE
    assert failures.pop_repeated(0, 4096, now=10.05) is None


def test_two_reads_that_fail_together_are_both_repeated() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    failures.note(128 * KIB, LATE, now=10.0)
    assert failures.pop_repeated(0, 4096, now=10.05) is LATE
    assert failures.pop_repeated(128 * KIB, 132 * KIB, now=10.05) is LATE


def test_read_of_more_than_a_page_is_no_repetition() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    assert failures.pop_repeated(0, 128 * KIB, now=10.05) is None
    assert failures.pop_repeated(0, 4096, now=10.05) is None


def test_no_read_fails_at_once_after_the_repetition_window() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    assert failures.pop_repeated(0, 4096, now=12.0) is None
    assert not failures


async def test_repeated_read_fails_at_once_and_the_next_one_requests_the_range() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=64 * MIB, read_timeout=120.0)
    key = key_of("object")
    file = context.open(key, 16 * MIB)
    with pytest.raises(DeadlineExceeded):
        await file.read(8 * MIB, 128 * KIB)
    count = len(source.requests)
    with pytest.raises(DeadlineExceeded):
        await file.read(8 * MIB, 4096)
    assert (trio.current_time(), len(source.requests)) == (120.0, count)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_answer, source, count)
        content = await file.read(8 * MIB, 4096)
    assert bytes(content) == content_of(key, 8 * MIB, 4096)
    file.close()


@pytest.mark.parametrize(
    ("seconds", "request_count"), [(100.0, 1), (1.0, 2)], ids=["late", "at once"]
)
async def test_only_a_late_failure_is_repeated_without_a_request(
    seconds: float, request_count: int
) -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=64 * MIB, read_timeout=120.0)
    file = context.open(key_of("object"), 16 * MIB)
    error = Unavailable("gone")

    async def fail() -> None:
        await trio.sleep(seconds)
        source.requests[-1].settle(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        with pytest.raises(Unavailable):
            await file.read(8 * MIB, 4096)
    with trio.move_on_after(1.0), pytest.raises(Unavailable):
        await file.read(8 * MIB, 4096)
    assert len(source.requests) == request_count
    file.close()


async def _answer(source: ManualSource, begin: int) -> None:
    await trio.testing.wait_all_tasks_blocked()
    for request in source.requests[begin:]:
        if request.is_open:
            request.settle()
