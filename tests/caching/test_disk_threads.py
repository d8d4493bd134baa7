from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from gcsmux_fs.caching.disk_threads import DiskThreads


async def until(condition: threading.Event) -> None:
    """Wait for an event of a thread, without blocking trio."""
    await trio.to_thread.run_sync(condition.wait)


async def test_answers_come_in_a_later_turn_on_trios_thread() -> None:
    threads = DiskThreads()
    answered = trio.Event()
    answers: list[object] = []

    def answer(result: object) -> None:
        answers.append((result, threading.current_thread() is threading.main_thread()))
        answered.set()

    threads.new_lane("reads", 1).submit(lambda: threading.current_thread().daemon, answer)
    assert answers == []
    await answered.wait()
    assert answers == [(True, True)]
    threads.close()


async def test_errors_are_answers() -> None:
    threads = DiskThreads()

    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await threads.new_lane("reads", 1).run(fail)
    threads.close()


async def test_a_thread_that_hangs_delays_no_other_thread_and_not_the_end() -> None:
    threads = DiskThreads()
    hangs, release, ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        release.wait(60)
        ended.set()

    lane = threads.new_lane("reads", 2)
    late: list[object] = []
    lane.submit(hang, late.append)
    await until(hangs)
    assert await lane.run(lambda: 1) == 1
    assert await threads.new_lane("writes", 1).run(lambda: 2) == 2
    threads.close()
    release.set()
    await until(ended)
    await trio.testing.wait_all_tasks_blocked()
    assert late == [], "no answer comes after the end"


async def test_a_call_that_was_cancelled_before_its_thread_began_is_skipped() -> None:
    threads = DiskThreads()
    begun, release = threading.Event(), threading.Event()
    lane = threads.new_lane("reads", 1)
    results: list[object] = []

    def block() -> str:
        begun.set()
        release.wait(60)
        return "begun"

    first = lane.submit(block, results.append)
    second = lane.submit(lambda: "skipped", results.append)
    await until(begun)
    first.cancel()
    second.cancel()
    release.set()
    assert await lane.run(lambda: "later") == "later"
    assert results == ["begun"], "a call that a thread has begun cannot be interrupted"
    assert lane.unanswered == 0
    threads.close()


async def test_a_lane_starts_threads_only_when_it_needs_them() -> None:
    threads = DiskThreads()
    lane = threads.new_lane("reads", 4)
    for _ in range(5):
        await lane.run(lambda: None)
    assert lane.threads == 1
    threads.close()


@pytest.mark.expects_log("could not be used")
async def test_an_answer_that_raises_does_not_stop_the_others() -> None:
    threads = DiskThreads()

    def refuse(_: object) -> None:
        raise RuntimeError("a reader's own fault")

    lane = threads.new_lane("reads", 1)
    lane.submit(lambda: 1, refuse)
    assert await lane.run(lambda: 2) == 2
    threads.close()
