"""All exceptions that gcsmux-fs raises on purpose, and their gRPC and errno codes.

`storage` translates gRPC status codes into these exceptions, and `fuse` translates them into errno
values. All other packages use only the exceptions.
"""

from __future__ import annotations

import enum
import errno

__all__ = [
    "ConfigError",
    "CredentialsError",
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
    "TransientError",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "errno_of",
    "is_permanent",
    "storage_error",
]


class StatusCode(enum.IntEnum):
    """The gRPC status codes (https://grpc.io/docs/guides/status-codes/), for use without gRPC."""

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
    """Base class of all exceptions that gcsmux-fs raises on purpose."""


class ConfigError(GcsmuxError):
    """A setting is invalid; the message is one sentence for the user."""


class TransientError(ConfigError):
    """A mount could not start for a reason that can end by itself, such as an outage.

    A later start with the same settings may succeed. After any other ConfigError, only a change of
    the settings or of the machine helps.
    """


class CredentialsError(ConfigError):
    """There is no access token; the message is one sentence for the user.

    Attributes:
        permanent: whether a later attempt fails too, unless the user changes something. Examples
            are a missing key file and a deleted service account. False: the token server could not
            be reached.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def is_permanent(error: GcsmuxError) -> bool:
    """Return whether a start that failed with `error` fails again, unless something is changed."""
    if isinstance(error, CredentialsError):
        return error.permanent
    return isinstance(error, ConfigError) and not isinstance(error, TransientError)


class MountLost(GcsmuxError):
    """The kernel ended a mount that this process still served; the message is one sentence."""


class StorageError(GcsmuxError):
    """A request to the service failed.

    Attributes:
        errno: the error number that a program sees.
        message: what failed, in words.
        subject: the object, range, listing or bucket that was requested; may be empty.
        code: the gRPC status of the failure; None if no status was received.
        retry_seconds: the pause that the server requests before a retry; 0 for none.
    """

    errno = errno.EIO
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
    """The bucket or object does not exist."""

    errno = errno.ENOENT


class GenerationGone(NotFound):
    """The object generation of an open file has been overwritten or deleted."""

    errno = errno.ESTALE


class PermissionDenied(StorageError):
    """The service does not permit the request of this caller."""

    errno = errno.EACCES


class Unauthenticated(PermissionDenied):
    """The credentials are missing, or the service refuses them."""


class PreconditionFailed(StorageError):
    """A condition of the request on the generation or metageneration was not met."""

    errno = errno.ESTALE


class RangeUnsatisfiable(StorageError):
    """The requested range lies outside of the object."""


class InvalidRequest(StorageError):
    """The service reports that the request is malformed."""

    errno = errno.EINVAL


class Unsupported(StorageError):
    """The service does not implement the requested method."""

    errno = errno.ENOTSUP


class DataCorruption(StorageError):
    """In several attempts, the received bytes did not match their checksum or the request."""


class Unavailable(StorageError):
    """The service could not be reached or did not answer; a later attempt may succeed."""


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
    """Return the exception for a gRPC status code; a StorageError if the code has no own class."""
    return _BY_CODE.get(code, StorageError)(message, subject=subject, code=code)


def errno_of(error: GcsmuxError) -> int:
    """Return the error number that a program sees for `error`."""
    return error.errno if isinstance(error, StorageError) else errno.EIO
