"""Rows with each gRPC status: at the open of a call, in mid-stream, and with status details."""

from __future__ import annotations

from gcsmux_fs.emulator.faults import (
    ChunkDropped,
    ChunkDuplicated,
    ChunkGap,
    ChunkOverlaps,
    ChunkTooLong,
    Details,
    EndOk,
    ExpireToken,
    Fault,
    InjectionPoint,
    RangeError,
    Status,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.reliability.rows import DEFAULT, RIGHT, SHORT, Group, MountKind, Reader, Row

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"
_ERRORS = [code for code in StatusCode if code is not StatusCode.OK]
# Expected errno of a read, for each status that the mount does not retry. After every other status,
# the retry succeeds.
_STREAM_ERRNOS = {
    StatusCode.UNKNOWN: "EIO",
    StatusCode.INVALID_ARGUMENT: "EINVAL",
    StatusCode.NOT_FOUND: "ESTALE",
    StatusCode.ALREADY_EXISTS: "EIO",
    StatusCode.PERMISSION_DENIED: "EACCES",
    StatusCode.FAILED_PRECONDITION: "ESTALE",
    StatusCode.OUT_OF_RANGE: "EIO",
    StatusCode.UNIMPLEMENTED: "ENOTSUP",
    StatusCode.DATA_LOSS: "EIO",
    # With an access token, the mount would renew the token and retry. These mounts have no token.
    StatusCode.UNAUTHENTICATED: "EACCES",
}
_UNARY_ERRNOS = _STREAM_ERRNOS | {
    StatusCode.CANCELLED: "EIO",
    # For a lookup, NOT_FOUND means that the name does not exist.
    StatusCode.NOT_FOUND: "ENOENT",
    StatusCode.INVALID_ARGUMENT: "EINVAL",
    # If a listing of the name is refused, the lookup uses GetObject instead, and succeeds.
    StatusCode.PERMISSION_DENIED: RIGHT,
}
# If a stream ends with one of these statuses in mid-stream, the mount reopens the stream without
# the read handle. This retry succeeds.
_BLAMED_ON_HANDLE = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
)
_DETAILS = [details for details in Details if details is not Details.NONE]
_OWN = MountKind(DEFAULT.options, own=True)
# A mount does not renew its token twice in a short time, so each row needs its own mount.
_TOKENS = MountKind(DEFAULT.options, own=True, tokens=True)


def _of_stream(code: StatusCode, *, midst: bool, details: Details = Details.NONE) -> Row:
    place = "in mid-stream" if midst else "at the open of a stream"
    errno = None if midst and code in _BLAMED_ON_HANDLE else _STREAM_ERRNOS.get(code)
    times = 1 if errno is None else FOR_EVER
    status = Status(code, details=details, retry_seconds=0.2)
    rule = (
        Rule(status, method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=100_000, times=times)
        if midst
        else Rule(status, method=_STREAM, times=times)
    )
    if errno is None:
        counters = {"streams_reopened": 1, "ranges_failed": 0}
    else:
        counters = {"ranges_failed": 1}
    return Row(
        f"{code.name} {place}" + (f", with details ({details})" if details in _DETAILS else ""),
        (rule,),
        requests=12,
        sees=errno or RIGHT,
        counters=counters,
    )


_STREAMS = Group(
    "Every status of streams",
    (
        *(
            _of_stream(code, midst=False)
            for code in _ERRORS
            if code is not StatusCode.UNIMPLEMENTED
        ),
        *(_of_stream(code, midst=True) for code in _ERRORS),
        # One function of the mount reads the details of every status. Three rows show that this
        # function is called: for a retried status, for a final status, and in mid-stream. The rows
        # below show the result of the function for each kind of details.
        _of_stream(StatusCode.UNAVAILABLE, midst=False, details=Details.ERROR_INFO),
        _of_stream(StatusCode.PERMISSION_DENIED, midst=False, details=Details.MALFORMED),
        _of_stream(StatusCode.UNAVAILABLE, midst=True, details=Details.RETRY_INFO),
        *(
            Row(
                f"RESOURCE_EXHAUSTED with details: {details}",
                (
                    Rule(
                        Status(StatusCode.RESOURCE_EXHAUSTED, details=details, retry_seconds=0.5),
                        method=_STREAM,
                        times=2,
                    ),
                ),
                requests=10,
                counters={"streams_reopened": 2},
            )
            for details in _DETAILS
        ),
    ),
)

