"""Rows with streams that are slow, cut, ended, refused, redirected or not answered."""

from __future__ import annotations

from gcsmux_fs.emulator.faults import (
    Bandwidth,
    Delay,
    EndOk,
    Hang,
    InjectionPoint,
    OmitMetadata,
    Redirect,
    Status,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.reliability.rows import DEFAULT, SHORT, Group, MountKind, Reader, Row

__all__ = ["GROUPS"]

# Each row with these options gets its own mount. A mount on which other rows have read whole files
# would fetch the whole file at its OPEN, and no stream would be needed after the pause.
_OWN = MountKind(DEFAULT.options, own=True)
_STREAM = "BidiReadObject"

_SLOW = Group(
    "Latency and bandwidth",
    (
        Row(
            "every call and chunk is delayed, with jitter",
            (
                Rule(Delay(0.02, jitter_seconds=0.05), times=FOR_EVER),
                Rule(Delay(0.005, jitter_seconds=0.02), at=InjectionPoint.CHUNK, times=FOR_EVER),
            ),
            requests=8,
            counters={"streams_failed": 0, "ranges_failed": 0},
        ),
        Row(
            "one chunk is delayed",
            (Rule(Delay(1.0), at=InjectionPoint.CHUNK),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "one range is delayed",
            (Rule(Delay(0.5), at=InjectionPoint.RANGE, nth=3),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "streams of 4 MiB/s",
            (Rule(Bandwidth(4 * 1024 * 1024), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "an answer comes after the deadline",
            (Rule(Delay(60.0), method=_STREAM, times=FOR_EVER),),
            requests=8,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"ranges_cancelled": 1},
        ),
    ),
)

_CUT = Group(
    "Streams that are cut",
    (
        Row(
            "a stream is cut",
            (Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000),),
            requests=8,
            counters={"streams_reopened": 1, "ranges_resumed": 1},
        ),
        Row(
            "five streams are cut",
            (
                Rule(
                    Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=99_991, times=5
                ),
            ),
            requests=12,
            counters={"streams_reopened": 5},
        ),
        Row(
            "every stream is cut after 99,991 bytes",
            (
                Rule(
                    Status(),
                    method=_STREAM,
                    at=InjectionPoint.CONTENT,
                    after_bytes=99_991,
                    times=FOR_EVER,
                ),
            ),
            requests=50,
            counters={"streams_reopened": 31},
        ),
        Row(
            "every stream is cut during random reads",
            (
                Rule(
                    Status(),
                    method=_STREAM,
                    at=InjectionPoint.CONTENT,
                    after_bytes=150_000,
                    times=FOR_EVER,
                ),
            ),
            requests=40,
            reader=Reader.RANDOM,
            counters={"streams_reopened": 3},
        ),
        Row(
            "every stream is cut before its first byte",
            (Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, times=FOR_EVER),),
            requests=30,
            sees="EIO or ETIMEDOUT",
            mount=SHORT,
            counters={"streams_failed": 5},
        ),
    ),
)

_ENDED = Group(
    "Streams that end without an error",
    (
        Row(
            "a new stream ends with OK",
            (Rule(EndOk(), method=_STREAM),),
            requests=8,
            counters={"streams_reopened": 1},
        ),
        Row(
            "a stream ends with OK in mid-stream",
            (
                Rule(
                    EndOk(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=500_000, times=3
                ),
            ),
            requests=10,
            counters={"streams_reopened": 3},
        ),
        Row(
            "every new stream ends with OK",
            (Rule(EndOk(), method=_STREAM, times=FOR_EVER),),
            requests=30,
            sees="EIO or ETIMEDOUT",
            mount=SHORT,
            counters={"streams_failed": 5},
        ),
        Row(
            "an idle stream ends with OK",
            (Rule(EndOk(), method=_STREAM, at=InjectionPoint.IDLE, after_seconds=0.05),),
            requests=8,
            reader=Reader.TWO_PARTS,
            mount=_OWN,
            counters={"streams_reopened": 1, "streams_failed": 0},
        ),
        Row(
            "an idle stream ends with ABORTED",
            (
                Rule(
                    Status(StatusCode.ABORTED),
                    method=_STREAM,
                    at=InjectionPoint.IDLE,
                    after_seconds=0.05,
                ),
            ),
            requests=8,
            reader=Reader.TWO_PARTS,
            mount=_OWN,
            counters={"streams_reopened": 1, "streams_failed": 0},
        ),
    ),
)

_SILENT = Group(
    "No answer",
    (
        Row(
            "a stream is not answered",
            (Rule(Hang(), method=_STREAM),),
            requests=8,
            mount=SHORT,
            counters={"streams_failed": 1, "ranges_failed": 0},
        ),
        Row(
            "no stream is answered",
            (Rule(Hang(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"ranges_cancelled": 1},
        ),
        Row(
            "a stream stops sending",
            (Rule(Hang(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000),),
            requests=8,
            mount=SHORT,
            counters={"streams_failed": 1, "ranges_resumed": 1, "ranges_failed": 0},
        ),
        Row(
            "every stream stops sending",
            (
                Rule(
                    Hang(),
                    method=_STREAM,
                    at=InjectionPoint.CONTENT,
                    after_bytes=20_000,
                    times=FOR_EVER,
                ),
            ),
            requests=20,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"streams_failed": 1},
        ),
        Row(
            "one range is never answered",
            (
                Rule(
                    Hang(),
                    method=_STREAM,
                    at=InjectionPoint.RANGE,
                    covers=25 * 65536,
                    times=FOR_EVER,
                ),
            ),
            requests=14,
            reader=Reader.RANDOM,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"ranges_cancelled": 1, "ranges_delivered": 10},
        ),
        Row(
            "a lookup is not answered",
            (Rule(Hang(), method="ListObjects", object="*/small-0"),),
            requests=14,
            reader=Reader.NAMES,
            mount=SHORT,
            counters={"unary_requests": 4},
        ),
        Row(
            "no lookup is answered",
            (Rule(Hang(), method="ListObjects", object="*/small-0", times=FOR_EVER),),
            requests=8,
            reader=Reader.NAMES,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"unary_requests": 2},
        ),
        Row(
            "no listing is answered",
            (Rule(Hang(), method="ListObjects", object="row-*/", times=FOR_EVER),),
            requests=8,
            reader=Reader.MANY,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"unary_requests": 3},
        ),
    ),
)

_REDIRECTED = Group(
    "Redirects and read handles",
    (
        Row(
            "a redirect with a token",
            (Rule(Redirect(), method=_STREAM),),
            requests=8,
            counters={"redirects": 1, "streams_reopened": 1},
        ),
        Row(
            "a redirect with a token and a handle",
            (Rule(Redirect(handle=True), method=_STREAM),),
            requests=8,
            counters={"redirects": 1, "streams_reopened": 1},
        ),
        Row(
            "a redirect in mid-stream",
            (
                Rule(
                    Redirect(handle=True),
                    method=_STREAM,
                    at=InjectionPoint.CONTENT,
                    after_bytes=1_000_000,
                ),
            ),
            requests=8,
            counters={"redirects": 1, "ranges_resumed": 1},
        ),
        Row(
            "eight redirects in a row",
            (Rule(Redirect(loop=True), method=_STREAM, times=8),),
            requests=14,
            counters={"redirects": 8},
        ),
        Row(
            "redirects without end",
            (Rule(Redirect(loop=True), method=_STREAM, times=FOR_EVER),),
            requests=60,
            sees="EIO or ETIMEDOUT",
            mount=SHORT,
            counters={"redirects": 8},
        ),
        *(
            Row(
                f"a read handle is refused with {code.name}",
                (
                    Rule(
                        Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000
                    ),
                    Rule(Status(code), method=_STREAM, resumed=True),
                ),
                requests=10,
                counters={"streams_reopened": 2},
            )
            for code in (
                StatusCode.NOT_FOUND,
                StatusCode.INVALID_ARGUMENT,
                StatusCode.FAILED_PRECONDITION,
            )
        ),
        Row(
            "no metadata on a stream that was opened with a read handle",
            (
                Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000),
                Rule(OmitMetadata(), method=_STREAM, resumed=True),
            ),
            requests=8,
            counters={"streams_reopened": 1},
        ),
        Row(
            "no metadata on any stream",
            (Rule(OmitMetadata(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"streams_failed": 0},
        ),
    ),
)

GROUPS = (_SLOW, _CUT, _ENDED, _SILENT, _REDIRECTED)
