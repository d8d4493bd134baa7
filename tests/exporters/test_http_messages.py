"""Tests of the heads of HTTP requests and of the responses."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.exporters.http_messages import (
    HttpRequest,
    HttpResponse,
    encode_response,
    is_complete,
    parse_head,
)


def test_a_head_is_parsed() -> None:
    head = b"GET /metrics?name[]=x HTTP/1.1\r\nHost: a\r\naccept: text/plain\r\nX-Accept: n\r\n\r\n"
    assert is_complete(head)
    assert parse_head(head) == HttpRequest("GET", "/metrics", "text/plain")


@pytest.mark.parametrize("head", [b"\n\n", b"\r\n\r\n", b"GET /\r\n\r\n", b"GET / SPDY/3\r\n\r\n"])
def test_a_malformed_head_is_no_request(head: bytes) -> None:
    assert parse_head(head) is None


@given(st.binary())
def test_any_bytes_are_parsed_without_an_exception(data: bytes) -> None:
    parse_head(data + b"\r\n\r\n")


def test_a_response_to_head_has_the_length_but_no_body() -> None:
    response = HttpResponse(HTTPStatus.OK, b"content", "text/plain", allow="GET")
    full, head = encode_response(response), encode_response(response, with_body=False)
    assert full == head + b"content"
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert {b"Content-Length: 7", b"Allow: GET", b"Connection: close"} <= set(head.split(b"\r\n"))
