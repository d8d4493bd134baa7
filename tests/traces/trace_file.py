"""Trace files: the OPENs, READs and CLOSEs that the kernel sent for one program (see README.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Close", "Event", "Open", "Read", "Trace", "parse_trace"]


@dataclass(frozen=True, slots=True)
class Open:
    """An OPEN of an object; `file` is the number of the open file in the later events."""

    file: int
    object_name: str
    thread: int = 0
    #: Indexes of the events that must have been answered before this event is sent.
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """A READ of `length` bytes at `offset`."""

    file: int
    offset: int
    length: int
    thread: int = 0
    after: tuple[int, ...] = ()
    #: Seconds between the last of these answers and this READ, in which the program computed.
    think_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """The end of an open file. It is sent when all earlier READs of the file are answered."""

    file: int


Event = Open | Read | Close


@dataclass(frozen=True)
class Trace:
    """The events of one run of a program, in the order in which the kernel sent them."""

    program: str
    #: The kernel's readahead window in bytes.
    kernel_window: int
    #: The size of each object in bytes, by name.
    objects: dict[str, int]
    events: list[Event] = field(default_factory=list)

    @property
    def bytes_read(self) -> int:
        """Sum of the lengths of all READs."""
        return sum(event.length for event in self.events if isinstance(event, Read))

    def write(self, path: Path) -> None:
        """Write the trace to a file."""
        header = {
            "program": self.program,
            "kernel_window": self.kernel_window,
            "objects": self.objects,
        }
        lines = [json.dumps(header), *map(_format_event, self.events)]
        path.write_text("\n".join(lines) + "\n")


def parse_trace(text: str) -> Trace:
    """Parse the text of a trace file.

    Raises:
        ValueError: the text is not a trace. The error message has the number of the line.
    """
    header, *lines = text.splitlines() or [""]
    try:
        fields = json.loads(header)
        trace = Trace(str(fields["program"]), int(fields["kernel_window"]), dict(fields["objects"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("line 1 is not the header of a trace") from error
    for number, line in enumerate(lines, 2):
        try:
            event = _parse_event(line.split())
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number} of the trace is not an event: {line!r}") from error
        if not isinstance(event, Close) and any(each >= number - 2 for each in event.after):
            raise ValueError(f"line {number} of the trace waits for a later line: {line!r}")
        trace.events.append(event)
    return trace


def _parse_event(words: list[str]) -> Event:
    kind, file = words[0], int(words[1])
    if kind == "open":
        return Open(file, words[2], int(words[3]), _parse_lines(words[4]))
    if kind == "read":
        think_seconds = float(words[6]) / 1000 if len(words) > 6 else 0.0
        offset, length, thread = map(int, words[2:5])
        return Read(file, offset, length, thread, _parse_lines(words[5]), think_seconds)
    if kind == "close":
        return Close(file)
    raise ValueError(kind)


def _format_event(event: Event) -> str:
    if isinstance(event, Close):
        return f"close {event.file}"
    after = _format_lines(event.after)
    if isinstance(event, Open):
        return f"open {event.file} {event.object_name} {event.thread} {after}"
    line = f"read {event.file} {event.offset} {event.length} {event.thread} {after}"
    return line + (f" {event.think_seconds * 1000:.0f}" if event.think_seconds else "")


# The first event is in line 2 of the file, and has index 0.


def _parse_lines(text: str) -> tuple[int, ...]:
    if text == "-":
        return ()
    indexes: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        indexes.extend(range(int(first) - 2, int(last or first) - 1))
    return tuple(indexes)


def _format_lines(indexes: Iterable[int]) -> str:
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    texts = [f"{first + 2}" + (f"-{last + 2}" if last > first else "") for first, last in parts]
    return ",".join(texts) or "-"
