"""Tests of Growth: a reader may see the current state of an object, but no older or newer state."""

from __future__ import annotations

import pytest

from .growth import LATE_SECONDS, TTL_SECONDS, Growth, Seen, WrongState

NAME = "growing/0"


@pytest.fixture
def growth() -> Growth:
    """Return the states of one object: version 1 has 10 bytes at time 100, 20 bytes at time 110.

    Version 2 has 10 bytes at time 120. The sizes 0 and 30 of version 2 are never confirmed.
    """
    found = Growth()
    for version, size, started_at, confirmed_at in [
        (1, 10, 99.9, 100.0),
        (1, 20, 109.9, 110.0),
        (2, 0, 119.8, None),
        (2, 10, 119.9, 120.0),
        (2, 30, 130.0, None),
    ]:
        state = found.begin(NAME, version, size, started_at)
        if confirmed_at is not None:
            state.confirmed_at = confirmed_at
    return found


def seen(version: int | None, size: int, requested_at: float, seconds: float = 0.01) -> Seen:
    return Seen(NAME, version, size, requested_at, requested_at + seconds)


@pytest.mark.parametrize(
    ("what", "staleness"),
    [
        (seen(1, 10, 105), 0.0),
        (seen(1, 10, 110.5), 0.5),
        (seen(1, 20, 110.5), 0.0),
        # The appender creates the state after the request and before the answer.
        (seen(1, 20, 109, 1.0), 0.0),
        (seen(2, 0, 119.85), 0.0),
        (seen(1, 20, 121), 1.0),
        # The version is unknown, and version 2 had 10 bytes at this time.
        (seen(None, 10, 121), 0.0),
        # The append to 30 bytes was not confirmed, so 30 bytes and 10 bytes are both right.
        (seen(2, 30, 1000), 0.0),
        (seen(2, 10, 1000), 0.0),
    ],
)
def test_valid_states_are_accepted(growth: Growth, what: Seen, staleness: float) -> None:
    assert growth.check(what) == pytest.approx(staleness)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(seen(1, 15, 105), id="a size that never existed"),
        pytest.param(seen(1, 30, 131), id="a size of another version"),
        pytest.param(seen(3, 10, 131), id="a version that never existed"),
        pytest.param(seen(1, 20, 105), id="not yet"),
        pytest.param(seen(1, 10, 110.1 + TTL_SECONDS + LATE_SECONDS), id="outdated"),
        pytest.param(
            seen(None, 20, 120.1 + TTL_SECONDS + LATE_SECONDS), id="outdated, any version"
        ),
        pytest.param(Seen("growing/1", 1, 10, 105, 106), id="a name that never existed"),
    ],
)
def test_invalid_states_are_detected(growth: Growth, what: Seen) -> None:
    with pytest.raises(WrongState, match=what.name):
        growth.check(what)


def test_a_file_may_be_deleted_once_its_name_is_started_again(growth: Growth) -> None:
    assert growth.overwritten(NAME, 115, 119.9)
    assert growth.overwritten(NAME, 119.8 + TTL_SECONDS, 200)
    assert not growth.overwritten(NAME, 108, 119)
    assert not growth.overwritten(NAME, 119.9 + TTL_SECONDS + LATE_SECONDS, 200)
    assert not growth.overwritten("growing/1", 0, 200)
