"""Tests with random READs, answers, errors, cancels and closes: READs get the expected bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gcsmux_fs.model.errors import StorageError, Unavailable
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.block_states import BlockState
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.examples import examples
from tests.support.sizes import KIB, MIB

from .fakes import (
    ManualSource,
    RequestedRange,
    content_of,
    key_of,
    metrics_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.block_index import Block
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_request import ReadRequest

SIZES = {"tiny": 40 * KIB + 5, "small": 300 * KIB, "odd": 5 * MIB + 777, "wide": 40 * MIB}
BUDGET_BYTES = 2 * MIB
LARGEST_READ = BUDGET_BYTES // 16
LOADING_STATES = {
    BlockState.LOADING,
    BlockState.PREFETCHING,
    BlockState.PREFETCHING_RELEASED,
    BlockState.JOINED,
    BlockState.JOINED_RELEASED,
}


def blocks_of(context: ReadContext) -> list[Block]:
    return [
        block
        for index in context.resources.fetcher.objects.values()
        for page in index._pages.values()
        for block in page.blocks
    ]


class CheckingSource(ManualSource):
    """A source that fails the test if a new range overlaps a ready block or a pending range."""

    context: ReadContext

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RequestedRange:
        end = offset + length
        assert 0 <= offset < end <= SIZES[key.name]
        assert not any(
            other.key == key and other.offset < end and offset < other.span[1]
            for other in self.pending
        )
        for block in blocks_of(self.context):
            if block.index.key == key and block.content is not None:
                assert end <= block.start or block.end <= offset
        return super().request(key, offset, length, done, final=final)


@dataclass(eq=False)
class ObservedRead:
    """A READ and what its reader observes: how often it is woken, and the answer."""

    file: OpenFile
    offset: int
    end: int
    #: Number of times that the reader was woken.
    wakes: int = 0
    abandoned: bool = False
    request: ReadRequest | None = None

    def wake(self) -> None:
        assert self.request is not None
        assert self.request.is_done
        self.wakes += 1


class ReadPathMachine(RuleBasedStateMachine):
    files = Bundle("files")
    reads = Bundle("reads")

    def __init__(self) -> None:
        super().__init__()
        self.source = CheckingSource()
        self.context = ReadContext(
            self.source, budget_bytes=BUDGET_BYTES, read_ahead_bytes=MIB, clock=lambda: 0.0
        )
        self.source.context = self.context
        self.positions: dict[OpenFile, int] = {}
        self.open_reads: list[ObservedRead] = []

    @rule(target=files, name=st.sampled_from(sorted(SIZES)))
    def open(self, name: str) -> OpenFile:
        file = self.context.open(key_of(name), SIZES[name])
        self.positions[file] = 0
        return file

    @rule(file=consumes(files))
    def close(self, file: OpenFile) -> None:
        for read in self.open_reads:
            if read.file is file:
                self.abandon(read)
        file.close()

    @rule(
        target=reads,
        file=files,
        where=st.one_of(st.none(), st.integers(0, 40 * MIB)),
        size=st.sampled_from([1, 4096, 16 * KIB, 100_000, LARGEST_READ]),
    )
    def read(self, file: OpenFile, where: int | None, size: int) -> ObservedRead:
        return self.read_once(file, where, size)

    @rule(file=files, count=st.integers(1, 30))
    def stream(self, file: OpenFile, count: int) -> None:
        for _ in range(count):
            read = self.read_once(file, None, LARGEST_READ)
            if read.request is not None and not read.request.is_done:
                return

    def read_once(self, file: OpenFile, where: int | None, size: int) -> ObservedRead:
        offset = (self.positions[file] if where is None else where) % file.size
        end = min(offset + size, file.size)
        self.positions[file] = end
        read = ObservedRead(file, offset, end)
        answer = file.read_cached(offset, end - offset)
        if answer is not None:
            assert answer == content_of(file.key, offset, end - offset)
            return read
        read.request = file.begin(offset, end, read.wake)
        self.open_reads.append(read)
        if read.request.is_done:
            assert read.request.result() == content_of(file.key, offset, end - offset)
            read.abandoned = True
        return read

    @rule(file=files, count=st.integers(1, 20), first=st.integers(0, 40 * MIB))
    def read_in_parallel(self, file: OpenFile, count: int, first: int) -> None:
        for n in range(count):
            self.read_once(file, first + n * MIB, LARGEST_READ)

    @rule(read=reads)
    def abandon(self, read: ObservedRead) -> None:
        if read.request is not None and not read.request.is_done and not read.abandoned:
            read.file.abandon(read.request)
            read.abandoned = True

    @rule(file=files)
    def stop_read_ahead(self, file: OpenFile) -> None:
        file.stop_read_ahead()

    @rule(which=st.integers(0, 1000), count=st.integers(1, 8))
    def answer(self, which: int, count: int) -> None:
        for _ in range(count):
            if pending := self.source.pending:
                pending[which % len(pending)].settle()

    @rule(which=st.integers(0, 1000))
    def fail(self, which: int) -> None:
        if pending := self.source.pending:
            pending[which % len(pending)].settle(Unavailable("try again"))

    @rule(name=st.sampled_from(sorted(SIZES)))
    def forget(self, name: str) -> None:
        self.context.forget(lambda other: other == name)

    @invariant()
    def memory_stays_within_the_budget(self) -> None:
        budget, blocks = self.context.resources.budget, blocks_of(self.context)
        assert budget.used <= budget.limit
        assert budget.used == sum(block.charge for block in blocks)
        readahead_bytes = budget.loading_readahead + budget.loading_joined + budget.protected
        assert readahead_bytes <= budget.limit * 7 // 8
        ready = [block for block in blocks if block.content is not None]
        assert budget.unprotected == sum(
            block.charge for block in ready if not block.state.is_protected
        )
        assert budget.protected == sum(block.charge for block in ready if block.state.is_protected)
        assert len(self.context.resources.fetcher.cache) == len(ready)
        assert self.context.resources.fetcher.blocks_loading == len(blocks) - len(ready)

    @invariant()
    def blocks_are_disjoint_aligned_and_within_a_page(self) -> None:
        for index in self.context.resources.fetcher.objects.values():
            end = 0
            size = SIZES[index.key.name]
            for number in sorted(index._pages):
                page = index._pages[number]
                assert page.starts == [block.start for block in page.blocks]
                for block in page.blocks:
                    assert end <= block.start < block.end <= size
                    end = block.end
                    assert block.start % GRANULE_BYTES == 0
                    assert end % GRANULE_BYTES == 0 or end == size
                    assert block.start // PAGE_BYTES == (end - 1) // PAGE_BYTES == number
                    assert (block.content is None) == (block in index.loading)
                    assert (block.content is None) == (block.state in LOADING_STATES)

    @invariant()
    def every_reader_is_woken_once_and_gets_the_right_bytes(self) -> None:
        for read in self.open_reads:
            request = read.request
            assert request is not None
            if read.abandoned or not request.is_done:
                assert read.wakes == 0
                continue
            assert read.wakes == 1
            try:
                answer = request.result()
            except Unavailable:
                continue
            assert answer == content_of(read.file.key, read.offset, read.end - read.offset)
        self.open_reads = [r for r in self.open_reads if not (r.wakes or r.abandoned)]

    def teardown(self) -> None:
        self.source.settle_all()
        for read in self.open_reads:
            assert read.abandoned or (read.request is not None and read.request.is_done)
        for file in self.positions:
            file.close()
        metrics = metrics_of(self.context)
        assert (metrics["blocks_loading"], metrics["budget_in_flight"]) == (0, 0)
        assert (metrics["queued_reads"], metrics["open_files"]) == (0, 0)
        assert metrics["budget_unread"] == 0
        self.context.resources.fetcher.cache.evict(metrics["budget_used"])
        after = metrics_of(self.context)
        assert (after["budget_used"], after["blocks_ready"], after["objects"]) == (0, 0, 0)


TestReadPathMachine = ReadPathMachine.TestCase
TestReadPathMachine.settings = settings(
    max_examples=examples(60), stateful_step_count=60, deadline=None
)