_UNARY = Group(
    "Every status of lookups and listings",
    (
        *(
            Row(
                f"{code.name} for a lookup",
                (
                    Rule(
                        Status(code),
                        method="ListObjects",
                        object="*/small-0",
                        times=FOR_EVER if code in _UNARY_ERRNOS else 2,
                    ),
                ),
                requests=16,
                reader=Reader.NAMES,
                sees=_UNARY_ERRNOS.get(code, RIGHT),
                counters={"unary_requests": 2} if code in _UNARY_ERRNOS else {"unary_requests": 5},
            )
            for code in _ERRORS
        ),
        Row(
            "UNAVAILABLE for a lookup, always",
            (Rule(Status(), method="ListObjects", object="*/small-0", times=FOR_EVER),),
            requests=14,
            reader=Reader.NAMES,
            sees="EIO",
            mount=SHORT,
            counters={"unary_requests": 5},
        ),
        *(
            Row(
                f"{code.name} for a listing",
                (Rule(Status(code), method="ListObjects", object="row-*/", times=times),),
                requests=16,
                reader=Reader.NAMES,
                sees=sees,
                counters={"unary_requests": 5 if sees == RIGHT else 3},
            )
            for code, times, sees in (
                (StatusCode.UNAVAILABLE, 2, RIGHT),
                (StatusCode.INTERNAL, 2, RIGHT),
                (StatusCode.PERMISSION_DENIED, FOR_EVER, "EACCES"),
                (StatusCode.UNKNOWN, FOR_EVER, "EIO"),
            )
        ),
    ),
)

_RANGES = Group(
    "One range fails among many",
    (
        Row(
            "one range fails with DATA_LOSS",
            (
                Rule(
                    RangeError(StatusCode.DATA_LOSS),
                    method=_STREAM,
                    covers=1_000_000,
                    times=FOR_EVER,
                ),
            ),
            requests=24,
            sees="EIO",
            counters={"ranges_failed": 1, "ranges_delivered": 3},
        ),
        Row(
            "one range fails with OUT_OF_RANGE",
            (
                Rule(
                    RangeError(StatusCode.OUT_OF_RANGE),
                    method=_STREAM,
                    covers=1_000_000,
                    times=FOR_EVER,
                ),
            ),
            requests=24,
            sees="EIO",
            counters={"ranges_failed": 1, "ranges_delivered": 3},
        ),
        Row(
            "one range fails once with UNAVAILABLE",
            (Rule(RangeError(StatusCode.UNAVAILABLE), method=_STREAM, nth=3),),
            requests=10,
            counters={"ranges_failed": 0, "streams_reopened": 1},
        ),
        Row(
            "the third range of each stream fails with INTERNAL, five times",
            (Rule(RangeError(StatusCode.INTERNAL), method=_STREAM, nth=3, times=5),),
            requests=40,
            reader=Reader.RANDOM,
            counters={"ranges_failed": 0, "streams_reopened": 1},
        ),
    ),
)

_THROTTLED = Status(StatusCode.RESOURCE_EXHAUSTED, details=Details.RETRY_INFO, retry_seconds=0.3)

