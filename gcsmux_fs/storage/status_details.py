"""Decodes the end of a call: the status, and the status details in the trailer.

Details are a serialized google.rpc.Status (https://grpc.io/docs/guides/error/). Unknown or
malformed details are ignored, because the status alone is enough to decide what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import RangeFailure, StreamEnd, StreamRedirect

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode_stream_end", "details_of", "retry_seconds"]

_DETAILS_KEY = "grpc-status-details-bin"
_STORAGE_TYPES = "type.googleapis.com/google.storage.v2."
_RETRY_INFO_TYPE = "type.googleapis.com/google.rpc.RetryInfo"


def details_of(trailer: Iterable[tuple[str, str | bytes]] | None) -> bytes:
    """Return the status details in a trailer; empty bytes if the trailer has none."""
    for key, value in trailer or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return value
    return b""


def decode_stream_end(code: StatusCode, message: str, details: bytes) -> StreamEnd:
    """Return the StreamEnd for a status, its message and its serialized details."""
    failures: list[RangeFailure] = []
    redirect: StreamRedirect | None = None
    try:
        for detail in pb.RpcStatus.FromString(details).details:
            kind = detail.type_url.removeprefix(_STORAGE_TYPES)
            if kind == "BidiReadObjectError":
                error = pb.BidiReadObjectError.FromString(detail.value)
                failures += (
                    RangeFailure(
                        entry.read_id, _status_code(entry.status.code), entry.status.message
                    )
                    for entry in error.read_range_errors
                )
            elif kind == "BidiReadObjectRedirectedError":
                moved = pb.BidiReadObjectRedirectedError.FromString(detail.value)
                redirect = StreamRedirect(moved.routing_token, moved.read_handle.handle)
    except DecodeError:
        return StreamEnd(code, message)
    return StreamEnd(code, message, tuple(failures), redirect, retry_seconds(details))


def retry_seconds(details: bytes) -> float:
    """Return how many seconds the server asks to wait before a retry (RetryInfo); 0 for none."""
    try:
        for detail in pb.RpcStatus.FromString(details).details:
            if detail.type_url == _RETRY_INFO_TYPE:
                delay = pb.RetryInfo.FromString(detail.value).retry_delay
                return max(0.0, delay.seconds + delay.nanos / 1e9)
    except DecodeError:
        pass
    return 0.0


def _status_code(value: int) -> StatusCode:
    try:
        return StatusCode(value)
    except ValueError:
        return StatusCode.UNKNOWN
