"""Replays traces on the real read path, in virtual time: `python -m tests.traces.replay FILE...`.

Theory of operation: a READ of the trace is sent when the READs before which it was not sent in the
recording have been answered. So a slow answer delays the later READs, as in a real program. The
service is a `Link`. The time for which the link transfers nothing, divided by the round trip, is
the number of round trips that the program waited for.
"""

from __future__ import annotations

import argparse
import collections
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio.testing

from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.measured_source import MeasuredSource
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.settings.defaults import DEFAULT_MEMORY_BYTES
from tests.traces.link import Link, LinkSource, content_at
from tests.traces.trace_file import Close, Open, Read, Trace, parse_trace

if TYPE_CHECKING:
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_request import ReadRequest
    from tests.traces.link import Transfer

__all__ = ["ReplayResult", "replay"]


@dataclass(frozen=True)
class ReplayResult:
    """What a replay cost."""

    #: Virtual seconds until the last READ was answered.
    seconds: float
    #: Seconds in which the link transferred nothing, divided by the round trip.
    round_trips: float
    bytes_read: int
    bytes_asked: int
    #: Bytes asked that no READ contains, and bytes asked again.
    bytes_wasted: int
    #: Bytes asked again.
    bytes_asked_again: int
    #: The most bytes that the memory budget counted at one time.
    peak_bytes: int

    @property
    def asked_factor(self) -> float:
        """Bytes asked, divided by the bytes of all READs."""
        return self.bytes_asked / max(1, self.bytes_read)


