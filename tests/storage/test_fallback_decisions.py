"""Are streams to be had, what becomes of one range, which are begun: the decisions alone."""

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


# -- is it to be had?


@pytest.mark.parametrize(
    "end",
    [
        UNIMPLEMENTED,
        http(404, StatusCode.UNIMPLEMENTED),
        *(http(status) for status in (405, 408, 411, 415, 501, 505)),
    ],
    ids=lambda end: end.message,
)
def test_an_answer_that_refuses_the_method_is_a_loss(end: StreamEnd) -> None:
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
def test_any_other_end_is_not_of_the_method(end: StreamEnd) -> None:
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
def test_a_long_silence_is_a_loss_unless_the_end_says_otherwise(
    code: StatusCode, lost: bool
) -> None:
    availability = BidiAvailability()
    assert availability.note_end(StreamEnd(code), STREAM_SILENCE_SECONDS, 100.0) == lost
    assert availability.missing == lost


def test_a_silent_stream_that_we_give_up_is_a_loss_only_after_long() -> None:
    availability = BidiAvailability()
    availability.note_cancel(STREAM_SILENCE_SECONDS - 0.1, 0.0)
    assert not availability.missing
    availability.note_cancel(STREAM_SILENCE_SECONDS, 0.0)
    assert availability.missing


def test_streams_are_tried_again_after_a_while_and_then_once_in_a_while() -> None:
    availability = BidiAvailability()
    assert not availability.probe_is_due(1e9)
    availability.note_end(UNIMPLEMENTED, 0.0, 50.0)
    times = [50.0, 50.0 + RETRY_SECONDS - 1, 50.0 + RETRY_SECONDS, 51.0 + RETRY_SECONDS]
    times += [50.0 + 2 * RETRY_SECONDS - 1, 50.0 + 2 * RETRY_SECONDS]
    due = [availability.probe_is_due(now) for now in times]
    assert due == [False, False, True, False, False, True]
    assert availability.probes == 2


def test_after_a_silence_streams_are_tried_at_once() -> None:
    availability = BidiAvailability()
    availability.note_cancel(60.0, 50.0)
    assert availability.probe_is_due(50.0)
    assert not availability.probe_is_due(51.0)


def test_a_loss_counts_once_however_many_calls_tell_of_it() -> None:
    availability = BidiAvailability()
    assert availability.note_end(UNIMPLEMENTED, 0.0, 0.0)
    assert availability.note_end(UNIMPLEMENTED, 0.0, RETRY_SECONDS - 1)
    assert availability.losses == 1
    assert availability.probe_is_due(RETRY_SECONDS)  # the second has put nothing off


@pytest.mark.parametrize("by_redirect", [False, True])
def test_an_answer_brings_streams_back(by_redirect: bool) -> None:
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


# -- one range


def request_for(wanted: RangeRequest) -> pb.ReadObjectRequest:
    return pb.ReadObjectRequest.FromString(encode_read_request(key_of("object"), wanted))


