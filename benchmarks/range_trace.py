"""The format of traces of ranges: what the block cache of a mount requested while programs ran.

A trace file is compressed with xz. The first line is a JSON object: `program`, and `sizes`, the
sizes of the objects in bytes. Each further line is one request, in order: number of the object,
offset and length in granules of 16 KiB, and milliseconds since the last request. Zeros at the end
of a line are left out.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GRANULE_BYTES", "RangeTrace", "RequestedRange", "read_trace", "write_trace"]

GRANULE_BYTES = 16 * 1024


class RequestedRange(NamedTuple):
    """A request: number of the object, first granule, number of granules, time in seconds."""

    number: int
    first: int
    granules: int
    at: float


@dataclass(frozen=True)
class RangeTrace:
    """The requests of one program on objects of some sizes."""

    program: str
    sizes: list[int]
    requests: list[RequestedRange]


def read_trace(path: Path) -> RangeTrace:
    """Read a trace file."""
    header, *lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    described = json.loads(header)
    requests = []
    milliseconds = 0
    for line in lines:
        number, first, count, later = ([*map(int, line.split()), 0, 0, 0])[:4]
        milliseconds += later
        requests.append(RequestedRange(number, first, count + 1, milliseconds / 1000))
    return RangeTrace(described["program"], described["sizes"], requests)


def write_trace(path: Path, trace: RangeTrace) -> None:
    """Write a trace file."""
    lines = [json.dumps({"program": trace.program, "sizes": trace.sizes})]
    last = 0
    for number, first, count, at in trace.requests:
        milliseconds = round(at * 1000)
        fields = [number, first, count - 1, milliseconds - last]
        last = milliseconds
        while len(fields) > 1 and not fields[-1]:
            fields.pop()
        lines.append(" ".join(map(str, fields)))
    text = "\n".join(lines).encode()
    path.write_bytes(lzma.compress(text, preset=lzma.PRESET_EXTREME | 9))