def replay(
    trace: Trace, link: Link | None = None, *, budget_bytes: int = DEFAULT_MEMORY_BYTES
) -> ReplayResult:
    """Replay a trace, compare all bytes of the answers, and return what the replay cost."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(_Replay(trace, link or Link(), budget_bytes).run, clock=clock)


class _Replay:
    """One replay. An event is ready when it waits for no answer and for no event of its thread."""

    def __init__(self, trace: Trace, link: Link, budget_bytes: int) -> None:
        self._trace = trace
        self._link = link
        self._budget_bytes = budget_bytes
        self._files: dict[int, OpenFile] = {}
        self._sent: list[bool] = [False] * len(trace.events)
        #: For each event: the events that wait until it is answered.
        self._followers: list[list[int]] = [[] for _ in trace.events]
        #: For each event: the next event of the same thread.
        self._successor: dict[int, int] = {}
        #: For each event: how many answers and events it waits for.
        self._missing: list[int] = [0] * len(trace.events)
        self._unanswered = len(trace.events)
        self._ready: collections.deque[int] = collections.deque()
        self._requests: dict[int, ReadRequest] = {}
        #: The events whose requests are done.
        self._woken: collections.deque[int] = collections.deque()
        #: Set when a task or an answer has changed something.
        self._news = trio.Event()
        self._peak = 0
        self._link_dependencies()

    def _link_dependencies(self) -> None:
        last_of_thread: dict[int, int] = {}
        events_of_file: dict[int, list[int]] = collections.defaultdict(list)
        for index, event in enumerate(self._trace.events):
            if isinstance(event, Close):
                after: tuple[int, ...] = tuple(events_of_file.pop(event.file))
            else:
                after = event.after
                previous = last_of_thread.get(event.thread)
                if previous is not None:
                    self._successor[previous] = index
                    self._missing[index] += 1
                last_of_thread[event.thread] = index
                events_of_file[event.file].append(index)
            for each in after:
                self._followers[each].append(index)
            self._missing[index] += len(after)
            if not self._missing[index]:
                self._ready.append(index)

    async def run(self) -> ReplayResult:
        estimator = BandwidthEstimator()
        source = LinkSource(self._link, self._note_peak)
        self._context = ReadContext(
            MeasuredSource(source, estimator, trio.current_time),
            estimator,
            budget_bytes=self._budget_bytes,
        )
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(source.run)
            self._send_ready()
            while self._unanswered:
                await self._news.wait()
                self._news = trio.Event()
                self._take_answers()
                self._send_ready()
            ended = trio.current_time()
            nursery.cancel_scope.cancel()
        for file in self._files.values():
            file.close()
        budget = self._context.resources.budget
        assert budget.in_flight == budget.protected == 0, "closed files hold blocks"
        return self._result(source.transfers, began, ended)

    def _note_peak(self) -> None:
        self._peak = max(self._peak, self._context.resources.budget.used)

    def _send_ready(self) -> None:
        while self._ready:
            index = self._ready.popleft()
            event = self._trace.events[index]
            if isinstance(event, Open):
                self._nursery.start_soon(self._open, index, event)
            elif isinstance(event, Close):
                self._files.pop(event.file).close()
                self._answered(index)
            elif event.think_seconds:
                self._nursery.start_soon(self._think, index, event)
            else:
                self._read(index, event)
            successor = self._successor.get(index)
            if successor is not None:
                self._fulfil(successor)

    async def _open(self, index: int, event: Open) -> None:
        size = self._trace.objects[event.object_name]
        file = self._context.open(ObjectKey("bucket", event.object_name, 1), size)
        self._files[event.file] = file
        await file.ask_first(event.thread)
        self._answered(index)
        self._news.set()

    async def _think(self, index: int, event: Read) -> None:
        await trio.sleep(event.think_seconds)
        self._read(index, event)
        self._news.set()

    def _read(self, index: int, event: Read) -> None:
        file = self._files[event.file]
        content = file.read_cached(event.offset, event.length)
        if content is None:
            # A task for each READ would take the answers in a random order, because trio runs the
            # tasks of one tick in a random order. With `begin`, each replay has the same result.
            request = file.begin(
                event.offset,
                min(event.offset + event.length, file.size),
                functools.partial(self._wake, index),
            )
            self._requests[index] = request
            if request.is_done:
                self._wake(index)
            return
        self._check(index, content)

    def _wake(self, index: int) -> None:
        self._woken.append(index)
        self._news.set()

    def _take_answers(self) -> None:
        while self._woken:
            index = self._woken.popleft()
            self._check(index, self._requests.pop(index).result())

    def _check(self, index: int, content: memoryview | bytes) -> None:
        """Compare the answer to a READ with the object."""
        event = self._trace.events[index]
        assert isinstance(event, Read)
        length = max(0, min(event.length, self._files[event.file].size - event.offset))
        # Bytes are compared faster than memoryviews, although they are copies.
        assert bytes(content) == bytes(content_at(event.offset, length)), event
        self._answered(index)

    def _answered(self, index: int) -> None:
        for follower in self._followers[index]:
            self._fulfil(follower)
        self._unanswered -= 1

    def _fulfil(self, index: int) -> None:
        self._missing[index] -= 1
        if not self._missing[index]:
            self._ready.append(index)

    def _result(self, transfers: list[Transfer], began: float, ended: float) -> ReplayResult:
        asked = sum(each.length for each in transfers)
        busy = sum(max(0.0, min(each.end, ended) - each.begin) for each in transfers)
        names = {
            event.file: event.object_name for event in self._trace.events if isinstance(event, Open)
        }
        spans = [(each.key.name, each.offset, each.offset + each.length) for each in transfers]
        used = _overlap_bytes(
            spans,
            [
                (names[event.file], event.offset, event.offset + event.length)
                for event in self._trace.events
                if isinstance(event, Read)
            ],
        )
        return ReplayResult(
            seconds=ended - began,
            round_trips=(ended - began - busy) / self._link.round_trip_seconds,
            bytes_read=self._trace.bytes_read,
            bytes_asked=asked,
            bytes_wasted=asked - used,
            bytes_asked_again=asked - sum(end - start for _, start, end in _merged(spans)),
            peak_bytes=self._peak,
        )


_Span = tuple[str, int, int]


def _overlap_bytes(asked: list[_Span], read: list[_Span]) -> int:
    """Return how many different bytes are in both lists of (name, start, end)."""
    total = 0
    parts = iter(_merged(read))
    part = next(parts, None)
    for name, start, end in _merged(asked):
        while part is not None and (part[0], part[2]) <= (name, start):
            part = next(parts, None)
        while part is not None and (part[0], part[1]) < (name, end):
            total += min(end, part[2]) - max(start, part[1])
            if part[2] > end:
                break
            part = next(parts, None)
    return total


def _merged(spans: list[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for name, start, end in sorted(spans):
        if merged and merged[-1][0] == name and merged[-1][2] >= start:
            merged[-1] = (name, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((name, start, end))
    return merged


def main() -> None:
    """Print one line for each trace."""
    parser = argparse.ArgumentParser(description="Replay traces of READs in virtual time.")
    parser.add_argument("traces", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--round-trip", type=float, default=20, help="milliseconds (20)")
    parser.add_argument("--bandwidth", type=float, default=600, help="MB per second (600)")
    arguments = parser.parse_args()
    link = Link(arguments.round_trip / 1000, arguments.bandwidth * 1e6)
    print(
        f"{'trace':44} {'READs':>6} {'MB read':>8} {'seconds':>8} {'trips':>6}"
        f" {'MB asked':>9} {'factor':>6} {'MB wasted':>9} {'MB peak':>8}"
    )
    for path in arguments.traces:
        try:
            trace = parse_trace(path.read_text())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            parser.error(f"cannot replay {path}: {reason}; tests/traces/README.md has the format.")
        result = replay(trace, link)
        reads = sum(isinstance(event, Read) for event in trace.events)
        print(
            f"{path.stem:44} {reads:6} {result.bytes_read / 1e6:8.2f} {result.seconds:8.3f}"
            f" {result.round_trips:6.1f} {result.bytes_asked / 1e6:9.2f}"
            f" {result.asked_factor:6.2f} {result.bytes_wasted / 1e6:9.2f}"
            f" {result.peak_bytes / 1e6:8.2f}"
        )


if __name__ == "__main__":
    main()
