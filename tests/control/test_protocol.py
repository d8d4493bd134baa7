"""Tests of the messages of the control socket, and of what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.control.protocol import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    CommandFailed,
    ErrorCode,
    LineBuffer,
    Progress,
    Request,
    Result,
    decode_answer,
    decode_request,
    encode_error,
    encode_progress,
    encode_request,
    encode_result,
)

# A path with a newline, a quotation mark, and a byte that is not UTF-8.
STRANGE_PATH = '/mnt/a\n"b\udcff'


def test_a_request_and_its_answers_survive_the_socket() -> None:
    request = Request("forget", {"paths": [STRANGE_PATH]})
    assert decode_request(encode_request(request)) == request
    assert decode_answer(encode_progress({"bytes": 1})) == Progress({"bytes": 1})
    assert decode_answer(encode_result({"path": STRANGE_PATH})) == Result({"path": STRANGE_PATH})


def test_each_message_is_one_line_of_ascii() -> None:
    for line in (encode_request(Request(STRANGE_PATH)), encode_result({"path": STRANGE_PATH})):
        assert line.isascii()
        assert line.index(b"\n") == len(line) - 1


def test_an_error_answer_raises_its_code_and_message() -> None:
    with pytest.raises(CommandFailed, match=r"^the loop is blocked$") as raised:
        decode_answer(encode_error(ErrorCode.BLOCKED, "the loop is blocked"))
    assert raised.value.code is ErrorCode.BLOCKED


def test_an_error_of_a_newer_server_is_a_failure() -> None:
    with pytest.raises(CommandFailed, match=r"^too hot$") as raised:
        decode_answer(b'{"error": {"code": "overheated", "message": "too hot"}}')
    assert raised.value.code is ErrorCode.FAILED


@pytest.mark.parametrize("version", ["2", "null", '"1"', "[1]"])
def test_another_version_is_refused_by_name(version: str) -> None:
    with pytest.raises(CommandFailed, match="version 1 of the control protocol") as raised:
        decode_request(b'{"version": %s, "command": "status"}' % version.encode())
    assert raised.value.code is ErrorCode.VERSION


@given(st.binary())
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(CommandFailed):
        decode_request(garbage)
    with pytest.raises(CommandFailed):
        decode_answer(garbage)


@pytest.mark.parametrize(
    "line",
    [
        b'{"version": 1}',
        b'{"version": 1, "command": 5}',
        b'{"version": 1, "command": "stats", "arguments": []}',
        b"[" * 100_000,
    ],
)
def test_a_malformed_request_is_refused(line: bytes) -> None:
    with pytest.raises(CommandFailed):
        decode_request(line)


def test_a_request_that_is_too_long_is_refused_before_it_is_sent() -> None:
    with pytest.raises(CommandFailed, match="pass fewer at a time"):
        encode_request(Request("warm", {"paths": ["x" * MAX_REQUEST_BYTES]}))


def test_an_answer_that_is_too_long_becomes_an_error() -> None:
    with pytest.raises(CommandFailed, match="the answer is longer"):
        decode_answer(encode_result({"text": "x" * MAX_ANSWER_BYTES}))


@given(st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line)), st.integers(1, 4))
def test_lines_are_found_however_they_arrive(lines: list[bytes], step: int) -> None:
    buffer, found = LineBuffer(max_bytes=10), []
    content = b"".join(line + b"\n" for line in lines)
    for start in range(0, len(content), step):
        buffer.feed(content[start : start + step])
        while (line := buffer.next_line()) is not None:
            found.append(line)
    assert found == lines


@pytest.mark.parametrize("received", [b"x" * 10, b"x" * 10 + b"\n"])
def test_a_line_that_is_too_long_is_refused(received: bytes) -> None:
    buffer = LineBuffer(max_bytes=10)
    buffer.feed(received)
    with pytest.raises(CommandFailed, match="longer than 10 bytes"):
        buffer.next_line()
