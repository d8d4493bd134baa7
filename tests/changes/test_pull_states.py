from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.changes import pull_states
from gcsmux_fs.changes.pull_states import TRANSITIONS, PullEvent, PullState
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.state_table import follow

from .driven_pull import DrivenPull

if TYPE_CHECKING:
    from collections.abc import Callable

# Pattern of a line of the list in the docstring of `pull_states`.
ARROW = re.compile(r"^ +([A-Z, ]+?) +--([A-Z_, ]+)--> ([A-Z]+)$", re.MULTILINE)


def documented() -> dict[tuple[PullState, PullEvent], PullState]:
    assert pull_states.__doc__ is not None
    return {
        (PullState[before], PullEvent[event]): PullState[after]
        for befores, events, after in ARROW.findall(pull_states.__doc__)
        for before in befores.split(", ")
        for event in events.split(", ")
    }


def test_the_docstring_lists_every_transition_and_no_other() -> None:
    assert documented() == TRANSITIONS


@pytest.mark.parametrize("state", PullState)
@pytest.mark.parametrize("event", PullEvent)
def test_an_event_without_a_transition_is_an_error(state: PullState, event: PullEvent) -> None:
    if (state, event) in TRANSITIONS:
        return
    with pytest.raises(AssertionError, match=f"{event.name} must not occur in state {state.name}"):
        follow(TRANSITIONS, state, event)


def lose(driven: DrivenPull) -> None:
    driven.end(StatusCode.UNAVAILABLE)


def lose_twice(driven: DrivenPull) -> None:
    lose(driven)
    lose(driven)


def refuse(driven: DrivenPull) -> None:
    driven.end(StatusCode.NOT_FOUND)


def pause(driven: DrivenPull) -> None:
    driven.end(StatusCode.RESOURCE_EXHAUSTED, retry_seconds=3.0)


def backoff(driven: DrivenPull) -> None:
    driven.start()
    lose_twice(driven)


def let_time_pass(driven: DrivenPull) -> None:
    assert driven.core.deadline < math.inf
    driven.advance(driven.core.deadline - driven.now)


# For each state and event: a function that brings a core into the state, and a function that causes
# the event.
WAYS: dict[
    tuple[PullState, PullEvent],
    tuple[Callable[[DrivenPull], object], Callable[[DrivenPull], object]],
] = {
    (PullState.CLOSED, PullEvent.STARTED): (lambda _: None, DrivenPull.start),
    (PullState.OPENING, PullEvent.ANSWERED): (DrivenPull.start, DrivenPull.answer),
    (PullState.OPENING, PullEvent.RETRIED): (DrivenPull.start, lose),
    (PullState.OPENING, PullEvent.DELAYED): (DrivenPull.start, pause),
    (PullState.OPENING, PullEvent.REFUSED): (DrivenPull.start, refuse),
    (PullState.OPENING, PullEvent.SHUTDOWN): (DrivenPull.start, DrivenPull.close),
    (PullState.OPEN, PullEvent.RETRIED): (DrivenPull.open, lose),
    (PullState.OPEN, PullEvent.DELAYED): (DrivenPull.open, pause),
    (PullState.OPEN, PullEvent.REFUSED): (DrivenPull.open, refuse),
    (PullState.OPEN, PullEvent.SHUTDOWN): (DrivenPull.open, DrivenPull.close),
    (PullState.BACKOFF, PullEvent.BACKOFF_OVER): (backoff, let_time_pass),
    (PullState.BACKOFF, PullEvent.SHUTDOWN): (backoff, DrivenPull.close),
}


def test_there_is_a_way_to_take_every_transition() -> None:
    assert WAYS.keys() == TRANSITIONS.keys()


@pytest.mark.parametrize(("state", "event"), WAYS)
def test_the_core_takes_every_transition(state: PullState, event: PullEvent) -> None:
    enter, leave = WAYS[state, event]
    driven = DrivenPull()
    enter(driven)
    assert driven.core.state is state
    leave(driven)
    assert driven.transitions[-1] == (state, event)
    assert driven.core.state is TRANSITIONS[state, event]


def closed(_driven: DrivenPull) -> None:
    pass


def late_answer(driven: DrivenPull, stream: int) -> None:
    driven.answer("late", stream=stream)


def late_end(driven: DrivenPull, stream: int) -> None:
    driven.end(StatusCode.UNAVAILABLE, stream=stream)


def late_sent(driven: DrivenPull, stream: int) -> None:
    driven.confirm(stream=stream)


STATES = {
    PullState.CLOSED: closed,
    PullState.OPENING: DrivenPull.start,
    PullState.OPEN: DrivenPull.open,
    PullState.BACKOFF: backoff,
}


@pytest.mark.parametrize("state", PullState)
@pytest.mark.parametrize("late", [late_answer, late_end, late_sent])
def test_an_event_of_another_stream_changes_nothing(
    state: PullState, late: Callable[[DrivenPull, int], None]
) -> None:
    driven = DrivenPull()
    driven.confirms = False
    STATES[state](driven)
    before = driven.core.deadline, len(driven.orders), len(driven.transitions)
    late(driven, driven.core.stream + 7)
    assert driven.core.state is state
    assert (driven.core.deadline, len(driven.orders), len(driven.transitions)) == before
    assert driven.core.queued == 0
    assert driven.counters.changes_stale_events == 1


@pytest.mark.parametrize("late", [late_answer, late_end, late_sent])
def test_an_event_of_the_stream_before_changes_nothing(
    late: Callable[[DrivenPull, int], None],
) -> None:
    driven = DrivenPull()
    driven.open()
    driven.confirms = False
    lose(driven)
    assert driven.core.stream == 2
    late(driven, 1)
    assert driven.core.state is PullState.OPENING
    assert driven.core.queued == 0
    assert driven.keep_alives == 1
    assert driven.counters.changes_stale_events == 1


@pytest.mark.parametrize("state", [PullState.CLOSED, PullState.BACKOFF])
def test_an_event_of_the_last_stream_changes_nothing_after_its_end(state: PullState) -> None:
    driven = DrivenPull()
    driven.open()
    if state is PullState.CLOSED:
        driven.close()
    else:
        lose_twice(driven)
    number = driven.core.stream
    driven.answer("late", stream=number)
    driven.end(StatusCode.NOT_FOUND, stream=number)
    driven.confirm(stream=number)
    assert driven.core.state is state
    assert driven.core.queued == 0
    assert driven.counters.changes_stale_events == 3


@pytest.mark.parametrize("state", PullState)
def test_a_timer_before_the_deadline_changes_nothing(state: PullState) -> None:
    driven = DrivenPull()
    STATES[state](driven)
    driven.core.on_timer(driven.now)
    assert driven.core.take_actions() == []
    assert driven.core.state is state


def test_closing_twice() -> None:
    driven = DrivenPull()
    driven.open()
    driven.close()
    driven.close()
    assert driven.stopped == 1
    assert driven.core.deadline == math.inf
