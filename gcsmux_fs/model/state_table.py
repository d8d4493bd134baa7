"""Follows a table of state transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import enum
    from collections.abc import Mapping

__all__ = ["follow"]

State = TypeVar("State", bound="enum.Enum")
Event = TypeVar("Event", bound="enum.Enum")


def follow(transitions: Mapping[tuple[State, Event], State], state: State, event: Event) -> State:
    """Return the state that follows `state` after `event`.

    Raises:
        AssertionError: `event` must not occur in `state`.
    """
    following = transitions.get((state, event))
    assert following is not None, f"{event.name} must not occur in state {state.name}"
    return following
