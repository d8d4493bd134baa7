"""A fake disk for the sans-IO modules of the tier. The test answers, like with `ManualSource`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_store import Presence
from gcsmux_fs.caching.write_behind import WriteReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.caching.write_queue import QueuedRange


@dataclass(eq=False)
class FakeRead:
    """A read that waits for its thread."""

    identity: bytes
    offset: int
    length: int
    answer: Callable[[Sequence[tuple[int, memoryview]] | Exception], None] = field(repr=False)
    is_open: bool = True
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = self.is_cancelled or self.is_open

    def find(self, *parts: tuple[int, bytes]) -> None:
        """Answer with the given parts, (offset, bytes)."""
        self.is_open = False
        self.answer([(offset, memoryview(content)) for offset, content in parts])

    def fail(self, error: Exception) -> None:
        self.is_open = False
        self.answer(error)


class FakeDisk:
    """Records what is asked of the disk."""

    def __init__(self) -> None:
        self.reads: list[FakeRead] = []
        self.batches: list[tuple[list[QueuedRange], Callable[[WriteReport], None]]] = []
        #: For each batch so far: whether the thread must not wait for the disk.
        self.behind: list[bool] = []
        self.checked: list[QueuedRange] = []
        self.differing: list[QueuedRange] = []
        self.touched: list[tuple[bytes, int]] = []
        #: What the kernel has in memory, by the offset of the range; other ranges are `elsewhere`.
        self.in_memory: dict[tuple[int, int], bytes] = {}
        self.elsewhere = Presence.UNKNOWN
        #: Whether the disk is known to have none of the long ranges.
        self.is_absent = False
        self.asked_now: list[tuple[int, int]] = []

    def read_now(
        self, identity: bytes, size: int, offset: int, length: int
    ) -> memoryview | Presence:
        self.asked_now.append((offset, length))
        content = self.in_memory.get((offset, length))
        return self.elsewhere if content is None else memoryview(content)

    def is_absent_now(self, identity: bytes, size: int, offset: int, length: int) -> bool:
        return self.is_absent

    def read(
        self,
        identity: bytes,
        size: int,
        offset: int,
        length: int,
        answer: Callable[[Sequence[tuple[int, memoryview]] | Exception], None],
    ) -> FakeRead:
        read = FakeRead(identity, offset, length, answer)
        self.reads.append(read)
        return read

    def touch(self, chunk: tuple[bytes, int]) -> None:
        self.touched.append(chunk)

    def write(
        self,
        batch: list[QueuedRange],
        answer: Callable[[WriteReport], None],
        *,
        is_behind: bool,
    ) -> None:
        self.batches.append((batch, answer))
        self.behind.append(is_behind)

    def check(self, queued: QueuedRange) -> None:
        self.checked.append(queued)

    def report_difference(self, queued: QueuedRange) -> None:
        self.differing.append(queued)

    def finish_writes(self, error: Exception | None = None) -> None:
        """Answer all batches, and those that are handed over meanwhile."""
        while self.batches:
            _, answer = self.batches.pop(0)
            answer(WriteReport([], error=error))
