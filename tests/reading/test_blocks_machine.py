"""Any order of READs, answers, failures, cancellations and closes against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gcsmux_fs.model.errors import StorageError, Unavailable
from gcsmux_fs.reading.block_index import GRANULE_BYTES, PAGE_BYTES, Block
from gcsmux_fs.reading.read_context import ReadContext

from .fakes import KIB, MIB, Asked, ManualSource, content_of, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_request import ReadRequest

SIZES = {"tiny": 40 * KIB + 5, "small": 300 * KIB, "odd": 5 * MIB + 777, "wide": 40 * MIB}
BUDGET_BYTES = 2 * MIB
LARGEST_READ = BUDGET_BYTES // 16


def blocks_of(path: ReadContext) -> list[Block]:
    return [
        block
        for extents in path.fetcher._objects.values()
        for page in extents._pages.values()
        for block in page.blocks
    ]


class CheckingSource(ManualSource):
    """Refuses to be asked for bytes that are present or on their way."""

    path: ReadContext

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        covers_object: bool = False,
        reaches_end: bool = False,
    ) -> Asked:
        end = offset + length
        assert 0 <= offset < end <= SIZES[key.name]
        assert not any(
            other.key == key and other.offset < end and offset < other.span[1]
            for other in self.pending
        )
        for block in blocks_of(self.path):
            if block.object.key == key and block.content is not None:
                assert end <= block.start or block.end <= offset
        return super().request(
            key, offset, length, done, covers_object=covers_object, reaches_end=reaches_end
        )


@dataclass(eq=False)
class Reading:
    """A READ under way, as its reader sees it."""

    file: OpenFile
    offset: int
    end: int
    wakes: int = 0
    abandoned: bool = False
    demand: ReadRequest | None = None

    def wake(self) -> None:
        assert self.demand is not None
        assert self.demand.is_done
        self.wakes += 1


class ReadPathMachine(RuleBasedStateMachine):
    files = Bundle("files")
    readings = Bundle("readings")

    def __init__(self) -> None:
        super().__init__()
        self.source = CheckingSource()
        self.path = ReadContext(
            self.source, budget_bytes=BUDGET_BYTES, read_ahead_bytes=MIB, clock=lambda: 0.0
        )
        self.source.path = self.path
        self.positions: dict[OpenFile, int] = {}
        self.all_readings: list[Reading] = []
        self.failed: set[str] = set()

    @rule(target=files, name=st.sampled_from(sorted(SIZES)))
    def open(self, name: str) -> OpenFile:
        file = self.path.open(key_of(name), SIZES[name])
        self.positions[file] = 0
        return file

    @rule(file=consumes(files))
    def close(self, file: OpenFile) -> None:
        for reading in self.all_readings:
            if reading.file is file:
                self.abandon(reading)
        file.close()

    @rule(
        target=readings,
        file=files,
        where=st.one_of(st.none(), st.integers(0, 40 * MIB)),
        size=st.sampled_from([1, 4096, 16 * KIB, 100_000, LARGEST_READ]),
    )
    def read(self, file: OpenFile, where: int | None, size: int) -> Reading:
        return self.read_once(file, where, size)

    @rule(file=files, count=st.integers(1, 30))
    def stream(self, file: OpenFile, count: int) -> None:
        for _ in range(count):
            reading = self.read_once(file, None, LARGEST_READ)
            if reading.demand is not None and not reading.demand.is_done:
                return

    def read_once(self, file: OpenFile, where: int | None, size: int) -> Reading:
        offset = (self.positions[file] if where is None else where) % file.size
        end = min(offset + size, file.size)
        self.positions[file] = end
        reading = Reading(file, offset, end)
        answer = file.read_cached(offset, end - offset)
        if answer is not None:
            assert answer == content_of(file.key, offset, end - offset)
            return reading
        reading.demand = file.begin(offset, end, reading.wake)
        self.all_readings.append(reading)
        if reading.demand.is_done:
            assert reading.demand.result() == content_of(file.key, offset, end - offset)
            reading.abandoned = True
        return reading

    @rule(file=files, count=st.integers(1, 20), first=st.integers(0, 40 * MIB))
    def read_in_parallel(self, file: OpenFile, count: int, first: int) -> None:
        for n in range(count):
            self.read_once(file, first + n * MIB, LARGEST_READ)

    @rule(reading=readings)
    def abandon(self, reading: Reading) -> None:
        if reading.demand is not None and not reading.demand.is_done and not reading.abandoned:
            reading.file.abandon(reading.demand)
            reading.abandoned = True

    @rule(which=st.integers(0, 1000), count=st.integers(1, 8))
    def answer(self, which: int, count: int) -> None:
        for _ in range(count):
            if pending := self.source.pending:
                pending[which % len(pending)].settle()

    @rule(which=st.integers(0, 1000))
    def fail(self, which: int) -> None:
        if pending := self.source.pending:
            pending[which % len(pending)].settle(Unavailable("try again"))

    @invariant()
    def memory_stays_within_the_budget(self) -> None:
        budget, blocks = self.path.budget, blocks_of(self.path)
        assert budget.used <= budget.limit
        assert budget.used == sum(block.charge for block in blocks)
        ahead = budget.loading_readahead + budget.loading_joined + budget.unread
        assert ahead <= budget.limit * 7 // 8
        ready = [block for block in blocks if block.content is not None]
        assert budget.seen == sum(block.charge for block in ready if not block.protected)
        assert budget.unread == sum(block.charge for block in ready if block.protected)
        assert len(self.path.fetcher.cache) == len(ready)
        assert self.path.fetcher.blocks_loading == len(blocks) - len(ready)

    @invariant()
    def blocks_are_disjoint_aligned_and_within_a_page(self) -> None:
        for extents in self.path.fetcher._objects.values():
            end = 0
            size = SIZES[extents.key.name]
            for number in sorted(extents._pages):
                page = extents._pages[number]
                assert page.starts == [block.start for block in page.blocks]
                for block in page.blocks:
                    assert end <= block.start < block.end <= size
                    end = block.end
                    assert block.start % GRANULE_BYTES == 0
                    assert end % GRANULE_BYTES == 0 or end == size
                    assert block.start // PAGE_BYTES == (end - 1) // PAGE_BYTES == number
                    assert (block.content is None) == (block in extents.loading)

    @invariant()
    def every_reader_hears_once_and_reads_the_right_bytes(self) -> None:
        for reading in self.all_readings:
            demand = reading.demand
            assert demand is not None
            if reading.abandoned or not demand.is_done:
                assert reading.wakes == 0
                continue
            assert reading.wakes == 1
            try:
                answer = demand.result()
            except Unavailable:
                continue
            assert answer == content_of(
                reading.file.key, reading.offset, reading.end - reading.offset
            )
        self.all_readings = [r for r in self.all_readings if not (r.wakes or r.abandoned)]

    def teardown(self) -> None:
        self.source.settle_all()
        for reading in self.all_readings:
            assert reading.abandoned or (reading.demand is not None and reading.demand.is_done)
        for file in self.positions:
            file.close()
        statistics = self.path.statistics()
        assert (statistics.blocks_loading, statistics.budget_in_flight) == (0, 0)
        assert (statistics.queued_reads, statistics.open_files) == (0, 0)
        assert statistics.budget_unread == 0
        self.path.fetcher.cache.evict(statistics.budget_used)
        after = self.path.statistics()
        assert (after.budget_used, after.blocks_ready, after.objects) == (0, 0, 0)


TestReadPathMachine = ReadPathMachine.TestCase
TestReadPathMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
