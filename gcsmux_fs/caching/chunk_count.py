"""Compares the ledger with the chunk files on disk, some files at a time.

A pass visits all directories of chunks, section by section. It adds chunks that the ledger does not
have, which another mount could not record, and removes chunks whose files no longer exist. At the
end of a pass, the sum of the disk space corrects the usage table.

Mounts write and evict during a pass. A directory is counted at its own moment, so the sum belongs
to no single moment. But the chunks are spread evenly over the directories: the sum differs from the
mean of the table, over the moments of all directories, by the error of the table, and by a random
difference. The directories are visited in a random order, so that a program that reads an object
from start to end, and so fills one directory after the other, does not write in the same order.
Each chunk that was written or evicted during the pass adds a variance of at most a
sixth of the square of its size. A difference of three standard deviations or less says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, SHARDS, chunk_of_name
from gcsmux_fs.caching.ledger_sections import SECTION_CHUNKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from gcsmux_fs.caching.cache_files import CacheFiles, FileStatus
    from gcsmux_fs.caching.chunk_format import ChunkId
    from gcsmux_fs.caching.ledger_files import LedgerFiles
    from gcsmux_fs.caching.ledger_sections import Section
    from gcsmux_fs.caching.usage_table import UsageTable

__all__ = ["ChunkCount"]

# Number of files after which the time is checked.
_AT_LEAST = 16


class ChunkCount:
    """One pass.

    Args:
        files: the cache directory.
        ledger: the ledger to compare and to correct.
        usage: returns the usage table.
        random: chooses the order.
    """

    def __init__(
        self,
        files: CacheFiles,
        ledger: LedgerFiles,
        usage: Callable[[], UsageTable],
        random: Random,
    ) -> None:
        self._files = files
        self._ledger = ledger
        self._usage = usage
        self._moved_bytes = usage().moved_bytes
        self._order = _random_order(ledger, random)
        # The place of the current directory in the order, and of the first directory whose
        # differences have not been applied to the ledger.
        self._place = self._first = 0
        self._files_left: Iterator[tuple[str, FileStatus]] | None = None
        # The chunks that the ledger had then, and the chunks that were found since, with size and
        # time.
        self._known: set[ChunkId] = set()
        self._found: dict[ChunkId, tuple[int, int]] = {}
        self._found_bytes = 0
        self._table_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the pass is complete."""
        return self._place == SHARDS

    @property
    def error_bytes(self) -> int:
        """What must be added to the usage table after a complete pass, except for chance."""
        return self._found_bytes - self._table_bytes // SHARDS

    @property
    def is_chance(self) -> bool:
        """Whether `error_bytes` may be due to what was written and evicted during the pass."""
        moved = self._usage().moved_bytes - self._moved_bytes
        return 6 * self.error_bytes**2 <= 9 * moved * CHUNK_BYTES

    def note_eviction(self, chunk: ChunkId) -> None:
        """Note that the file of a chunk was removed, maybe after it was found."""
        self._found.pop(chunk, None)

    def step(self, in_time: Callable[[], bool]) -> None:
        """Visit files while `in_time` returns true; at least `_AT_LEAST` files or a directory."""
        net_bytes = self._usage().net_bytes
        while not self.done:
            directory = self._order[self._place]
            section = self._ledger.section_of(directory)
            if self._files_left is None:
                if self._place == self._first:
                    self._known = set(self._ledger.load(section))
                self._files_left = self._files.statuses(f"chunks/{directory:02x}")
            if not self._visit(self._files_left, in_time):
                return
            self._files_left = None
            self._table_bytes += net_bytes
            self._place += 1
            if self._leaves(section) or len(self._found) > SECTION_CHUNKS:
                self._apply(section)
                return
            if not in_time():
                return

    def _leaves(self, section: Section) -> bool:
        return self.done or self._order[self._place] not in section.directories

    def _visit(self, files: Iterator[tuple[str, FileStatus]], in_time: Callable[[], bool]) -> bool:
        """Visit files of a directory; return whether it has no more files."""
        for count, (name, status) in enumerate(files, 1):
            chunk = chunk_of_name(name)
            if chunk is not None and status.is_regular:
                self._visit_file(name, chunk, status)
            if count % _AT_LEAST == 0 and not in_time():
                return False
        return True

    def _visit_file(self, name: str, chunk: ChunkId, status: FileStatus) -> None:
        directory = self._order[self._place]
        if chunk.shard != directory:
            # No mount can find this file. Another program has moved it.
            self._files.remove(f"chunks/{directory:02x}/{name}")
            return
        self._found[chunk] = status.allocated_bytes, int(status.modified_at)
        self._found_bytes += status.allocated_bytes

    def _apply(self, section: Section) -> None:
        """Correct the ledger of the directories that were visited since the last call."""
        queues = self._ledger.load(section)
        visited = set(self._order[self._first : self._place])
        gone = [
            chunk
            for chunk in self._known
            if chunk not in self._found and chunk.shard in visited and chunk in queues
        ]
        for chunk in gone:
            queues.remove(chunk)
        changed = [
            chunk for chunk, (size, _) in self._found.items() if queues.size_of(chunk) != size
        ]
        # The oldest chunk first, because the queues are in the order of creation.
        for chunk in sorted(changed, key=lambda chunk: self._found[chunk][1]):
            queues.put(chunk, *self._found[chunk])
        if gone or changed:
            self._ledger.note_change()
            self._ledger.save()
        self._first = self._place
        self._found.clear()


def _random_order(ledger: LedgerFiles, random: Random) -> list[int]:
    """Return all directories of chunks, section by section."""
    return [
        directory
        for section in random.sample(ledger.sections, len(ledger.sections))
        for directory in random.sample(section.directories, len(section.directories))
    ]
