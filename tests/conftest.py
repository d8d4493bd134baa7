"""What all tests share: trio tests run in virtual time, log records are checked."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Let SIGINT interrupt what tests start: a shell ignores it for what runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests in trio; the clock jumps ahead whenever every task waits.

    A test marked `real_time` keeps the real clock: it talks to another thread or process.
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
    """Skip real mounts where there is no FUSE, unless GCSMUX_REQUIRE_FUSE says that it has to be.

    Opening the device tells more than finding it: a container may show it and forbid it.
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
    """Fail a test that logs WARNING or worse from this project without saying so.

    A test that expects such a line is marked `@pytest.mark.expects_log("part of the message")`.
    """
    yield
    marker = request.node.get_closest_marker("expects_log")
    expected: tuple[str, ...] = marker.args if marker else ()
    unexpected = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING
        and not any(part in record.getMessage() for part in expected)
    ]
    assert unexpected == []
