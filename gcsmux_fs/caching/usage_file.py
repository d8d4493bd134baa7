"""Reads and writes the table by which the mounts of one cache directory bound its size.

`usage_table` explains the table. A mount owns a slot while it holds the lock of a file of its own,
`ledgers/mount-NN`. The kernel releases the lock when the process ends, however it ends.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import SHARDS
from gcsmux_fs.caching.usage_table import (
    SLOTS,
    TABLE_BYTES,
    UsageSlot,
    decode_table,
    encode_mark,
    encode_slot,
    slot_offset,
)

if TYPE_CHECKING:
    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.usage_table import UsageTable

__all__ = ["LEDGERS", "UsageFile", "read_usage", "request_count", "running_mounts"]

LEDGERS = "ledgers"
"""The directory of all files that this module and the cleaner keep."""

_TABLE = f"{LEDGERS}/usage"

# A table that another mount is writing while this one reads may seem damaged.
_READ_ATTEMPTS = 3


class UsageFile:
    """The table, and the slot of this mount.

    Raises:
        OSError: the file cannot be opened, created or locked.

    Attributes:
        slot: what this mount publishes; None if all slots are taken.
    """

    def __init__(self, files: CacheFiles) -> None:
        self._files = files
        files.make_directory(LEDGERS)
        self._table = _open_table(files)
        self._lock = -1
        self._number = -1
        self.slot: UsageSlot | None = None
        try:
            self._take_slot()
            if not self.read().counted and not _any_chunk(files):
                self.mark(counted=True)
        except OSError:
            self.close()
            raise

    def read(self) -> UsageTable:
        """Return the table."""
        for _ in range(_READ_ATTEMPTS):
            table = decode_table(self._files.read(self._table, TABLE_BYTES, 0))
            if table.counted:
                break
        return table

    def publish(self, slot: UsageSlot) -> None:
        """Write the slot of this mount."""
        self._write_slot(self._number, slot)
        self.slot = slot

    def mark(self, *, counted: bool) -> None:
        """Mark whether the sum of the slots is right."""
        self._files.write(self._table, encode_mark(counted=counted), 0)

    @property
    def was_removed(self) -> bool:
        """Whether the file has been removed, so that other mounts use another one."""
        return self._files.status(self._table).links == 0

    def running(self) -> set[int]:
        """Return the slots whose mounts are running."""
        return {
            number
            for number in self.read().slots
            if number == self._number or not self._with_lock(number, None)
        }

    def end_slots(self) -> bool:
        """Free what ended mounts have reserved, and all damaged slots; True if there were any.

        What a mount has written last may not be in its slot, so the chunks must be counted.
        """
        table = self.read()
        left = {number: slot.without_mount() for number, slot in table.slots.items()}
        ended = [number for number in left if left[number] != table.slots[number]]
        if table.damaged:
            self.mark(counted=False)
        freed = [
            number
            for number in (*ended, *table.damaged)
            if number != self._number and self._with_lock(number, left.get(number, UsageSlot()))
        ]
        return bool(freed)

    def close(self) -> None:
        """Give the slot back."""
        if self.slot is not None:
            self.publish(self.slot.without_mount())
            self.slot = None
        for descriptor in (self._lock, self._table):
            if descriptor >= 0:
                self._files.close(descriptor)
        self._lock = self._table = -1

    def _take_slot(self) -> None:
        # A slot that a mount has not given back is left to `end_slots`, which notices this.
        if not self._take_one(clean=True):
            self._take_one(clean=False)

    def _take_one(self, *, clean: bool) -> bool:
        for number in range(SLOTS):
            descriptor = self._files.open(_lock_path(number), os.O_RDWR | os.O_CREAT)
            if self._files.try_lock(descriptor):
                table = self.read()
                slot = table.slots.get(number, UsageSlot())
                is_clean = number not in table.damaged and slot == slot.without_mount()
                if is_clean or not clean:
                    self._lock, self._number = descriptor, number
                    if number in table.damaged:
                        self.mark(counted=False)
                    self.publish(slot.without_mount())
                    return True
            self._files.close(descriptor)
        return False

    def _with_lock(self, number: int, slot: UsageSlot | None) -> bool:
        """Write a slot, unless its mount is running; return whether it is not running."""
        descriptor = self._files.open(_lock_path(number), os.O_RDWR | os.O_CREAT)
        try:
            if not self._files.try_lock(descriptor):
                return False
            if slot is not None:
                self._write_slot(number, slot)
            return True
        finally:
            self._files.close(descriptor)

    def _write_slot(self, number: int, slot: UsageSlot) -> None:
        self._files.write(self._table, encode_slot(slot), slot_offset(number))


def read_usage(files: CacheFiles) -> UsageTable:
    """Return the table without taking a slot. For programs that are not a mount.

    Raises:
        FileNotFoundError: no mount has used the directory yet.
        OSError: the file cannot be read.
    """
    descriptor = files.open(_TABLE, os.O_RDONLY)
    try:
        return decode_table(files.read(descriptor, TABLE_BYTES, 0))
    finally:
        files.close(descriptor)


def running_mounts(files: CacheFiles, table: UsageTable) -> set[int]:
    """Return the slots whose mounts are running. For programs that are not a mount.

    Raises:
        OSError: the disk fails.
    """
    return {number for number in table.slots if _is_locked(files, number)}


def _is_locked(files: CacheFiles, number: int) -> bool:
    try:
        descriptor = files.open(_lock_path(number), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not files.try_lock(descriptor)
    finally:
        files.close(descriptor)


def request_count(files: CacheFiles) -> None:
    """Make the cleaning mount count the chunks, after another program has removed some.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor = _open_table(files)
    try:
        files.write(descriptor, encode_mark(counted=False), 0)
    finally:
        files.close(descriptor)


def _open_table(files: CacheFiles) -> int:
    descriptor = files.open(_TABLE, os.O_RDWR | os.O_CREAT)
    if files.status(descriptor).size_bytes < TABLE_BYTES:
        files.truncate(descriptor, TABLE_BYTES)
    return descriptor


def _lock_path(number: int) -> str:
    return f"{LEDGERS}/mount-{number:02}"


def _any_chunk(files: CacheFiles) -> bool:
    return any(
        next(files.names(f"chunks/{directory:02x}"), None) is not None
        for directory in range(SHARDS)
    )
