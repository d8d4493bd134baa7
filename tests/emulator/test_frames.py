from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.proxy.frames import FrameScanner, goaway, rst_stream

DATA, HEADERS, CONTINUATION = 0, 1, 9
END_HEADERS = 4


def frame(kind: int, flags: int, stream: int, size: int) -> bytes:
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + bytes(size)


frames = st.lists(
    st.tuples(
        st.sampled_from([DATA, HEADERS, CONTINUATION, 4]),
        st.sampled_from([0, END_HEADERS]),
        st.integers(1, 99),
        st.integers(0, 40),
    ),
    max_size=8,
)


@given(frames, st.integers(0, 30), st.lists(st.integers(1, 20), max_size=20))
def test_frame_boundaries_do_not_depend_on_how_the_bytes_are_split(
    generated: list[tuple[int, int, int, int]], preface: int, cuts: list[int]
) -> None:
    stream = bytes(preface)
    boundaries = {0} if preface == 0 else set()
    if preface:
        boundaries.add(preface)
    last_data = 0
    for kind, flags, number, size in generated:
        stream += frame(kind, flags, number, size)
        if kind == DATA:
            last_data = number
            # A DATA frame inside a header block does not end this block.
            in_header_block = len(stream) - 9 - size not in boundaries
        else:
            in_header_block = kind in (HEADERS, CONTINUATION) and not flags & END_HEADERS
            if kind not in (HEADERS, CONTINUATION):
                in_header_block = len(stream) - 9 - size not in boundaries
        if not in_header_block:
            boundaries.add(len(stream))
    scanner = FrameScanner(preface)
    position = 0
    for size in [*cuts, len(stream)]:
        part = stream[position : position + size]
        inside = [
            boundary
            for boundary in sorted(boundaries)
            if position < boundary <= position + len(part)
        ]
        first = scanner.feed(part)
        assert first == (inside[0] - position if inside else None)
        position += len(part)
        assert scanner.at_boundary == (position in boundaries)
    assert scanner.data_stream == last_data


def test_injected_frames_have_the_layout_of_rfc_9113() -> None:
    assert (
        goaway(2**31 - 1, 11, b"why")
        == bytes.fromhex("00000b 07 00 00000000 7fffffff 0000000b") + b"why"
    )
    assert rst_stream(5, 8) == bytes.fromhex("000004 03 00 00000005 00000008")
