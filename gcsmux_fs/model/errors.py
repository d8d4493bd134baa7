"""The one tree of errors, and its two tables.

Errors are translated twice: from gRPC status codes to this tree at the border of `storage`, and
from this tree to errno at the border of `fuse`. Nothing between the two knows either side.
"""

from __future__ import annotations

import enum
import errno

__all__ = [
    "ConfigError",
    "DataCorruption",
    "DeadlineExceeded",
    "GcsmuxError",
    "GenerationGone",
    "InvalidRequest",
    "MountLost",
    "NotFound",
    "PermissionDenied",
    "PreconditionFailed",
    "RangeUnsatisfiable",
    "StatusCode",
    "StorageError",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "errno_of",
    "storage_error",
]


class StatusCode(enum.IntEnum):
    """gRPC status codes (https://grpc.io/docs/guides/status-codes/), free of any gRPC import."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class GcsmuxError(Exception):
    """Any error this program raises on purpose."""


class ConfigError(GcsmuxError):
    """A setting that cannot be used; the message is one sentence for the user."""


class MountLost(GcsmuxError):
    """The kernel's side of a mount is gone while it served; the message is one sentence."""


class StorageError(GcsmuxError):
    """The service, or the way to it, refused or failed.

    `subject` names what was asked for (an object, a range, a listing), so that one log line
    tells the story; `code` is the gRPC status that ended it, if one did.
    """

    errno = errno.EIO

    #: How long the server wants to be left alone, if it says so.
    retry_seconds = 0.0

    def __init__(self, message: str, *, subject: str = "", code: StatusCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.code = code

    def __str__(self) -> str:
        text = f"{self.subject}: {self.message}" if self.subject else self.message
        return f"{text} [{self.code.name}]" if self.code is not None else text


class NotFound(StorageError):
    """No such bucket or object."""

    errno = errno.ENOENT


class GenerationGone(NotFound):
    """The generation that was pinned at open has been overwritten or deleted since."""

    errno = errno.ESTALE


class PermissionDenied(StorageError):
    """The caller is known and may not."""

    errno = errno.EACCES


class Unauthenticated(PermissionDenied):
    """No credentials, or none that the service takes."""


class PreconditionFailed(StorageError):
    """A generation or metageneration condition did not hold."""

    errno = errno.ESTALE


class RangeUnsatisfiable(StorageError):
    """The range lies outside of the object."""


class InvalidRequest(StorageError):
    """The service holds the request for malformed."""

    errno = errno.EINVAL


class Unsupported(StorageError):
    """The service does not offer this call."""

    errno = errno.ENOTSUP


class DataCorruption(StorageError):
    """Bytes arrived that do not match their checksum or their range, again and again."""


class Unavailable(StorageError):
    """The service could not be reached, or not served in time; trying again may help."""


class DeadlineExceeded(Unavailable):
    """An operation did not end before its deadline."""

    errno = errno.ETIMEDOUT


_BY_CODE: dict[StatusCode, type[StorageError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequest,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.PERMISSION_DENIED: PermissionDenied,
    StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    StatusCode.ABORTED: Unavailable,
    StatusCode.OUT_OF_RANGE: RangeUnsatisfiable,
    StatusCode.UNIMPLEMENTED: Unsupported,
    StatusCode.INTERNAL: Unavailable,
    StatusCode.UNAVAILABLE: Unavailable,
    StatusCode.DATA_LOSS: DataCorruption,
    StatusCode.UNAUTHENTICATED: Unauthenticated,
}


def storage_error(code: StatusCode, message: str, *, subject: str = "") -> StorageError:
    """Return the error for a gRPC status; codes without an entry become a plain StorageError."""
    return _BY_CODE.get(code, StorageError)(message, subject=subject, code=code)


def errno_of(error: GcsmuxError) -> int:
    """Return the errno that a program sees for `error`."""
    return error.errno if isinstance(error, StorageError) else errno.EIO
