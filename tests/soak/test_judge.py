"""Tests of Timeline: which errors a program may see during a trouble, and which it may not see."""

from __future__ import annotations

import pytest

from .catalogue import Trouble
from .judge import SIGBUS, Failure, Timeline
from .schedule import Phase

READ_TIMEOUT = 10.0
STAYING = "stable/large-0"
CHANGING = "changing/0"
GROWING = "growing/0"


@pytest.fixture
def timeline() -> Timeline:
    """Return a timeline with a trouble from time 100 to 103 that allows EACCES.

    A second trouble, from 110 to 113, allows no error. The growing object was started at time 50.
    """
    found = Timeline(READ_TIMEOUT)
    found.growth.begin(GROWING, 1, 100, 50.0)
    found.growth.begin(GROWING, 1, 200, 90.0)
    for begin, excuses in [(100.0, frozenset({"EACCES"})), (110.0, frozenset[str]())]:
        found.begin_phase(Phase(0, 0, (Trouble("trouble", excuses=excuses),), 0), begin)
        found.end_phase(begin + 3)
    return found


def failure(errno: str, started_at: float, seconds: float, name: str = STAYING) -> Failure:
    return Failure("read", name, errno, started_at, started_at + seconds, since=started_at - 10)


@pytest.mark.parametrize(
    ("seen", "excuse"),
    [
        (failure("EACCES", 101, 0.1), "ordered"),
        (failure("EACCES", 98, 2.5), "ordered"),
        (failure("EACCES", 104, 0.1), "ordered"),
        (failure(SIGBUS, 101, 0.1), "ordered"),
        (failure("ESTALE", 111, 0.1, CHANGING), "overwritten"),
        (failure(SIGBUS, 111, 0.1, CHANGING), "overwritten"),
        (failure("ESTALE", 55, 0.1, GROWING), "overwritten"),
        (failure(SIGBUS, 55, 0.1, GROWING), "overwritten"),
        (failure("ETIMEDOUT", 111, READ_TIMEOUT), "lasted"),
        (failure("EIO", 111, READ_TIMEOUT), "lasted"),
        (failure("EACCES", 90, 0.1), None),
        (failure("EACCES", 111, 0.1), None),
        (failure("EIO", 101, 0.1), None),
        (failure("EIO", 111, 3.0), None),
        (failure(SIGBUS, 111, 0.1), None),
        (failure("ESTALE", 111, 0.1), None),
        (failure("ENOENT", 111, 0.1, CHANGING), None),
        (failure("ESTALE", 95, 0.1, GROWING), None),
        (failure(SIGBUS, 95, 0.1, GROWING), None),
        (failure("ENOTCONN", 111, READ_TIMEOUT), None),
    ],
)
def test_troubles_in_force_excuse_errors(timeline: Timeline, seen: Failure, excuse: str) -> None:
    assert timeline.excuse(seen) == excuse


def test_a_trouble_without_an_end_excuses_errors(timeline: Timeline) -> None:
    timeline.begin_phase(Phase(0, 0, (Trouble("now", excuses=frozenset({"EIO"})),), 0), 120)
    assert timeline.excuse(failure("EIO", 1000, 0.1)) == "ordered"
