"""Every gRPC status, at the begin of a call and in its midst, with details and without."""

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
from tests.reliability.rows import HASTY, PATIENT, RIGHT, Group, MountKind, Reader, Row

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"
_ERRORS = [code for code in StatusCode if code is not StatusCode.OK]
# What a program is told of a status that is not tried again; all others pass.
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
    # Where no token was brought along there is none to be renewed.
    StatusCode.UNAUTHENTICATED: "EACCES",
}
_UNARY_ERRNOS = _STREAM_ERRNOS | {
    StatusCode.CANCELLED: "EIO",
    # Of a name: there is none.
    StatusCode.NOT_FOUND: "ENOENT",
    StatusCode.INVALID_ARGUMENT: "ENOENT",
    # A listing shows it all the same.
    StatusCode.PERMISSION_DENIED: RIGHT,
}
# A stream that knows a handle is opened again without it; here it gets further each time.
_BLAMED_ON_HANDLE = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
)
_DETAILS = [details for details in Details if details is not Details.NONE]
_OWN = MountKind(PATIENT.options, own=True)
# Tokens are not renewed anew for each row that follows soon.
_TOKENS = MountKind(PATIENT.options, own=True, tokens=True)


def _of_stream(code: StatusCode, *, midst: bool, details: Details = Details.NONE) -> Row:
    place = "in mid-stream" if midst else "instead of a stream"
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
        # The kinds of details take turns: a status has another one in mid-stream than at open.
        *(
            _of_stream(code, midst=midst, details=_DETAILS[(code.value + midst) % len(_DETAILS)])
            for midst in (False, True)
            for code in _ERRORS
            if midst or code is not StatusCode.UNIMPLEMENTED
        ),
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
    "Every status of look-ups and listings",
    (
        *(
            Row(
                f"{code.name} instead of an object",
                (
                    Rule(
                        Status(code),
                        method="GetObject",
                        object="*/small-0",
                        times=FOR_EVER if code in _UNARY_ERRNOS else 2,
                    ),
                ),
                requests=16,
                reader=Reader.NAMES,
                sees=_UNARY_ERRNOS.get(code, RIGHT),
                counters={"unary_requests": 3} if code in _UNARY_ERRNOS else {"unary_requests": 6},
            )
            for code in _ERRORS
        ),
        Row(
            "an object that cannot be had for a while",
            (Rule(Status(), method="GetObject", object="*/small-0", times=FOR_EVER),),
            requests=14,
            reader=Reader.NAMES,
            sees="EIO",
            mount=HASTY,
            counters={"unary_requests": 5},
        ),
        *(
            Row(
                f"{code.name} instead of a folder's first page",
                (Rule(Status(code), method="ListObjects", object="row-*/", times=times),),
                requests=16,
                reader=Reader.NAMES,
                sees=sees,
                counters={"unary_requests": 7 if sees == RIGHT else 5},
            )
            for code, times, sees in (
                (StatusCode.UNAVAILABLE, 2, RIGHT),
                (StatusCode.INTERNAL, 2, RIGHT),
                (StatusCode.PERMISSION_DENIED, FOR_EVER, "EACCES"),
                (StatusCode.UNKNOWN, FOR_EVER, "EIO"),
            )
        ),
        Row(
            "an empty message instead of an object",
            (Rule(EndOk(), method="GetObject", object="*/small-0", times=2),),
            requests=16,
            reader=Reader.NAMES,
            counters={"unary_requests": 7},
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

_CREDENTIALS = Group(
    "Credentials and quotas",
    (
        Row(
            "a token that expires in mid-stream, and is renewed",
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
            "a token that a stream is refused for, and that is renewed",
            (Rule(ExpireToken(), method=_STREAM),),
            requests=12,
            counters={"streams_reopened": 1, "ranges_failed": 0},
            mount=_TOKENS,
        ),
        Row(
            "a token that a look-up is refused for, and that is renewed",
            (Rule(ExpireToken(), method="GetObject"),),
            requests=16,
            reader=Reader.NAMES,
            counters={"unary_requests": 4},
            mount=_TOKENS,
        ),
        Row(
            "tokens none of which is taken",
            (Rule(ExpireToken(), method=_STREAM, times=FOR_EVER),),
            requests=12,
            sees="EACCES",
            counters={"ranges_failed": 1},
            mount=_TOKENS,
        ),
        Row(
            "a storm of 429",
            (
                Rule(
                    Status(StatusCode.RESOURCE_EXHAUSTED, details=Details.RETRY_INFO),
                    method=_STREAM,
                    times=4,
                    name="streams",
                ),
                Rule(
                    Status(StatusCode.RESOURCE_EXHAUSTED, details=Details.RETRY_INFO),
                    method="GetObject",
                    times=4,
                    name="all",
                ),
            ),
            requests=24,
            reader=Reader.NAMES,
            counters={"ranges_failed": 0, "streams_reopened": 4},
        ),
        Row(
            "a storm of 429 that does not end",
            (
                Rule(
                    Status(StatusCode.RESOURCE_EXHAUSTED, details=Details.RETRY_INFO),
                    method=_STREAM,
                    times=FOR_EVER,
                ),
            ),
            requests=12,
            sees="EIO or ETIMEDOUT",
            mount=HASTY,
            counters={"streams_failed": 2},
        ),
    ),
)

_NO_STREAMS = Rule(Status(StatusCode.UNIMPLEMENTED), method=_STREAM, times=FOR_EVER, name="un")


def _moved(name: str, fault: Fault, *, times: int = 3) -> Row:
    """Have content come elsewhere than it belongs, where no message tells its place."""
    return Row(
        f"UNIMPLEMENTED, and in what is read instead {name}",
        (_NO_STREAMS, Rule(fault, method="ReadObject", times=times)),
        requests=48,
        mount=_OWN,
        counters={"checksum_failures": 1, "ranges_failed": 0},
        says="BidiReadObject is not to be had",
    )


_WITHOUT = Group(
    "No BidiReadObject",
    (
        Row(
            "UNIMPLEMENTED instead of every stream",
            (Rule(Status(StatusCode.UNIMPLEMENTED), method=_STREAM, times=FOR_EVER),),
            requests=24,
            mount=_OWN,
            counters={"bidi_losses": 1, "read_object_requests": 1, "ranges_failed": 0},
            says="BidiReadObject is not to be had",
        ),
        Row(
            "UNIMPLEMENTED, and reads of small files that end with OK too early, for ever",
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
            says="BidiReadObject is not to be had",
        ),
        Row(
            "UNIMPLEMENTED, and reads that are cut",
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
            says="BidiReadObject is not to be had",
        ),
        _moved("chunks twice", ChunkDuplicated()),
        _moved("chunks that do not come", ChunkDropped()),
        _moved("chunks that overlap", ChunkOverlaps(1000)),
        _moved("chunks with a gap between", ChunkGap(1000)),
        _moved("chunks that are too long", ChunkTooLong(1000)),
    ),
)

GROUPS = (_STREAMS, _UNARY, _RANGES, _CREDENTIALS, _WITHOUT)
