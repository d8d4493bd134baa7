"""Tests that run each fuzz target briefly with hypothesis.

`make fuzz` runs the same targets for longer, guided by code coverage.
"""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.codec import (
    MalformedMessage,
    decode_bidi_response,
    decode_read_response,
)
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.status_details import decode_stream_end

from .targets import TARGETS, seeds

if TYPE_CHECKING:
    from collections.abc import Callable

# The false lengths that fields of the tested messages claim.
_CLAIMS = (2**31 - 1, 2**32 - 1, 2**63 - 1)
# Maximum memory that decoding a message with a false length may allocate.
_MAX_BYTES = 1024 * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_fails_for_no_input(name: str) -> None:
    target, start = TARGETS[name], seeds(name)
    for seed in start:
        target(seed)

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.binary(max_size=300), _changed(start)))
    def run(data: bytes) -> None:
        target(data)

    run()


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return one of the seeds with a few bytes changed, removed or inserted."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def _list_objects(data: bytes) -> None:
    pb.ListObjectsResponse.FromString(data)


def _status(data: bytes) -> None:
    decode_stream_end(StatusCode.ABORTED, "", data)


@pytest.mark.parametrize("claimed", _CLAIMS)
@pytest.mark.parametrize(
    "decode", [decode_bidi_response, decode_read_response, _list_objects, _status]
)
def test_a_message_with_a_false_length_allocates_no_memory_for_it(
    decode: Callable[[bytes], object], claimed: int
) -> None:
    tracemalloc.start()
    try:
        for number in range(1, 16):
            for depth in range(3):
                data = bytes([number << 3 | 2]) + _varint(claimed)
                for _ in range(depth):
                    data = bytes([number << 3 | 2]) + _varint(len(data)) + data
                with suppress(MalformedMessage, DecodeError):
                    decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _MAX_BYTES


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
