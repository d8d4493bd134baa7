from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.model.errors import StatusCode, Unavailable
from gcsmux_fs.model.state_table import follow
from gcsmux_fs.mux import stream_states
from gcsmux_fs.mux.stream_states import TRANSITIONS, StreamEvent, StreamState

from .driven_core import DrivenCore, chunk, end, failure, info

if TYPE_CHECKING:
    from collections.abc import Callable

# Pattern of a line of the list in the docstring of `stream_states`, for example "CLOSED
# --REQUESTED--> OPENING".
ARROW = re.compile(r"^ +([A-Z, ]+?) +--([A-Z_, ]+)--> ([A-Z]+)$", re.MULTILINE)


def documented() -> dict[tuple[StreamState, StreamEvent], StreamState]:
    assert stream_states.__doc__ is not None
    return {
        (StreamState[before], StreamEvent[event]): StreamState[after]
        for befores, events, after in ARROW.findall(stream_states.__doc__)
        for before in befores.split(", ")
        for event in events.split(", ")
    }


def test_the_docstring_lists_every_transition_and_no_other() -> None:
    assert documented() == TRANSITIONS


def reachable_from(start: StreamState) -> set[StreamState]:
    reached: set[StreamState] = set()
    added = {start}
    while added:
        reached |= added
        added = {after for (before, _), after in TRANSITIONS.items() if before in added} - reached
    return reached


@pytest.mark.parametrize("start", StreamState)
def test_every_state_is_reachable_from_every_state(start: StreamState) -> None:
    assert reachable_from(start) == set(StreamState)


@pytest.mark.parametrize("state", StreamState)
@pytest.mark.parametrize("event", StreamEvent)
def test_an_event_without_a_transition_is_an_error(state: StreamState, event: StreamEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert follow(TRANSITIONS, state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(AssertionError, match=f"{event.name} must not occur in state {state.name}"):
        follow(TRANSITIONS, state, event)


def opening(driven: DrivenCore) -> None:
    driven.request(0, 10)


def open_(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.message()


def backoff(driven: DrivenCore) -> None:
    driven.request(0, 10)
    lose(driven)
    lose(driven)


def idle(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.confirm()
    driven.message(chunk(driven.sent[-1][0]))


def lose(driven: DrivenCore) -> None:
    driven.end(end(StatusCode.UNAVAILABLE))


def lose_twice(driven: DrivenCore) -> None:
    lose(driven)
    lose(driven)


def refuse(driven: DrivenCore) -> None:
    driven.end(end(StatusCode.PERMISSION_DENIED))


def refuse_range(driven: DrivenCore) -> None:
    refused = failure(driven.sent[-1][0], StatusCode.OUT_OF_RANGE)
    driven.end(end(StatusCode.OUT_OF_RANGE, refused))


def cancel_all(driven: DrivenCore) -> None:
    for pending in driven.requested:
        driven.cancel(pending)


def close(driven: DrivenCore) -> None:
    driven.close(Unavailable("closing"))


def half_closed(driven: DrivenCore) -> None:
    driven.request(0, 10, covers_object=True)


def half_closed_open(driven: DrivenCore) -> None:
    half_closed(driven)
    driven.message()


def pause(driven: DrivenCore) -> None:
    driven.end(replace(end(StatusCode.UNAVAILABLE), retry_seconds=1.0))


def serve_another_generation(driven: DrivenCore) -> None:
    driven.message(metadata=info(8))


def request_more(driven: DrivenCore) -> None:
    driven.confirm()
    driven.request(10, 10)


def let_time_pass(driven: DrivenCore) -> None:
    assert driven.core.deadline < math.inf
    driven.advance(driven.core.deadline - driven.now)


# For each state and event: a function that brings a core into the state, and a function that causes
# the event.
WAYS: dict[
    tuple[StreamState, StreamEvent],
    tuple[Callable[[DrivenCore], object], Callable[[DrivenCore], object]],
] = {
    (StreamState.CLOSED, StreamEvent.REQUESTED): (lambda _: None, opening),
    (StreamState.OPENING, StreamEvent.ANSWERED): (opening, DrivenCore.message),
    (StreamState.OPENING, StreamEvent.REPLACED): (half_closed, request_more),
    (StreamState.OPENING, StreamEvent.RETRIED): (opening, lose),
    (StreamState.OPENING, StreamEvent.DELAYED): (opening, lose_twice),
    (StreamState.OPENING, StreamEvent.GIVEN_UP): (opening, refuse),
    (StreamState.OPENING, StreamEvent.ENDED_IDLE): (opening, refuse_range),
    (StreamState.OPENING, StreamEvent.READERS_LEFT): (opening, cancel_all),
    (StreamState.OPENING, StreamEvent.SHUTDOWN): (opening, close),
    (StreamState.OPEN, StreamEvent.REPLACED): (half_closed_open, request_more),
    (StreamState.OPEN, StreamEvent.RETRIED): (open_, lose),
    (StreamState.OPEN, StreamEvent.DELAYED): (open_, pause),
    (StreamState.OPEN, StreamEvent.GIVEN_UP): (open_, refuse),
    (StreamState.OPEN, StreamEvent.ENDED_IDLE): (idle, lose),
    (StreamState.OPEN, StreamEvent.IDLE_TIMEOUT): (idle, let_time_pass),
    (StreamState.OPEN, StreamEvent.WRONG_GENERATION): (open_, serve_another_generation),
    (StreamState.OPEN, StreamEvent.READERS_LEFT): (open_, cancel_all),
    (StreamState.OPEN, StreamEvent.SHUTDOWN): (open_, close),
    (StreamState.BACKOFF, StreamEvent.BACKOFF_OVER): (backoff, let_time_pass),
    (StreamState.BACKOFF, StreamEvent.READERS_LEFT): (backoff, cancel_all),
    (StreamState.BACKOFF, StreamEvent.SHUTDOWN): (backoff, close),
}


def test_there_is_a_way_to_take_every_transition() -> None:
    assert WAYS.keys() == TRANSITIONS.keys()


@pytest.mark.parametrize(("state", "event"), WAYS)
def test_the_core_takes_every_transition(state: StreamState, event: StreamEvent) -> None:
    enter, leave = WAYS[state, event]
    driven = DrivenCore()
    enter(driven)
    assert driven.core.state is state
    leave(driven)
    assert driven.transitions[-1] == (state, event)
    assert driven.core.state is TRANSITIONS[state, event]
