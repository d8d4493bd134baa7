"""Chunks that are not what was asked for, and messages that are none."""

from __future__ import annotations

from gcsmux_fs.emulator.faults import (
    ChunkCorrupted,
    ChunkDropped,
    ChunkDuplicated,
    ChunkEmpty,
    ChunkEndsEarly,
    ChunkGap,
    ChunkOverlaps,
    ChunkStray,
    ChunkSwapped,
    ChunkTooLong,
    ChunkWithoutCrc,
    ChunkWithoutEnd,
    ChunkWrongCrc,
    EmptyMessage,
    InjectionPoint,
    Malformed,
    MalformedKind,
    Padded,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.reliability.rows import HASTY, Group, Reader, Row

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"
_MIB = 1024 * 1024

_PLACES = Group(
    "Chunks that come otherwise than asked for",
    (
        Row(
            "every chunk twice",
            (Rule(ChunkDuplicated(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"chunks_dropped": 1, "streams_failed": 0},
        ),
        Row(
            "a chunk that does not come",
            # The first chunk answers the open, which gives up waiting before the stream stalls.
            (Rule(ChunkDropped(), method=_STREAM, skip=1, times=2),),
            requests=10,
            mount=HASTY,
            counters={"streams_failed": 1},
        ),
        Row(
            "chunks out of order",
            (Rule(ChunkSwapped(), method=_STREAM, times=5),),
            requests=10,
            counters={"gaps": 5, "ranges_resumed": 5, "streams_failed": 0},
        ),
        Row(
            "chunks that overlap, by one byte",
            (Rule(ChunkOverlaps(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"gaps": 0, "ranges_resumed": 0, "streams_failed": 0},
        ),
        Row(
            "chunks that overlap, by half",
            (Rule(ChunkOverlaps(by_bytes=_MIB), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"gaps": 0, "streams_failed": 0},
        ),
        Row(
            "chunks with a gap before them",
            (Rule(ChunkGap(), method=_STREAM, times=5),),
            requests=10,
            counters={"gaps": 1, "ranges_resumed": 5, "streams_failed": 0},
        ),
        Row(
            "a gap before every chunk",
            (Rule(ChunkGap(), method=_STREAM, times=FOR_EVER),),
            requests=10,
            sees="EIO",
            counters={"gaps": 8, "ranges_failed": 1},
        ),
        Row(
            "every range one byte too long",
            (Rule(ChunkTooLong(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"ranges_resumed": 0, "streams_failed": 0},
        ),
        Row(
            "chunks of a range that nobody asked for",
            (Rule(ChunkStray(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"chunks_dropped": 1, "streams_failed": 0},
        ),
        Row(
            "chunks of a range with a negative number",
            (Rule(ChunkStray(read_id=-1), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"chunks_dropped": 1, "streams_failed": 0},
        ),
        Row(
            "an empty chunk before every other",
            (Rule(ChunkEmpty(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "an empty message before every chunk",
            (Rule(EmptyMessage(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "no range_end, ever",
            (Rule(ChunkWithoutEnd(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"ranges_resumed": 0, "streams_failed": 0},
        ),
        Row(
            "range_end early, and nothing after it",
            (Rule(ChunkEndsEarly(), method=_STREAM, times=5),),
            requests=10,
            counters={"ranges_resumed": 5, "streams_failed": 0},
        ),
        Row(
            "range_end early, and the rest after it",
            (Rule(ChunkEndsEarly(rest=True), method=_STREAM, times=5),),
            requests=10,
            counters={"ranges_resumed": 5, "chunks_dropped": 5, "streams_failed": 0},
        ),
        Row(
            "range_end early, for ever",
            (Rule(ChunkEndsEarly(), method=_STREAM, times=FOR_EVER),),
            requests=10,
            sees="EIO",
            counters={"ranges_resumed": 10, "streams_failed": 0},
        ),
    ),
)

_CONTENT = Group(
    "Content and its checksum",
    (
        Row(
            "a wrong CRC once",
            (Rule(ChunkWrongCrc(), method=_STREAM),),
            requests=8,
            counters={"checksum_failures": 1, "ranges_resumed": 1, "ranges_failed": 0},
        ),
        Row(
            "one chunk in four with a wrong CRC, under readers at random",
            (Rule(ChunkWrongCrc(), method=_STREAM, times=12, probability=0.25),),
            requests=10,
            reader=Reader.RANDOM,
            counters={"checksum_failures": 1, "ranges_failed": 0},
        ),
        Row(
            "a wrong CRC for ever",
            (Rule(ChunkWrongCrc(), method=_STREAM, times=FOR_EVER),),
            requests=10,
            sees="EIO",
            counters={"checksum_failures": 8, "ranges_failed": 1},
        ),
        Row(
            "a flipped bit once",
            (Rule(ChunkCorrupted(), method=_STREAM),),
            requests=8,
            counters={"checksum_failures": 1, "ranges_failed": 0},
        ),
        Row(
            "a flipped bit in one place, for ever",
            (Rule(ChunkCorrupted(), method=_STREAM, covers=25 * 65536 + 32768, times=FOR_EVER),),
            requests=12,
            reader=Reader.RANDOM,
            sees="EIO",
            counters={"checksum_failures": 8, "ranges_failed": 1, "ranges_delivered": 10},
        ),
        Row(
            "no CRC at all",
            (Rule(ChunkWithoutCrc(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"checksum_failures": 0},
        ),
    ),
)

_MESSAGES = Group(
    "Malformed and oversized messages",
    (
        *(
            Row(
                f"a stream's first message is malformed: {how}",
                (Rule(Malformed(how), method=_STREAM),),
                requests=8,
                counters={"streams_reopened": 1, "ranges_failed": 0},
            )
            for how in MalformedKind
        ),
        *(
            Row(
                f"messages with content are malformed: {how}",
                (Rule(Malformed(how), method=_STREAM, at=InjectionPoint.CHUNK, times=4),),
                requests=12,
                counters={"streams_reopened": 1, "ranges_failed": 0},
            )
            for how in MalformedKind
        ),
        Row(
            "every message of streams is malformed",
            (Rule(Malformed(), method=_STREAM, times=FOR_EVER),),
            requests=30,
            sees="EIO or ETIMEDOUT",
            mount=HASTY,
            counters={"streams_failed": 5},
        ),
        *(
            Row(
                f"{what} is malformed: {how}",
                (Rule(Malformed(how), method=method, object=pattern, times=2),),
                requests=16,
                reader=Reader.NAMES,
                counters={"unary_requests": 7},
            )
            for what, method, pattern in (
                ("an object", "GetObject", "*/small-0"),
                ("a listing", "ListObjects", "row-*/"),
            )
            for how in MalformedKind
        ),
        Row(
            "messages with 5 MiB that nobody knows",
            (Rule(Padded(), method=_STREAM, at=InjectionPoint.CHUNK, times=3),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "a message of 17 MiB, which is not taken in",
            (Rule(Padded(by_bytes=17 * _MIB), method=_STREAM, at=InjectionPoint.CHUNK),),
            requests=8,
            counters={"streams_reopened": 1, "ranges_failed": 0},
        ),
    ),
)

GROUPS = (_PLACES, _CONTENT, _MESSAGES)
