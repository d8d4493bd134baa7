"""An answer that is an error: raised anywhere in the emulator, turned into a status at its border.

It is not part of the tree in `gcsmux_fs.model.errors`, which tells what happened to a client. An
RpcError is what a server decides: a code, a sentence, and details for the trailer.
"""

from __future__ import annotations

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["RANGE_ERRORS_TYPE", "RpcError", "invalid", "not_found", "status_details"]

RANGE_ERRORS_TYPE = "type.googleapis.com/google.storage.v2.BidiReadObjectError"


class RpcError(Exception):
    """End the call with `code`; `details` go into the trailer `grpc-status-details-bin`."""

    def __init__(self, code: StatusCode, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def invalid(message: str) -> RpcError:
    """Return the refusal of a request that breaks the rules of its method."""
    return RpcError(StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RpcError:
    """Return the refusal of a request for what is not there."""
    return RpcError(StatusCode.NOT_FOUND, message)


def status_details(code: StatusCode, message: str, type_url: str, value: bytes) -> bytes:
    """Return a serialized google.rpc.Status with one detail."""
    detail = pb.RpcStatus.Detail(type_url=type_url, value=value)
    return pb.RpcStatus(code=code, message=message, details=[detail]).SerializeToString()