def take_all(
    plan: Answer, wanted: RangeRequest
) -> tuple[list[tuple[int, bytes, bool, bool]], RangeAnswer]:
    """Return what is told of a range: (offset, content, range_end, intact) of each chunk."""
    answer = RangeAnswer(wanted)
    messages = []
    for data in answers(plan, request_for(wanted)):
        if answer.over:
            break
        messages.append(answer.take(data))
    if (rest := answer.close(plan.end)) is not None:
        messages.append(rest)
    chunks = [chunk for message in messages for chunk in message.chunks]
    assert {chunk.read_id for chunk in chunks} == {wanted.read_id}
    return [(c.offset, bytes(c.content), c.range_end, c.intact) for c in chunks], answer


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 300), st.booleans())
def test_the_chunks_of_a_range_join_and_the_last_one_ends_it(
    offset: int, length: int, chunk_bytes: int, with_place: bool
) -> None:
    plan = Answer(chunk_bytes=chunk_bytes, with_content_range=with_place)
    chunks, answer = take_all(plan, RangeRequest(9, offset, length))
    assert b"".join(content for _, content, _, _ in chunks) == CONTENT[offset : offset + length]
    assert [where for where, *_ in chunks] == list(range(offset, offset + length, chunk_bytes))
    assert [end for _, _, end, _ in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(intact for *_, intact in chunks)
    assert (answer.over, answer.corrupt) == (True, False)


def test_a_chunk_holds_the_memory_of_its_message() -> None:
    wanted = RangeRequest(1, 0, 5000)
    (data,) = answers(Answer(), request_for(wanted))
    answer = RangeAnswer(wanted)
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


def test_a_range_that_ends_too_early_takes_back_what_came() -> None:
    chunks, answer = take_all(Answer(chunk_bytes=10, cut_after=2), RangeRequest(1, 7, 40))
    assert chunks[-1] == (7, b"", True, False)
    assert (answer.corrupt, answer.short_bytes) == (True, 20)


def test_one_that_never_said_where_it_ends_is_taken_for_the_end() -> None:
    plan = Answer(chunk_bytes=10, cut_after=2, with_content_range=False)
    chunks, answer = take_all(plan, RangeRequest(1, 7, 40))
    assert chunks[-1] == (27, b"", True, True)
    assert not answer.over


def test_of_a_range_that_failed_the_status_tells() -> None:
    plan = Answer(chunk_bytes=10, cut_after=2, end=StreamEnd(StatusCode.UNAVAILABLE, "cut"))
    chunks, _ = take_all(plan, RangeRequest(1, 7, 40))
    assert [where for where, *_ in chunks] == [7, 17]


def response(content: bytes, *, place: tuple[int, int] | None = None, whole: int = 0) -> bytes:
    """Make a response; `whole` is the checksum of an object whose size is that of the place."""
    made = pb.ReadObjectResponse()
    made.checksummed_data.content = content
    made.checksummed_data.crc32c = crc32c(content)
    if place is not None:
        made.content_range.start, made.content_range.end = place
        made.metadata.size = place[1]
    if whole:
        made.object_checksums.crc32c = whole
    return made.SerializeToString()


def told(
    wanted: RangeRequest, *responses: bytes, end: StatusCode = StatusCode.OK
) -> list[tuple[int, bytes, bool, bool]]:
    answer = RangeAnswer(wanted)
    messages = [answer.take(data) for data in responses if not answer.over]
    if (rest := answer.close(StreamEnd(end))) is not None:
        messages.append(rest)
    chunks = [chunk for message in messages for chunk in message.chunks]
    return [(c.offset, bytes(c.content), c.range_end, c.intact) for c in chunks]


def test_content_that_came_twice_takes_back_all() -> None:
    parts = [response(CONTENT[7:17], place=(7, 27)), response(CONTENT[7:17])]
    found = told(RangeRequest(1, 7, 20), *parts, response(CONTENT[17:27]))
    assert found == [(7, CONTENT[7:17], False, True), (7, b"", True, False)]


def test_content_that_was_lost_takes_back_all() -> None:
    parts = [response(CONTENT[7:10], place=(7, 27)), response(CONTENT[12:27])]
    found = told(RangeRequest(1, 7, 20), *parts)
    assert [chunk[0] for chunk in found] == [7, 10, 7]
    assert found[-1] == (7, b"", True, False)


def test_content_in_another_order_is_taken_back_where_the_checksum_of_the_object_tells() -> None:
    whole = crc32c(CONTENT[:20])
    parts = [response(CONTENT[10:20], place=(0, 20), whole=whole), response(CONTENT[:10])]
    assert told(RangeRequest(1, 0, 20), *parts)[-1] == (0, b"", True, False)
    parts = [response(CONTENT[:10], place=(0, 20), whole=whole), response(CONTENT[10:20])]
    assert told(RangeRequest(1, 0, 20), *parts)[-1] == (10, CONTENT[10:20], True, True)


@pytest.mark.parametrize("end", [StatusCode.OK, StatusCode.UNAVAILABLE])
def test_a_range_is_complete_when_its_call_has_ended(end: StatusCode) -> None:
    found = told(RangeRequest(1, 0, 10), response(CONTENT[:10], place=(0, 10)), end=end)
    assert found == [(0, CONTENT[:10], True, True)]


@pytest.mark.parametrize("surplus", [[], [response(CONTENT[:10])]])
def test_an_answer_that_is_over_holds_no_content(surplus: list[bytes]) -> None:
    answer = RangeAnswer(RangeRequest(1, 0, 10))
    data = response(CONTENT[:10], place=(0, 10))
    held_before = sys.getrefcount(data)
    answer.take(data)
    for one in surplus:
        answer.take(one)
    assert sys.getrefcount(data) > held_before
    answer.close(StreamEnd(StatusCode.OK))
    assert sys.getrefcount(data) == held_before


def test_what_was_announced_beyond_the_range_is_not_waited_for() -> None:
    answer = RangeAnswer(RangeRequest(1, 0, 10))
    (chunk,) = answer.take(response(CONTENT[:30], place=(0, 100))).chunks
    assert chunk.range_end
    assert answer.over


def test_a_response_says_itself_where_it_begins() -> None:
    chunks, _ = take_all(Answer(chunk_bytes=30, ignores_range=True), RangeRequest(1, 50, 30))
    assert [where for where, *_ in chunks] == [0, 30, 60]


# -- which ranges are begun, and for how much they are asked


class Recorder:
    """Reads nothing, hears nothing, and keeps how many bytes each range was asked for."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def start(self, _key: ObjectKey, wanted: RangeRequest, _listener: RangeListener) -> Recorder:
        self.lengths.append(wanted.length)
        return self

    def cancel(self) -> None: ...

    def on_sent(self) -> None: ...

    def on_message(self, message: BidiMessage) -> None: ...

    def on_end(self, end: StreamEnd) -> None: ...


def test_after_a_short_answer_less_is_asked_for_until_answers_are_whole_again() -> None:
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
    whole = BidiMessage((Chunk(1, 0, memoryview(b"x"), True, True, 1),))
    ids = itertools.count(1)
    unary_stream.on_short(3)
    for _ in range(4):
        unary_stream.take([RangeRequest(next(ids), 0, 20)])
        unary_stream.on_message(whole)
    assert recorder.lengths == [3, 6, 12, 20]
    for _ in range(2000):
        unary_stream.on_message(whole)
    assert max_bytes == {key_of("object"): math.inf}
    unary_stream.take([RangeRequest(next(ids), 0, 20)])
    assert recorder.lengths[-1] == 20


@given(st.lists(st.one_of(st.integers(1, 100), st.just("ended"), st.just("retire")), max_size=60))
def test_ranges_are_begun_in_order_and_never_too_many(steps: list[int | str]) -> None:
    queue = RangeQueue()
    ids = itertools.count()
    begun: list[int] = []
    asked = under_way = 0
    retired = False
    for step in steps:
        if isinstance(step, int):
            queue.add(RangeRequest(next(ids), 0, 1) for _ in range(step))
            asked += step
        elif step == "retire":
            queue.retire()
            retired = True
        elif under_way:
            queue.note_end()
            under_way -= 1
        new = queue.start()
        assert not (retired and new)
        begun += [wanted.read_id for wanted in new]
        under_way += len(new)
        assert under_way <= MAX_READS
        assert retired or under_way == MAX_READS or len(begun) == asked
        assert queue.finished == (retired and not under_way)
    assert begun == list(range(len(begun)))


@pytest.mark.parametrize("code", list(StatusCode))
def test_what_is_said_of_one_range_fails_it_alone(code: StatusCode) -> None:
    failures: tuple[RangeFailure, ...] = ()
    if code in (StatusCode.OUT_OF_RANGE, StatusCode.DATA_LOSS):
        failures = (RangeFailure(5, code, "why"),)
    expected = None if code is StatusCode.OK else StreamEnd(code, "why", failures)
    assert end_by_range(5, StreamEnd(code, "why")) == expected
