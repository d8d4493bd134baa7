"""The statuses that are ordered, in the shapes in which the service sends them."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from gcsmux_fs.emulator.faults.catalogue import Details, Redirect, Status
from gcsmux_fs.emulator.rpc_error import RpcError, status_details
from gcsmux_fs.emulator.services.content_messages import varint
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["REDIRECT_TYPE", "expired_token", "ordered_status", "redirected"]

REDIRECT_TYPE = "type.googleapis.com/google.storage.v2.BidiReadObjectRedirectedError"
_RETRY_INFO_TYPE = "type.googleapis.com/google.rpc.RetryInfo"
_ERROR_INFO_TYPE = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN = "storage.googleapis.com"
# A varint without an end: no serialized google.rpc.Status begins so.
_NO_STATUS = b"\xff" * 16


def ordered_status(fault: Status) -> RpcError:
    """Return how a call ends that is to end with a status."""
    match fault.details:
        case Details.RETRY_INFO:
            pause = Duration()
            pause.FromNanoseconds(round(fault.retry_seconds * 1e9))
            details = _with_detail(fault, _RETRY_INFO_TYPE, _field(1, pause.SerializeToString()))
        case Details.ERROR_INFO:
            value = _field(1, fault.code.name.encode()) + _field(2, _DOMAIN.encode())
            details = _with_detail(fault, _ERROR_INFO_TYPE, value)
        case Details.MALFORMED:
            details = _NO_STATUS
        case Details.NONE:
            details = b""
    return RpcError(fault.code, fault.message, details)


def redirected(fault: Redirect, handle: bytes) -> RpcError:
    """Return how a stream ends that is to be opened elsewhere."""
    error = pb.BidiReadObjectRedirectedError(
        routing_token=fault.token,
        read_handle=pb.BidiReadHandle(handle=handle) if handle else None,
    )
    message = "The stream is to be opened with the routing token"
    details = status_details(fault.code, message, REDIRECT_TYPE, error.SerializeToString())
    return RpcError(fault.code, message, details)


def expired_token() -> RpcError:
    """Return how a call ends whose credentials are no longer taken."""
    value = _field(1, b"ACCESS_TOKEN_EXPIRED") + _field(2, b"googleapis.com")
    message = "Request had invalid authentication credentials"
    code = StatusCode.UNAUTHENTICATED
    return RpcError(code, message, status_details(code, message, _ERROR_INFO_TYPE, value))


def _with_detail(fault: Status, type_url: str, value: bytes) -> bytes:
    return status_details(fault.code, fault.message, type_url, value)


def _field(number: int, value: bytes) -> bytes:
    """Return a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(value)) + value
