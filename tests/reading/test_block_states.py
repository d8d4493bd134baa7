"""Tests of the table of block states: a block makes every transition in the table, and no other."""

from __future__ import annotations

import itertools

import pytest

from gcsmux_fs.reading.block_index import Block, BlockIndex
from gcsmux_fs.reading.block_states import TRANSITIONS, BlockEvent, BlockState
from tests.support.sizes import KIB

from .fakes import (
    key_of,
)

ALL_PAIRS = list(itertools.product(BlockState, BlockEvent))
FIRST_STATES = {BlockState.LOADING, BlockState.PREFETCHING}


def block_of(state: BlockState) -> Block:
    block = BlockIndex(key_of("object")).add(0, 16 * KIB, prefetch=False)
    block.state = state
    return block


@pytest.mark.parametrize(("state", "event"), list(TRANSITIONS))
def test_a_block_takes_each_transition_of_the_table(state: BlockState, event: BlockEvent) -> None:
    block = block_of(state)
    block.apply(event)
    assert block.state is TRANSITIONS[state, event]


@pytest.mark.parametrize(
    ("state", "event"), [pair for pair in ALL_PAIRS if pair not in TRANSITIONS]
)
def test_a_block_refuses_an_event_that_is_not_in_the_table(
    state: BlockState, event: BlockEvent
) -> None:
    block = block_of(state)
    with pytest.raises(AssertionError, match=f"{event.name} cannot happen to <Block"):
        block.apply(event)
    assert block.state is state


def test_a_block_begins_loading_for_a_read_or_for_readahead() -> None:
    index = BlockIndex(key_of("object"))
    assert index.add(0, 1, prefetch=False).state is BlockState.LOADING
    assert index.add(1, 2, prefetch=True).state is BlockState.PREFETCHING


def test_every_state_is_reachable_and_leads_to_the_end() -> None:
    reached, pending = set(FIRST_STATES), list(FIRST_STATES)
    while pending:
        state = pending.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is state and after not in reached:
                reached.add(after)
                pending.append(after)
    assert reached == set(BlockState)
    for state in set(BlockState) - {BlockState.GONE}:
        assert TRANSITIONS[state, BlockEvent.REMOVE] is BlockState.GONE


def test_only_readahead_protects_and_protection_never_returns() -> None:
    for (before, event), after in TRANSITIONS.items():
        if after.is_protected:
            assert before.is_protected, (before, event)
        if event is BlockEvent.RELEASE:
            assert not after.is_protected, before
        if event is BlockEvent.READ_END:
            assert after is BlockState.READ


def test_protection_outlasts_all_events_but_the_last_byte_the_release_and_the_end() -> None:
    ends = {BlockEvent.READ_END, BlockEvent.RELEASE, BlockEvent.REMOVE}
    for (before, event), after in TRANSITIONS.items():
        if before.is_protected:
            assert after.is_protected == (event not in ends), (before, event)
