"""Tests of the fallback without I/O: availability, the answer to a range, the order of ranges."""

from __future__ import annotations

import itertools
import math
import sys
from typing import TYPE_CHECKING

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.availability import RETRY_SECONDS, STREAM_SILENCE_SECONDS, BidiAvailability
from gcsmux_fs.storage.codec import encode_read_request
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import (
    BidiMessage,
    Chunk,
    RangeFailure,
    RangeRequest,
    StreamEnd,
    StreamRedirect,
)
from gcsmux_fs.storage.range_answer import RangeAnswer
from gcsmux_fs.storage.unary_stream import MAX_READS, RangeQueue, UnaryStream, end_by_range
from tests.mux.plans import CONTENT, key_of

from .range_plans import Answer, answers

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.read_object import RangeListener

UNIMPLEMENTED = StreamEnd(StatusCode.UNIMPLEMENTED, "Method not found!")


def http(status: int, code: StatusCode = StatusCode.UNKNOWN) -> StreamEnd:
    return StreamEnd(code, f"Received http2 header with status: {status}")


# -- availability of BidiReadObject


@pytest.mark.parametrize(
    "end",
    [
        UNIMPLEMENTED,
        http(404, StatusCode.UNIMPLEMENTED),
        *(http(status) for status in (405, 408, 411, 415, 501, 505)),
    ],
    ids=lambda end: end.message,
)
def test_an_end_that_refuses_the_method_is_a_loss(end: StreamEnd) -> None:
    availability = BidiAvailability()
    assert availability.note_end(end, 0.0, 0.0)
    assert availability.missing
    assert end.message in availability.reason


@pytest.mark.parametrize(
    "end",
    [
        *(StreamEnd(code, "no") for code in StatusCode if code is not StatusCode.UNIMPLEMENTED),
        *(http(status) for status in (500, 413, 417, 431)),
        *(http(status, StatusCode.UNAVAILABLE) for status in (429, 502, 503, 504)),
        http(400, StatusCode.INTERNAL),
        http(401, StatusCode.UNAUTHENTICATED),
        http(403, StatusCode.PERMISSION_DENIED),
        StreamEnd(StatusCode.UNAVAILABLE, "failed to connect; last error: UNIMPLEMENTED: HTTP/1"),
        StreamEnd(StatusCode.UNKNOWN, "the object is called: status: 501"),
        StreamEnd(StatusCode.UNIMPLEMENTED, "moved", redirect=StreamRedirect("east", b"")),
    ],
    ids=lambda end: f"{end.code.name} {end.message}",
)
def test_any_other_end_is_no_loss(end: StreamEnd) -> None:
    availability = BidiAvailability()
    assert not availability.note_end(end, STREAM_SILENCE_SECONDS - 1, 0.0)
    assert not availability.missing


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        (StatusCode.UNKNOWN, True),
        (StatusCode.UNAVAILABLE, True),
        (StatusCode.DEADLINE_EXCEEDED, True),
        (StatusCode.NOT_FOUND, False),
        (StatusCode.PERMISSION_DENIED, False),
        (StatusCode.ABORTED, False),
    ],
)
def test_a_long_silence_is_a_loss_unless_the_status_explains_it(
    code: StatusCode, lost: bool
) -> None:
    availability = BidiAvailability()
    assert availability.note_end(StreamEnd(code), STREAM_SILENCE_SECONDS, 100.0) == lost
    assert availability.missing == lost


def test_cancelling_a_silent_stream_is_a_loss_only_after_the_limit() -> None:
    availability = BidiAvailability()
    availability.note_cancel(STREAM_SILENCE_SECONDS - 0.1, 0.0)
    assert not availability.missing
    availability.note_cancel(STREAM_SILENCE_SECONDS, 0.0)
    assert availability.missing


