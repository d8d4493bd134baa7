"""Makes the error statuses that faults cause, in the encoding of the service."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from gcsmux_fs.emulator.faults import Details, Redirect, Status
from gcsmux_fs.emulator.protobuf_wire import length_delimited
from gcsmux_fs.emulator.rpc_error import RpcError, status_details
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["REDIRECT_TYPE", "expired_token", "ordered_status", "redirected"]

REDIRECT_TYPE = "type.googleapis.com/google.storage.v2.BidiReadObjectRedirectedError"
_RETRY_INFO_TYPE = "type.googleapis.com/google.rpc.RetryInfo"
_ERROR_INFO_TYPE = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN = "storage.googleapis.com"
# Malformed details: a varint that never ends. No serialized google.rpc.Status begins with these
# bytes.
_NO_STATUS = b"\xff" * 16


def ordered_status(fault: Status) -> RpcError:
    """Return the error that ends a call with the status of the fault."""
    match fault.details:
        case Details.RETRY_INFO:
            delay = Duration()
            delay.FromNanoseconds(round(fault.retry_seconds * 1e9))
            value = length_delimited(1, delay.SerializeToString())
            details = _with_detail(fault, _RETRY_INFO_TYPE, value)
        case Details.ERROR_INFO:
            details = _with_detail(fault, _ERROR_INFO_TYPE, _error_info(fault.code.name, _DOMAIN))
        case Details.MALFORMED:
            details = _NO_STATUS
        case Details.NONE:
            details = b""
    return RpcError(fault.code, fault.message, details)


def redirected(fault: Redirect, handle: bytes) -> RpcError:
    """Return the error that redirects a stream and, unless `handle` is empty, holds `handle`."""
    error = pb.BidiReadObjectRedirectedError(
        routing_token=fault.token,
        read_handle=pb.BidiReadHandle(handle=handle) if handle else None,
    )
    message = "Reopen the stream with the routing token of this error"
    details = status_details(fault.code, message, REDIRECT_TYPE, error.SerializeToString())
    return RpcError(fault.code, message, details)


def expired_token() -> RpcError:
    """Return the error that ends a call whose token is expired."""
    value = _error_info("ACCESS_TOKEN_EXPIRED", "googleapis.com")
    message = "Request had invalid authentication credentials"
    code = StatusCode.UNAUTHENTICATED
    return RpcError(code, message, status_details(code, message, _ERROR_INFO_TYPE, value))


def _with_detail(fault: Status, type_url: str, value: bytes) -> bytes:
    return status_details(fault.code, fault.message, type_url, value)


def _error_info(reason: str, domain: str) -> bytes:
    """Return a serialized google.rpc.ErrorInfo."""
    return length_delimited(1, reason.encode()) + length_delimited(2, domain.encode())
