"""Streams that are slow, cut, ended, refused, redirected or never answered."""

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
from tests.reliability.rows import HASTY, Group, Reader, Row

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"

_SLOW = Group(
    "Latency and bandwidth",
    (
        Row(
            "every call and chunk late, with jitter",
            (
                Rule(Delay(0.02, jitter_seconds=0.05), times=FOR_EVER),
                Rule(Delay(0.005, jitter_seconds=0.02), at=InjectionPoint.CHUNK, times=FOR_EVER),
            ),
            requests=8,
            counters={"streams_failed": 0, "ranges_failed": 0},
        ),
        Row(
            "one chunk late",
            (Rule(Delay(1.0), at=InjectionPoint.CHUNK),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "one range late, the others in time",
            (Rule(Delay(0.5), at=InjectionPoint.RANGE, nth=3),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "a narrow line",
            (Rule(Bandwidth(4 * 1024 * 1024), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "an answer later than the deadline",
            (Rule(Delay(60.0), method=_STREAM, times=FOR_EVER),),
            requests=7,
            sees="ETIMEDOUT",
            mount=HASTY,
            counters={"ranges_cancelled": 1},
        ),
    ),
)

_CUT = Group(
    "Streams that are cut",
    (
        Row(
            "cut once",
            (Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000),),
            requests=8,
            counters={"streams_reopened": 1, "ranges_resumed": 1},
        ),
        Row(
            "cut five times",
            (
                Rule(
                    Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=99_991, times=5
                ),
            ),
            requests=12,
            counters={"streams_reopened": 5},
        ),
        Row(
            "cut again and again, a little further each time",
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
            "cut under readers at random",
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
            "cut before the first byte, for ever",
            (Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, times=FOR_EVER),),
            requests=30,
            sees="EIO or ETIMEDOUT",
            mount=HASTY,
            counters={"streams_failed": 5},
        ),
    ),
)

_ENDED = Group(
    "Streams that end although nothing failed",
    (
        Row(
            "OK too early, at once",
            (Rule(EndOk(), method=_STREAM),),
            requests=8,
            counters={"streams_reopened": 1},
        ),
        Row(
            "OK too early, in mid-stream",
            (
                Rule(
                    EndOk(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=500_000, times=3
                ),
            ),
            requests=10,
            counters={"streams_reopened": 3},
        ),
        Row(
            "OK too early, for ever",
            (Rule(EndOk(), method=_STREAM, times=FOR_EVER),),
            requests=30,
            sees="EIO or ETIMEDOUT",
            mount=HASTY,
            counters={"streams_failed": 5},
        ),
        Row(
            "OK while idle",
            (Rule(EndOk(), method=_STREAM, at=InjectionPoint.IDLE, after_seconds=0.05),),
            requests=8,
            reader=Reader.SITTINGS,
            counters={"streams_reopened": 1, "streams_failed": 0},
        ),
        Row(
            "ABORTED while idle",
            (
                Rule(
                    Status(StatusCode.ABORTED),
                    method=_STREAM,
                    at=InjectionPoint.IDLE,
                    after_seconds=0.05,
                ),
            ),
            requests=8,
            reader=Reader.SITTINGS,
            counters={"streams_reopened": 1, "streams_failed": 0},
        ),
    ),
)

_SILENT = Group(
    "No answer, ever",
    (
        Row(
            "a stream is not answered",
            (Rule(Hang(), method=_STREAM),),
            requests=8,
            mount=HASTY,
            counters={"streams_failed": 1, "ranges_failed": 0},
        ),
        Row(
            "no stream is ever answered",
            (Rule(Hang(), method=_STREAM, times=FOR_EVER),),
            requests=7,
            sees="ETIMEDOUT",
            mount=HASTY,
            counters={"ranges_cancelled": 1},
        ),
        Row(
            "a stream falls silent",
            (Rule(Hang(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000),),
            requests=8,
            mount=HASTY,
            counters={"streams_failed": 1, "ranges_resumed": 1, "ranges_failed": 0},
        ),
        Row(
            "every stream falls silent",
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
            mount=HASTY,
            counters={"streams_failed": 1},
        ),
        Row(
            "one range is never answered, the others are",
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
            mount=HASTY,
            counters={"ranges_cancelled": 1, "ranges_delivered": 10},
        ),
        Row(
            "a look-up is not answered",
            (Rule(Hang(), method="GetObject", object="*/small-0"),),
            requests=14,
            reader=Reader.NAMES,
            mount=HASTY,
            counters={"unary_requests": 6},
        ),
        Row(
            "a look-up is never answered",
            (Rule(Hang(), method="GetObject", object="*/small-0", times=FOR_EVER),),
            requests=8,
            reader=Reader.NAMES,
            sees="ETIMEDOUT",
            mount=HASTY,
            counters={"unary_requests": 2},
        ),
        Row(
            "a listing is never answered",
            (Rule(Hang(), method="ListObjects", object="row-*/", times=FOR_EVER),),
            requests=8,
            reader=Reader.MANY,
            sees="ETIMEDOUT",
            mount=HASTY,
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
            "redirects in a loop",
            (Rule(Redirect(loop=True), method=_STREAM, times=FOR_EVER),),
            requests=60,
            sees="EIO or ETIMEDOUT",
            mount=HASTY,
            counters={"redirects": 8},
        ),
        *(
            Row(
                f"a read handle refused with {code.name}",
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
            "no metadata after an open with a handle",
            (
                Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=1_000_000),
                Rule(OmitMetadata(), method=_STREAM, resumed=True),
            ),
            requests=8,
            counters={"streams_reopened": 1},
        ),
        Row(
            "no metadata at all",
            (Rule(OmitMetadata(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"streams_failed": 0},
        ),
    ),
)

GROUPS = (_SLOW, _CUT, _ENDED, _SILENT, _REDIRECTED)