def test_a_probe_is_due_once_in_each_interval() -> None:
    availability = BidiAvailability()
    assert not availability.probe_is_due(1e9)
    availability.note_end(UNIMPLEMENTED, 0.0, 50.0)
    times = [50.0, 50.0 + RETRY_SECONDS - 1, 50.0 + RETRY_SECONDS, 51.0 + RETRY_SECONDS]
    times += [50.0 + 2 * RETRY_SECONDS - 1, 50.0 + 2 * RETRY_SECONDS]
    due = [availability.probe_is_due(now) for now in times]
    assert due == [False, False, True, False, False, True]
    assert availability.probes == 2


def test_after_a_silence_a_probe_is_due_at_once() -> None:
    availability = BidiAvailability()
    availability.note_cancel(60.0, 50.0)
    assert availability.probe_is_due(50.0)
    assert not availability.probe_is_due(51.0)


def test_a_loss_reported_by_two_calls_counts_once() -> None:
    availability = BidiAvailability()
    assert availability.note_end(UNIMPLEMENTED, 0.0, 0.0)
    assert availability.note_end(UNIMPLEMENTED, 0.0, RETRY_SECONDS - 1)
    assert availability.losses == 1
    assert availability.probe_is_due(RETRY_SECONDS)  # the second report does not delay the probe


@pytest.mark.parametrize("by_redirect", [False, True])
def test_a_response_or_a_redirect_makes_streams_available(by_redirect: bool) -> None:
    availability = BidiAvailability()
    availability.note_end(UNIMPLEMENTED, 0.0, 0.0)
    if by_redirect:
        moved = StreamEnd(StatusCode.ABORTED, "moved", redirect=StreamRedirect("east", b""))
        assert not availability.note_end(moved, 0.0, 1.0)
    else:
        availability.note_response()
    assert not availability.missing
    assert not availability.probe_is_due(1e9)
    availability.note_end(UNIMPLEMENTED, 0.0, 0.0)
    assert availability.losses == 2


# -- the answer to one range


def wire_request(request: RangeRequest) -> pb.ReadObjectRequest:
    return pb.ReadObjectRequest.FromString(encode_read_request(key_of("object"), request))


