"""Errors with which the emulator ends a call.

Any part of the emulator may raise an RpcError. `MethodHandlers` sends the error to the client as a
gRPC status. The client represents the same errors with the classes in `gcsmux_fs.model.errors`.
"""

from __future__ import annotations

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["RANGE_ERRORS_TYPE", "RpcError", "invalid", "not_found", "status_details"]

RANGE_ERRORS_TYPE = "type.googleapis.com/google.storage.v2.BidiReadObjectError"


class RpcError(Exception):
    """Ends the call with the status `code`. `details` is the trailer `grpc-status-details-bin`."""

    def __init__(self, code: StatusCode, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def invalid(message: str) -> RpcError:
    """Return an INVALID_ARGUMENT error."""
    return RpcError(StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RpcError:
    """Return a NOT_FOUND error."""
    return RpcError(StatusCode.NOT_FOUND, message)


def status_details(code: StatusCode, message: str, type_url: str, value: bytes) -> bytes:
    """Return a serialized google.rpc.Status with one detail: `value`, of the type `type_url`."""
    detail = pb.RpcStatus.Detail(type_url=type_url, value=value)
    return pb.RpcStatus(code=code, message=message, details=[detail]).SerializeToString()
