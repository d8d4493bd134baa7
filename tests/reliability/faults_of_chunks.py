"""Rows with faults of content: chunks in the wrong place, wrong bytes, malformed messages."""

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
from tests.reliability.rows import SHORT, Group, Reader, Row
from tests.support.sizes import MIB

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"

_PLACES = Group(
    "Chunks in the wrong place",
    (
        Row(
            "every chunk is sent twice",
            (Rule(ChunkDuplicated(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"chunks_dropped": 1, "streams_failed": 0},
        ),
        Row(
            "a chunk is lost",
            # The first chunk must arrive, because it answers the open. If this chunk were lost, the
            # open would stop waiting before the stream counts as stalled.
            (Rule(ChunkDropped(), method=_STREAM, skip=1, times=2),),
            requests=10,
            mount=SHORT,
            counters={"streams_failed": 1},
        ),
        Row(
            "chunks are sent out of order",
            (Rule(ChunkSwapped(), method=_STREAM, times=5),),
            requests=10,
            counters={"gaps": 5, "ranges_resumed": 5, "streams_failed": 0},
        ),
        Row(
            "chunks overlap by one byte",
            (Rule(ChunkOverlaps(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"gaps": 0, "ranges_resumed": 0, "streams_failed": 0},
        ),
        Row(
            "chunks overlap by half of a chunk",
            (Rule(ChunkOverlaps(by_bytes=MIB), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"gaps": 0, "streams_failed": 0},
        ),
        Row(
            "a gap before some chunks",
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
            "every range is one byte too long",
            (Rule(ChunkTooLong(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"ranges_resumed": 0, "streams_failed": 0},
        ),
        Row(
            "chunks of a range that was not requested",
            (Rule(ChunkStray(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"chunks_dropped": 1, "streams_failed": 0},
        ),
        Row(
            "chunks with a negative read id",
            (Rule(ChunkStray(read_id=-1), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"chunks_dropped": 1, "streams_failed": 0},
        ),
        Row(
            "an empty chunk before every chunk",
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
            "range_end is never set",
            (Rule(ChunkWithoutEnd(), method=_STREAM, times=FOR_EVER),),
            requests=8,
            counters={"ranges_resumed": 0, "streams_failed": 0},
        ),
        Row(
            "range_end is set early and the rest is not sent",
            (Rule(ChunkEndsEarly(), method=_STREAM, times=5),),
            requests=10,
            counters={"ranges_resumed": 5, "streams_failed": 0},
        ),
        Row(
            "range_end is set early and the rest is sent afterwards",
            (Rule(ChunkEndsEarly(rest=True), method=_STREAM, times=5),),
            requests=10,
            counters={"ranges_resumed": 5, "chunks_dropped": 5, "streams_failed": 0},
        ),
        Row(
            "range_end is always set early",
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
            "one wrong CRC",
            (Rule(ChunkWrongCrc(), method=_STREAM),),
            requests=8,
            counters={"checksum_failures": 1, "ranges_resumed": 1, "ranges_failed": 0},
        ),
        Row(
            "one chunk in four has a wrong CRC, during random reads",
            (Rule(ChunkWrongCrc(), method=_STREAM, times=12, probability=0.25),),
            requests=10,
            reader=Reader.RANDOM,
            counters={"checksum_failures": 1, "ranges_failed": 0},
        ),
        Row(
            "every CRC is wrong",
            (Rule(ChunkWrongCrc(), method=_STREAM, times=FOR_EVER),),
            requests=10,
            sees="EIO",
            counters={"checksum_failures": 8, "ranges_failed": 1},
        ),
        Row(
            "one flipped bit",
            (Rule(ChunkCorrupted(), method=_STREAM),),
            requests=8,
            counters={"checksum_failures": 1, "ranges_failed": 0},
        ),
        Row(
            "a flipped bit at one offset, in every answer",
            (Rule(ChunkCorrupted(), method=_STREAM, covers=25 * 65536 + 32768, times=FOR_EVER),),
            requests=12,
            reader=Reader.RANDOM,
            sees="EIO",
            counters={"checksum_failures": 8, "ranges_failed": 1, "ranges_delivered": 10},
        ),
        Row(
            "no chunk has a CRC",
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
            "every message of every stream is malformed",
            (Rule(Malformed(), method=_STREAM, times=FOR_EVER),),
            requests=30,
            sees="EIO or ETIMEDOUT",
            mount=SHORT,
            counters={"streams_failed": 5},
        ),
        *(
            Row(
                f"{what} is malformed: {how}",
                (Rule(Malformed(how), method=method, object=pattern, times=2),),
                requests=16,
                reader=Reader.NAMES,
                counters={"unary_requests": 5},
            )
            for what, method, pattern in (
                ("a lookup", "ListObjects", "*/small-0"),
                ("a listing", "ListObjects", "row-*/"),
            )
            for how in MalformedKind
        ),
        Row(
            "messages with 5 MiB of unknown fields",
            (Rule(Padded(), method=_STREAM, at=InjectionPoint.CHUNK, times=3),),
            requests=8,
            counters={"streams_failed": 0},
        ),
        Row(
            "a message of 17 MiB, above the size limit",
            (Rule(Padded(by_bytes=17 * MIB), method=_STREAM, at=InjectionPoint.CHUNK),),
            requests=8,
            counters={"streams_reopened": 1, "ranges_failed": 0},
        ),
    ),
)

GROUPS = (_PLACES, _CONTENT, _MESSAGES)
