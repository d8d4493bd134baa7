"""The row with many random faults at once. Its seed is fixed, so each run has the same faults."""

from __future__ import annotations

from gcsmux_fs.emulator.faults import (
    ChunkCorrupted,
    ChunkDuplicated,
    ChunkEndsEarly,
    ChunkGap,
    ChunkSwapped,
    ChunkWrongCrc,
    Delay,
    EndOk,
    InjectionPoint,
    Malformed,
    RangeError,
    Redirect,
    Status,
)
from gcsmux_fs.emulator.injection.rules import Rule
from gcsmux_fs.model.errors import StatusCode
from tests.reliability.rows import Group, Reader, Row

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"


_TOGETHER = Group(
    "Many faults at once",
    (
        Row(
            "streams are cut, redirected and ended, and chunks are corrupted in every way",
            (
                Rule(
                    Delay(0.0, jitter_seconds=0.02),
                    method=_STREAM,
                    at=InjectionPoint.CHUNK,
                    times=20,
                ),
                Rule(Redirect(), method=_STREAM),
                Rule(
                    Status(StatusCode.UNAVAILABLE),
                    method=_STREAM,
                    at=InjectionPoint.CONTENT,
                    after_bytes=200_000,
                    times=3,
                    name="cut",
                ),
                Rule(
                    EndOk(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=300_000, times=2
                ),
                Rule(RangeError(StatusCode.INTERNAL), method=_STREAM, nth=5, times=2),
                *(
                    Rule(fault, method=_STREAM, at=InjectionPoint.CHUNK, times=2, probability=0.5)
                    for fault in (
                        ChunkWrongCrc(),
                        ChunkCorrupted(),
                        ChunkDuplicated(),
                        ChunkSwapped(),
                        ChunkGap(),
                        ChunkEndsEarly(),
                        Malformed(),
                    )
                ),
            ),
            requests=30,
            reader=Reader.RANDOM,
            counters={"streams_reopened": 3, "checksum_failures": 1, "ranges_failed": 0},
        ),
    ),
)

GROUPS = (_TOGETHER,)
