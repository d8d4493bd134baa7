"""Reads the head of an HTTP request and writes the response; sans-IO.

Only what monitoring systems send is understood: GET and HEAD without a body, HTTP/1.0 and 1.1. Each
response closes its connection, so no idle connection remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http import HTTPStatus

__all__ = [
    "MAX_HEAD_BYTES",
    "HttpRequest",
    "HttpResponse",
    "encode_response",
    "is_complete",
    "parse_head",
]

MAX_HEAD_BYTES = 8192
"""Limit for the head of a request, as in most servers. Prometheus sends less than 1 KiB."""

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request: the method, the path without the query, and the value of the header Accept."""

    method: str
    path: str
    accept: str = ""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response. `body` is not sent as an answer to HEAD."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    allow: str = ""


def is_complete(head: bytes) -> bool:
    """Return whether `head` contains the empty line that ends a head."""
    return b"\r\n\r\n" in head or b"\n\n" in head


def parse_head(head: bytes) -> HttpRequest | None:
    """Return the request of a complete head; None if it is malformed."""
    line, *fields = head.decode("latin-1").splitlines()
    words = line.split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    accept = ""
    for field in fields:
        name, colon, value = field.partition(":")
        if colon and name.strip().lower() == "accept":
            accept = value.strip()
    return HttpRequest(words[0], words[1].partition("?")[0], accept)


def encode_response(response: HttpResponse, *, with_body: bool = True) -> bytes:
    """Return the bytes of a response."""
    status = response.status
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if response.allow:
        lines.append(f"Allow: {response.allow}")
    head = "\r\n".join((*lines, "", "")).encode("latin-1")
    return head + response.body if with_body else head
