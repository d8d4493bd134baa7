"""A READ that is repeated by the kernel after it failed late does not wait a second time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded, Unavailable
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.recent_failures import RecentFailures, repeat_seconds

from .fakes import KIB, MIB, ManualSource, content_of, key_of

LATE = DeadlineExceeded("too late")


@pytest.mark.parametrize(("timeout", "seconds"), [(120.0, 2.0), (4.0, 1.0)])
def test_a_repeated_read_fails_within_half_a_timeout(timeout: float, seconds: float) -> None:
    assert repeat_seconds(timeout) == seconds


async def test_the_kernel_s_second_read_fails_at_once_on_a_busy_machine_too() -> None:
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


def test_the_first_page_of_a_failed_read_is_refused_once() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    assert failures.pop_repeated(4096, 8192, now=10.05) is None
    assert failures.pop_repeated(0, 4096, now=10.05) is LATE
    assert failures.pop_repeated(0, 4096, now=10.05) is None


def test_two_reads_that_fail_together_are_both_remembered() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    failures.note(128 * KIB, LATE, now=10.0)
    assert failures.pop_repeated(0, 4096, now=10.05) is LATE
    assert failures.pop_repeated(128 * KIB, 132 * KIB, now=10.05) is LATE


def test_a_read_of_more_than_a_page_is_a_new_one() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    assert failures.pop_repeated(0, 128 * KIB, now=10.05) is None
    assert failures.pop_repeated(0, 4096, now=10.05) is None


def test_nothing_is_refused_after_a_while() -> None:
    failures = RecentFailures(2.0)
    failures.note(0, LATE, now=10.0)
    assert failures.pop_repeated(0, 4096, now=12.0) is None
    assert not failures


async def test_the_kernel_s_second_read_fails_at_once_and_the_next_one_asks_anew() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=64 * MIB, read_timeout=120.0)
    key = key_of("object")
    file = context.open(key, 16 * MIB)
    with pytest.raises(DeadlineExceeded):
        await file.read(8 * MIB, 128 * KIB)
    asked = len(source.asked)
    with pytest.raises(DeadlineExceeded):
        await file.read(8 * MIB, 4096)
    assert (trio.current_time(), len(source.asked)) == (120.0, asked)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_answer, source, asked)
        found = await file.read(8 * MIB, 4096)
    assert bytes(found) == content_of(key, 8 * MIB, 4096)
    file.close()


@pytest.mark.parametrize(
    ("seconds", "times_asked"), [(100.0, 1), (1.0, 2)], ids=["late", "at once"]
)
async def test_only_what_failed_late_is_not_asked_for_again(
    seconds: float, times_asked: int
) -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=64 * MIB, read_timeout=120.0)
    file = context.open(key_of("object"), 16 * MIB)
    error = Unavailable("gone")

    async def fail() -> None:
        await trio.sleep(seconds)
        source.asked[-1].settle(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        with pytest.raises(Unavailable):
            await file.read(8 * MIB, 4096)
    with trio.move_on_after(1.0), pytest.raises(Unavailable):
        await file.read(8 * MIB, 4096)
    assert len(source.asked) == times_asked
    file.close()


async def _answer(source: ManualSource, begin: int) -> None:
    await trio.testing.wait_all_tasks_blocked()
    for asked in source.asked[begin:]:
        if asked.is_open:
            asked.settle()