def take_all(
    plan: Answer, request: RangeRequest
) -> tuple[list[tuple[int, bytes, bool, bool]], RangeAnswer]:
    """Return (offset, content, range_end, intact) of each chunk, and the RangeAnswer."""
    answer = RangeAnswer(request)
    messages = []
    for data in answers(plan, wire_request(request)):
        if answer.over:
            break
        messages.append(answer.take(data))
    if (rest := answer.close(plan.end)) is not None:
        messages.append(rest)
    chunks = [chunk for message in messages for chunk in message.chunks]
    assert {chunk.read_id for chunk in chunks} == {request.read_id}
    return [(c.offset, bytes(c.content), c.range_end, c.intact) for c in chunks], answer


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 300), st.booleans())
def test_the_chunks_of_a_range_are_contiguous_and_the_last_one_ends_it(
    offset: int, length: int, chunk_bytes: int, with_content_range: bool
) -> None:
    plan = Answer(chunk_bytes=chunk_bytes, with_content_range=with_content_range)
    chunks, answer = take_all(plan, RangeRequest(9, offset, length))
    assert b"".join(content for _, content, _, _ in chunks) == CONTENT[offset : offset + length]
    assert [chunk[0] for chunk in chunks] == list(range(offset, offset + length, chunk_bytes))
    assert [end for _, _, end, _ in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(intact for *_, intact in chunks)
    assert (answer.over, answer.corrupt) == (True, False)


def test_a_chunk_is_a_view_of_its_message() -> None:
    request = RangeRequest(1, 0, 5000)
    (data,) = answers(Answer(), wire_request(request))
    answer = RangeAnswer(request)
    assert answer.take(data).chunks == ()
    last = answer.close(StreamEnd(StatusCode.OK))
    assert last is not None
    (chunk,) = last.chunks
    assert chunk.content.obj is data
    assert chunk.message_bytes == len(data)


def test_a_corrupt_chunk_ends_its_range() -> None:
    chunks, answer = take_all(Answer(chunk_bytes=10, corrupt=1), RangeRequest(1, 0, 40))
    assert [(end, intact) for _, _, end, intact in chunks] == [(False, True), (True, False)]
    assert answer.corrupt


def test_a_truncated_answer_is_revoked() -> None:
    chunks, answer = take_all(Answer(chunk_bytes=10, cut_after=2), RangeRequest(1, 7, 40))
    assert chunks[-1] == (7, b"", True, False)
    assert (answer.corrupt, answer.short_bytes) == (True, 20)


def test_an_answer_without_an_announced_end_may_end_early() -> None:
    plan = Answer(chunk_bytes=10, cut_after=2, with_content_range=False)
    chunks, answer = take_all(plan, RangeRequest(1, 7, 40))
    assert chunks[-1] == (27, b"", True, True)
    assert not answer.over


def test_a_failed_call_delivers_its_chunks_and_no_end_of_the_range() -> None:
    plan = Answer(chunk_bytes=10, cut_after=2, end=StreamEnd(StatusCode.UNAVAILABLE, "cut"))
    chunks, _ = take_all(plan, RangeRequest(1, 7, 40))
    assert [chunk[0] for chunk in chunks] == [7, 17]


def response(content: bytes, *, span: tuple[int, int] | None = None, checksum: int = 0) -> bytes:
    """Return a ReadObjectResponse. `span`: content range; `checksum`: CRC32C of the object."""
    message = pb.ReadObjectResponse()
    message.checksummed_data.content = content
    message.checksummed_data.crc32c = crc32c(content)
    if span is not None:
        message.content_range.start, message.content_range.end = span
        message.metadata.size = span[1]
    if checksum:
        message.object_checksums.crc32c = checksum
    return message.SerializeToString()


def decoded_chunks(
    request: RangeRequest, *responses: bytes, end: StatusCode = StatusCode.OK
) -> list[tuple[int, bytes, bool, bool]]:
    """Return (offset, content, range_end, intact) of each chunk of an answer."""
    answer = RangeAnswer(request)
    messages = [answer.take(data) for data in responses if not answer.over]
    if (rest := answer.close(StreamEnd(end))) is not None:
        messages.append(rest)
    chunks = [chunk for message in messages for chunk in message.chunks]
    return [(c.offset, bytes(c.content), c.range_end, c.intact) for c in chunks]


def test_repeated_content_revokes_the_answer() -> None:
    parts = [response(CONTENT[7:17], span=(7, 27)), response(CONTENT[7:17])]
    chunks = decoded_chunks(RangeRequest(1, 7, 20), *parts, response(CONTENT[17:27]))
    assert chunks == [(7, CONTENT[7:17], False, True), (7, b"", True, False)]


def test_lost_content_revokes_the_answer() -> None:
    parts = [response(CONTENT[7:10], span=(7, 27)), response(CONTENT[12:27])]
    chunks = decoded_chunks(RangeRequest(1, 7, 20), *parts)
    assert [chunk[0] for chunk in chunks] == [7, 10, 7]
    assert chunks[-1] == (7, b"", True, False)


def test_reordered_content_of_a_whole_object_revokes_the_answer() -> None:
    checksum = crc32c(CONTENT[:20])
    parts = [response(CONTENT[10:20], span=(0, 20), checksum=checksum), response(CONTENT[:10])]
    assert decoded_chunks(RangeRequest(1, 0, 20), *parts)[-1] == (0, b"", True, False)
    parts = [response(CONTENT[:10], span=(0, 20), checksum=checksum), response(CONTENT[10:20])]
    assert decoded_chunks(RangeRequest(1, 0, 20), *parts)[-1] == (10, CONTENT[10:20], True, True)


@pytest.mark.parametrize("end", [StatusCode.OK, StatusCode.UNAVAILABLE])
def test_a_range_is_complete_only_when_its_call_has_ended(end: StatusCode) -> None:
    chunks = decoded_chunks(RangeRequest(1, 0, 10), response(CONTENT[:10], span=(0, 10)), end=end)
    assert chunks == [(0, CONTENT[:10], True, True)]


@pytest.mark.parametrize("surplus", [[], [response(CONTENT[:10])]])
def test_a_closed_answer_holds_no_content(surplus: list[bytes]) -> None:
    answer = RangeAnswer(RangeRequest(1, 0, 10))
    data = response(CONTENT[:10], span=(0, 10))
    held_before = sys.getrefcount(data)
    answer.take(data)
    for extra in surplus:
        answer.take(extra)
    assert sys.getrefcount(data) > held_before
    answer.close(StreamEnd(StatusCode.OK))
    assert sys.getrefcount(data) == held_before


def test_announced_bytes_beyond_the_range_are_not_awaited() -> None:
    answer = RangeAnswer(RangeRequest(1, 0, 10))
    (chunk,) = answer.take(response(CONTENT[:30], span=(0, 100))).chunks
    assert chunk.range_end
    assert answer.over


def test_an_answer_begins_at_the_offset_of_its_content_range() -> None:
    chunks, _ = take_all(Answer(chunk_bytes=30, ignores_range=True), RangeRequest(1, 50, 30))
    assert [chunk[0] for chunk in chunks] == [0, 30, 60]


# -- the order and the size of requests


class Recorder:
    """A fake of ReadObject calls that records the requested lengths and delivers nothing."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def start(self, _key: ObjectKey, request: RangeRequest, _listener: RangeListener) -> Recorder:
        self.lengths.append(request.length)
        return self

    def cancel(self) -> None: ...

    def on_sent(self) -> None: ...

    def on_message(self, message: BidiMessage) -> None: ...

    def on_end(self, end: StreamEnd) -> None: ...


def test_a_truncated_answer_limits_the_request_size_until_answers_are_complete() -> None:
    recorder = Recorder()
    max_bytes: dict[ObjectKey, float] = {}
    unary_stream = UnaryStream(
        key_of("object"),
        recorder,
        recorder,
        call_soon=lambda _: None,
        max_bytes=max_bytes,
        on_over=lambda _: None,
    )
    complete = BidiMessage((Chunk(1, 0, memoryview(b"x"), True, True, 1),))
    ids = itertools.count(1)
    unary_stream.on_short(3)
    for _ in range(4):
        unary_stream.take([RangeRequest(next(ids), 0, 20)])
        unary_stream.on_message(complete)
    assert recorder.lengths == [3, 6, 12, 20]
    for _ in range(2000):
        unary_stream.on_message(complete)
    assert max_bytes == {key_of("object"): math.inf}
    unary_stream.take([RangeRequest(next(ids), 0, 20)])
    assert recorder.lengths[-1] == 20


@given(st.lists(st.one_of(st.integers(1, 100), st.just("end"), st.just("retire")), max_size=60))
def test_ranges_start_in_order_and_within_the_limit(steps: list[int | str]) -> None:
    queue = RangeQueue()
    ids = itertools.count()
    started: list[int] = []
    added = in_flight = 0
    retired = False
    for step in steps:
        if isinstance(step, int):
            queue.add(RangeRequest(next(ids), 0, 1) for _ in range(step))
            added += step
        elif step == "retire":
            queue.retire()
            retired = True
        elif in_flight:
            queue.note_end()
            in_flight -= 1
        new = queue.start()
        assert not (retired and new)
        started += [request.read_id for request in new]
        in_flight += len(new)
        assert in_flight <= MAX_READS
        assert retired or in_flight == MAX_READS or len(started) == added
        assert queue.finished == (retired and not in_flight)
    assert started == list(range(len(started)))


@pytest.mark.parametrize("code", list(StatusCode))
def test_a_status_of_one_range_becomes_a_range_failure(code: StatusCode) -> None:
    failures: tuple[RangeFailure, ...] = ()
    if code in (StatusCode.OUT_OF_RANGE, StatusCode.DATA_LOSS):
        failures = (RangeFailure(5, code, "why"),)
    expected = None if code is StatusCode.OK else StreamEnd(code, "why", failures)
    assert end_by_range(5, StreamEnd(code, "why")) == expected
