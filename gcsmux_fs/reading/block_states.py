"""The states of a block, the events that change the state, and the table of all transitions.

A block is loading, then ready, then gone. Readahead *protects* the blocks that it requests: the
cache evicts a protected block only when no other block is left. Protection ends when a READ takes
the last byte of the block, or when readahead *releases* the block because its reader has passed it
or has stopped.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["TRANSITIONS", "BlockEvent", "BlockState"]


class BlockState(enum.Enum):
    """The state of a block. Each text is unique, because an enum merges members of equal value."""

    # The three values of each state: (text, is_prefetching, is_protected)
    LOADING = "loading for a READ", False, False
    PREFETCHING = "loading for readahead only", True, True
    PREFETCHING_RELEASED = "loading for readahead only, released", True, False
    JOINED = "loading for readahead, a READ has joined", False, True
    JOINED_RELEASED = "loading for readahead, a READ has joined, released", False, False
    UNREAD = "ready, no READ has taken a byte", False, True
    UNREAD_RELEASED = "ready, no READ has taken a byte, released", False, False
    PARTLY_READ = "ready, a READ has taken a part, but not the last byte", False, True
    READ = "ready, loaded for a READ or read", False, False
    GONE = "cancelled, failed or evicted", False, False

    def __init__(self, text: str, is_prefetching: bool, is_protected: bool) -> None:
        self.text = text
        #: True if the block is loading and no READ has ever waited for the block.
        self.is_prefetching = is_prefetching
        self.is_protected = is_protected

    # Hash by identity, because the hash of `enum.Enum` is computed in Python and takes 0.2 us.
    __hash__ = object.__hash__


class BlockEvent(enum.Enum):
    """An event that changes the state of a block."""

    #: A READ begins to wait for a block that readahead has requested.
    JOIN = enum.auto()
    #: Readahead no longer expects a READ of the block.
    RELEASE = enum.auto()
    #: The content of the block has arrived.
    ARRIVE = enum.auto()
    #: A READ takes bytes of the block, but not its last byte.
    READ_PART = enum.auto()
    #: A READ takes the last byte of the block.
    READ_END = enum.auto()
    #: The block leaves the index: it was cancelled or evicted, or its request has failed.
    REMOVE = enum.auto()

    __hash__ = object.__hash__


_S, _E = BlockState, BlockEvent

TRANSITIONS: Final[dict[tuple[BlockState, BlockEvent], BlockState]] = {
    (_S.LOADING, _E.ARRIVE): _S.READ,
    (_S.LOADING, _E.REMOVE): _S.GONE,
    (_S.PREFETCHING, _E.JOIN): _S.JOINED,
    (_S.PREFETCHING, _E.RELEASE): _S.PREFETCHING_RELEASED,
    (_S.PREFETCHING, _E.ARRIVE): _S.UNREAD,
    (_S.PREFETCHING, _E.REMOVE): _S.GONE,
    (_S.PREFETCHING_RELEASED, _E.JOIN): _S.JOINED_RELEASED,
    (_S.PREFETCHING_RELEASED, _E.ARRIVE): _S.UNREAD_RELEASED,
    (_S.PREFETCHING_RELEASED, _E.REMOVE): _S.GONE,
    (_S.JOINED, _E.RELEASE): _S.JOINED_RELEASED,
    (_S.JOINED, _E.ARRIVE): _S.UNREAD,
    (_S.JOINED, _E.REMOVE): _S.GONE,
    (_S.JOINED_RELEASED, _E.ARRIVE): _S.UNREAD_RELEASED,
    (_S.JOINED_RELEASED, _E.REMOVE): _S.GONE,
    (_S.UNREAD, _E.RELEASE): _S.UNREAD_RELEASED,
    (_S.UNREAD, _E.READ_PART): _S.PARTLY_READ,
    (_S.UNREAD, _E.READ_END): _S.READ,
    (_S.UNREAD, _E.REMOVE): _S.GONE,
    (_S.UNREAD_RELEASED, _E.READ_PART): _S.READ,
    (_S.UNREAD_RELEASED, _E.READ_END): _S.READ,
    (_S.UNREAD_RELEASED, _E.REMOVE): _S.GONE,
    (_S.PARTLY_READ, _E.RELEASE): _S.READ,
    (_S.PARTLY_READ, _E.READ_PART): _S.PARTLY_READ,
    (_S.PARTLY_READ, _E.READ_END): _S.READ,
    (_S.PARTLY_READ, _E.REMOVE): _S.GONE,
    (_S.READ, _E.REMOVE): _S.GONE,
}
"""The next state for each state and event. If a pair is missing, the event cannot happen in this
state of a block."""
