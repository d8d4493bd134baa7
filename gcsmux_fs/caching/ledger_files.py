"""Reads and writes the files of the ledger. Only the mount that cleans uses them.

All files may be lost or damaged at any time: `ledger` skips what is not valid, and the cleaner
finds the chunks that the ledger has lost.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from gcsmux_fs.caching.ledger import (
    RECORD_BYTES,
    apply_records,
    decode_records,
    decode_section,
    encode_records,
    encode_section,
)
from gcsmux_fs.caching.ledger_sections import (
    SECTION_CHUNKS,
    choose_sections,
    section_of_name,
    split_queues,
)
from gcsmux_fs.caching.space_account import JOURNAL
from gcsmux_fs.caching.usage_file import LEDGERS

if TYPE_CHECKING:
    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.eviction_policy import EvictionQueues
    from gcsmux_fs.caching.ledger import ChunkRecord
    from gcsmux_fs.caching.ledger_sections import Section

__all__ = ["LedgerFiles"]

_SORTED_JOURNAL = f"{JOURNAL}-sorted"

_PIECE_BYTES = 1024 * RECORD_BYTES
"""How much of the journal is sorted at once. To decode 1,024 records takes 2.5 ms of processor
time."""

_MOST_BYTES = 32 * 1024 * 1024
"""A longer journal or section was not written by a mount: `space_account` limits the journal to
16 MiB, and a section has 1 MiB at most. Its end is not read, because it may be a hole of any size.
"""

_NEW = ".new"

_RECORDS = 1024
"""A section with more records behind its snapshot gets a new snapshot."""


class LedgerFiles:
    """The sections of a cache directory, one of which is in memory.

    Attributes:
        sections: the sections that cover all directories.
    """

    def __init__(self, files: CacheFiles) -> None:
        self._files = files
        sections = (section_of_name(name) for name in files.names(LEDGERS))
        found = {section for section in sections if section is not None}
        self.sections = choose_sections(found)
        for section in found - set(self.sections):
            files.remove(_path(section))
        self._by_directory = self._index()
        self._journal_offset = 0
        self._loaded: Section | None = None
        self._queues: EvictionQueues | None = None
        self._changed = False
        # Number of records behind the snapshots, and the sections that have too many of them.
        self._appended: dict[Section, int] = {}
        self._overdue: set[Section] = set()

    @property
    def journal_bytes(self) -> int:
        """Length of the journal to which the mounts append."""
        status = self._files.path_status(JOURNAL)
        return 0 if status is None else status.size_bytes

    def begin_journal(self) -> bool:
        """Start to sort the records of the mounts; False if there are none.

        The mounts start a new journal. Call this only after `sort_journal` has returned False.
        """
        if not self.journal_bytes:
            return False
        self._files.rename(JOURNAL, _SORTED_JOURNAL)
        self._journal_offset = 0
        return True

    def sort_journal(self) -> bool:
        """Append some records of the journal to their sections; False if there is no journal.

        A mount that has opened the journal just before `begin_journal` still appends its records
        to the old one. So let some milliseconds pass between the two calls.
        """
        try:
            descriptor = self._files.open(_SORTED_JOURNAL, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            left = _MOST_BYTES - self._journal_offset
            piece = self._files.read(descriptor, min(_PIECE_BYTES, left), self._journal_offset)
        finally:
            self._files.close(descriptor)
        # A record that the piece cuts off is decoded with the next piece.
        step = len(piece) - RECORD_BYTES + 1
        if step > 0:
            self._journal_offset += step
            self._append(decode_records(piece))
            return True
        self._files.remove(_SORTED_JOURNAL)
        return False

    def load(self, section: Section) -> EvictionQueues:
        """Return the queues of a section. Call `note_change` after a change."""
        if section != self._loaded or self._queues is None:
            self.save()
            self._queues = decode_section(self._read(_path(section)))
            self._loaded = section
            if len(self._queues) > SECTION_CHUNKS:
                self._changed = True
        return self._queues

    def note_change(self) -> None:
        """Note that the queues in memory have changed."""
        self._changed = True

    def save(self) -> None:
        """Write the queues in memory, if they have changed. Split the section if it is too large.

        If the disk is full, the file keeps its old state. The cleaner finds the differences later.
        """
        section, queues = self._loaded, self._queues
        if section is None or queues is None or not self._changed:
            return
        self._changed = False
        try:
            if len(queues) > SECTION_CHUNKS and section.halves:
                self._split(section, queues)
            else:
                self._replace(section, queues)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def section_of(self, directory: int) -> Section:
        """Return the section of a directory of chunks."""
        return self._by_directory[directory]

    def compact(self) -> bool:
        """Write a new snapshot of one section that has many records; False if there is none."""
        if not self._overdue:
            return False
        self.load(self._overdue.pop())
        self._changed = True
        self.save()
        return True

    def _append(self, records: list[ChunkRecord]) -> None:
        by_section: dict[Section, list[ChunkRecord]] = {}
        for record in records:
            by_section.setdefault(self.section_of(record.chunk.shard), []).append(record)
        for section, some in by_section.items():
            if section == self._loaded and self._queues is not None:
                apply_records(self._queues, some)
                self._changed = True
                continue
            descriptor = self._files.open(_path(section), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                self._files.append(descriptor, encode_records(some))
            finally:
                self._files.close(descriptor)
            self._appended[section] = self._appended.get(section, 0) + len(some)
            if self._appended[section] > _RECORDS:
                self._overdue.add(section)

    def _replace(self, section: Section, queues: EvictionQueues) -> None:
        path = _path(section)
        descriptor = self._files.open(path + _NEW, os.O_WRONLY | os.O_CREAT)
        try:
            self._files.truncate(descriptor, 0)
            self._files.write(descriptor, encode_section(queues), 0)
        finally:
            self._files.close(descriptor)
        self._files.rename(path + _NEW, path)
        self._appended.pop(section, None)
        self._overdue.discard(section)

    def _split(self, section: Section, queues: EvictionQueues) -> None:
        for half, part in split_queues(section, queues):
            self._replace(half, part)
        self._files.remove(_path(section))
        self._overdue.discard(section)
        place = self.sections.index(section)
        self.sections[place : place + 1] = section.halves
        self._by_directory = self._index()
        self._loaded = self._queues = None

    def _index(self) -> list[Section]:
        sections = (section for section in self.sections for _ in section.directories)
        return list(sections)

    def _read(self, path: str) -> memoryview | bytes:
        try:
            descriptor = self._files.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            size = self._files.status(descriptor).size_bytes
            return self._files.read(descriptor, min(size, _MOST_BYTES), 0)
        finally:
            self._files.close(descriptor)


def _path(section: Section) -> str:
    return f"{LEDGERS}/{section.name}"
