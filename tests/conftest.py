"""Hooks for all tests: they run coroutines in trio with a virtual clock, and check the log."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import trio
import trio.testing

from tests.soak.seed_of_the_day import repeat_command, seed_of_the_day

if TYPE_CHECKING:
    from collections.abc import Iterator


# A part of the text of a harmless error that gRPC logs when two event loops share its completion
# queue: https://github.com/grpc/grpc/issues/25364
_GRPC_NOISE = "PollerCompletionQueue._handle_events"

# `deadline=None` turns off the time limit that hypothesis has for each example by default, because
# a busy machine exceeds this limit. `make test-fast` selects the profile `fast`.
hypothesis.settings.register_profile("complete", deadline=None)
hypothesis.settings.register_profile("fast", deadline=None, max_examples=20)
hypothesis.settings.load_profile("complete")


def pytest_configure() -> None:
    """Restore the default effect of SIGINT, also for child processes.

    A shell starts background jobs with SIGINT ignored, and child processes inherit an ignored
    signal.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Return the scheduler that distributes tests among the workers of pytest-xdist."""
    from tests.support.scheduling import Scheduler

    return Scheduler(config, log)


def pytest_report_header() -> str:
    """Return a line with the seed of the short soak test. The seed changes every day."""
    return f"soak seed of the day: {seed_of_the_day()}, repeat with: {repeat_command()}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests in trio, with a clock that jumps ahead whenever all tasks wait.

    A test marked `real_time` uses the real clock, because it waits for another thread or process.
    """
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    clock = (
        None
        if pyfuncitem.get_closest_marker("real_time")
        else trio.testing.MockClock(autojump_threshold=0)
    )
    trio.run(functools.partial(pyfuncitem.obj, **arguments), clock=clock)
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that mounts if FUSE cannot be used, unless GCSMUX_REQUIRE_FUSE is set.

    The hook opens /dev/fuse, because in a container the file may exist although its use is
    forbidden.
    """
    if item.get_closest_marker("mount") is None or os.environ.get("GCSMUX_REQUIRE_FUSE"):
        return
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"/dev/fuse cannot be used: {error.strerror}")


@pytest.fixture(autouse=True)
def no_unexpected_warning(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail a test that logs an unexpected record of level WARNING or above.

    `@pytest.mark.expects_log("part of the message")` marks a test that expects such a record.
    """
    yield
    marker = request.node.get_closest_marker("expects_log")
    expected = (_GRPC_NOISE, *(marker.args if marker else ()))
    unexpected = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING
        and not any(part in record.getMessage() for part in expected)
    ]
    assert unexpected == []