_CREDENTIALS = Group(
    "Credentials and quotas",
    (
        Row(
            "a token expires in mid-stream and is renewed",
            (
                Rule(
                    Status(StatusCode.UNAUTHENTICATED),
                    method=_STREAM,
                    at=InjectionPoint.CONTENT,
                    after_bytes=500_000,
                ),
            ),
            requests=12,
            counters={"streams_reopened": 1, "ranges_failed": 0},
            mount=_TOKENS,
        ),
        Row(
            "a stream is refused for its token, which is renewed",
            (Rule(ExpireToken(), method=_STREAM),),
            requests=12,
            counters={"streams_reopened": 1, "ranges_failed": 0},
            mount=_TOKENS,
        ),
        Row(
            "a lookup is refused for its token, which is renewed",
            (Rule(ExpireToken(), method="ListObjects"),),
            requests=16,
            reader=Reader.NAMES,
            counters={"unary_requests": 4},
            mount=_TOKENS,
        ),
        Row(
            "every token is refused",
            (Rule(ExpireToken(), method=_STREAM, times=FOR_EVER),),
            requests=12,
            sees="EACCES",
            counters={"ranges_failed": 1},
            mount=_TOKENS,
        ),
        Row(
            "lookups and streams are throttled (429)",
            (
                Rule(
                    _THROTTLED,
                    method=_STREAM,
                    times=4,
                    name="streams",
                ),
                Rule(
                    _THROTTLED,
                    method="ListObjects",
                    times=4,
                    name="all",
                ),
            ),
            requests=24,
            reader=Reader.NAMES,
            counters={"ranges_failed": 0, "streams_reopened": 4},
        ),
        Row(
            "streams are throttled (429) without end",
            (
                Rule(
                    _THROTTLED,
                    method=_STREAM,
                    times=FOR_EVER,
                ),
            ),
            requests=12,
            sees="EIO or ETIMEDOUT",
            mount=SHORT,
            counters={"streams_failed": 2},
        ),
    ),
)

_NO_STREAMS = Rule(Status(StatusCode.UNIMPLEMENTED), method=_STREAM, times=FOR_EVER, name="un")


def _moved(name: str, fault: Fault, *, times: int = 3) -> Row:
    """Return a row of the fault table: ReadObject sends content at a wrong offset.

    Only the checksum of the whole object shows this fault.
    """
    return Row(
        f"no BidiReadObject, and ReadObject {name}",
        (_NO_STREAMS, Rule(fault, method="ReadObject", times=times)),
        requests=48,
        mount=_OWN,
        counters={"checksum_failures": 1, "ranges_failed": 0},
        says="BidiReadObject unavailable",
    )


_WITHOUT = Group(
    "No BidiReadObject",
    (
        Row(
            "every stream is UNIMPLEMENTED",
            (Rule(Status(StatusCode.UNIMPLEMENTED), method=_STREAM, times=FOR_EVER),),
            requests=24,
            mount=_OWN,
            counters={"bidi_losses": 1, "read_object_requests": 1, "ranges_failed": 0},
            says="BidiReadObject unavailable",
        ),
        Row(
            "no BidiReadObject, and ReadObject of small files always ends early with OK",
            (
                _NO_STREAMS,
                Rule(
                    EndOk(),
                    method="ReadObject",
                    at=InjectionPoint.CONTENT,
                    object="*/small-*",
                    after_bytes=1000,
                    times=FOR_EVER,
                    name="early",
                ),
            ),
            reader=Reader.NAMES,
            requests=160,
            mount=_OWN,
            counters={"checksum_failures": 10, "ranges_failed": 0},
            says="BidiReadObject unavailable",
        ),
        Row(
            "no BidiReadObject, and ReadObject is cut",
            (
                _NO_STREAMS,
                Rule(
                    Status(),
                    method="ReadObject",
                    at=InjectionPoint.CONTENT,
                    after_bytes=50_000,
                    times=20,
                    name="cut",
                ),
            ),
            requests=160,
            mount=_OWN,
            counters={"bidi_losses": 1, "ranges_resumed": 10, "ranges_failed": 0},
            says="BidiReadObject unavailable",
        ),
        _moved("repeats chunks", ChunkDuplicated()),
        _moved("loses chunks", ChunkDropped()),
        _moved("sends overlapping chunks", ChunkOverlaps(1000)),
        _moved("leaves gaps between chunks", ChunkGap(1000)),
        _moved("sends chunks that are too long", ChunkTooLong(1000)),
    ),
)

GROUPS = (_STREAMS, _UNARY, _RANGES, _CREDENTIALS, _WITHOUT)
